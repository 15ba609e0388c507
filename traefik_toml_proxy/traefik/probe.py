"""Asks the public entry point which revision is live. Does I/O: one HTTP request at a time."""

from __future__ import annotations

import asyncio
import re
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

from ..errors import RouteNotLive, shown
from .dynamic import REVISION_HEADER

# Between two questions: as long as a tenth of what has been waited, so that the answer comes at most a tenth too late.
_SHORTEST_PAUSE = 0.0002
_LONGEST_PAUSE = 0.1
_SHORTEST_QUESTION = 0.1
_ONE_VISIT = 1.0  # to a thread, in seconds
# What a thread may take longer than it was told, in seconds.
_GRACE = 0.5
_LONGEST_BODY = 2**16
_REVISION = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Answer:
    """What the entry point said.

    Attributes:
        revision: The revision that is live, or None if it is not (yet) serving our routes.
        told: The answer in words, for messages.
        answered: Whether anybody answered at all.
    """

    revision: int | None
    told: str
    answered: bool

    def serves(self, revision: int) -> bool:
        """Whether this revision, or a later one, is live."""
        return self.revision is not None and self.revision >= revision


class EntryPointProbe:
    """Asks for the revision route (see :mod:`.dynamic`) at the public entry point, as a browser would.

    TLS certificates are not verified: nothing secret is sent but the path itself, and that over loopback or the admin's own
    network.
    """

    def __init__(self, url: str, revision_path: str, *, request_timeout: float = 5) -> None:
        """Args:
        url: The entry point, ``http[s]://host:port``.
        revision_path: The secret path of the revision route.
        request_timeout: Seconds to wait for one answer.
        """
        self.url = url
        self._where = urlsplit(url)
        self._path = revision_path
        self._request_timeout = request_timeout
        # Kept open between two questions: a new one, with TLS, can take longer than a reload does.
        self._connection: HTTPConnection | None = None
        self._closed = False

    async def ask(self) -> Answer:
        """Ask once; never raises for what the network or the other side does."""
        return await self._in_thread(self._ask_blocking, self._request_timeout, within=self._request_timeout)

    async def wait_live(self, revision: int, timeout: float, *, where: str) -> None:
        """Return as soon as the entry point serves ``revision`` or a later one.

        Args:
            revision: What to wait for.
            timeout: Seconds to wait at most.
            where: Where it is written, for the error.

        Raises:
            RouteNotLive: If it does not in time.
        """
        began = time.monotonic()
        enough = threading.Event()
        waited = 0.0
        try:
            while True:
                left = timeout - waited
                # In pieces: a Hub that is interrupted while it waits cannot end before the thread does.
                answer = await self._in_thread(
                    self._wait_blocking, revision, min(left, _ONE_VISIT), enough, within=left
                )
                waited = time.monotonic() - began
                if answer.serves(revision) or waited >= timeout:
                    break
        finally:
            enough.set()
        if not answer.serves(revision):
            raise RouteNotLive(revision, self.url, where, time.monotonic() - began, answer.told)

    @staticmethod
    async def _in_thread(call: Callable[..., Answer], *arguments: object, within: float) -> Answer:
        """Call it in a thread: with the standard library's client, a question costs a third of what it does with tornado's.

        A thread that a slow server holds is left to itself; its socket has a timeout.
        """
        asking = asyncio.get_running_loop().run_in_executor(None, call, *arguments)
        try:
            done, _ = await asyncio.wait([asking], timeout=within + _GRACE)
        finally:
            asking.cancel()
        if done:
            return asking.result()
        return Answer(None, f"no answer: timed out after {within:.1f} s", answered=False)

    def _wait_blocking(self, revision: int, timeout: float, enough: threading.Event) -> Answer:
        """Ask until it serves the revision, or the time is over; return the last answer."""
        began = time.monotonic()
        waited = 0.0
        while True:
            answer = self._ask_blocking(min(self._request_timeout, max(_SHORTEST_QUESTION, timeout - waited)))
            waited = time.monotonic() - began
            if answer.serves(revision) or waited >= timeout:
                return answer
            pause = min(max(_SHORTEST_PAUSE, waited / 10), _LONGEST_PAUSE, timeout - waited)
            if enough.wait(pause):
                return answer

    def _ask_blocking(self, seconds: float) -> Answer:
        kept, self._connection = self._connection, None
        try:
            return self._ask_over(kept, seconds)
        except (OSError, HTTPException) as error:
            if kept is None:
                return Answer(None, f"no answer: {error or type(error).__name__}", answered=False)
        # What was kept open may have been closed by the other side, as it is when Traefik is started anew.
        try:
            return self._ask_over(None, seconds)
        except (OSError, HTTPException) as error:
            return Answer(None, f"no answer: {error or type(error).__name__}", answered=False)

    def _ask_over(self, kept: HTTPConnection | None, seconds: float) -> Answer:
        connection = kept or self._connect()
        try:
            connection.timeout = seconds
            if connection.sock is not None:
                connection.sock.settimeout(seconds)
            connection.request("GET", self._path)
            response = connection.getresponse()
            whole = len(response.read(_LONGEST_BODY)) < _LONGEST_BODY
        except BaseException:
            connection.close()
            raise
        if whole and self._connection is None and not self._closed:
            self._connection = connection
        else:
            connection.close()
        return _understood(response.status, response.getheader(REVISION_HEADER, ""), response.getheader("Server"))

    def _connect(self) -> HTTPConnection:
        host, port = self._where.hostname or "", self._where.port
        if self._where.scheme == "https":
            # S323: see the docstring of the class.
            return HTTPSConnection(host, port, context=ssl._create_unverified_context())  # noqa: S323, SLF001
        return HTTPConnection(host, port)

    def close(self) -> None:
        """Close the connection; nothing is asked afterwards."""
        self._closed = True
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _understood(status: int, revision: str, server: str | None) -> Answer:
    if _REVISION.fullmatch(revision):
        return Answer(int(revision), f"it serves revision {revision}", answered=True)
    by = f" by {shown(server)}" if server else ""
    return Answer(None, f"it answered {status}{by}, without our revision", answered=True)
