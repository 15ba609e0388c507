"""Asks the public entry point which revision is live. Does I/O: sends HTTP requests from a thread, one at a time."""

from __future__ import annotations

import asyncio
import re
import ssl
import threading
import time
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

from ..errors import quoted
from ..seams import Answer
from ..traefik.dynamic import REVISION_HEADER

# The pause between two requests is a tenth of the time waited so far, which delays the result by at most a tenth.
_SHORTEST_PAUSE = 0.0002
_LONGEST_PAUSE = 0.1
_SHORTEST_TIMEOUT = 0.1
# How long one thread call may ask, in seconds. An interrupted Hub cannot exit before the call returns.
_LONGEST_HOP = 1.0
# How much longer to wait for a thread than its own timeout, in seconds.
_GRACE = 0.5
_LONGEST_BODY = 2**16
_REVISION = re.compile(r"[0-9]{1,18}")
_ADVICE = (
    "Look in Traefik's log for an error about that file, and check that Traefik reads it and that traefik_url is the URL of "
    "the entry point that traefik_entrypoint names."
)


class EntryPointProbe:
    """A :class:`~traefik_toml_proxy.seams.LiveCheck` that requests the revision route through the public entry point.

    TLS certificates are not verified: the only secret sent is the path, over loopback or the admin's own network.
    """

    def __init__(self, url: str, revision_path: str, *, request_timeout: float = 5) -> None:
        """Set what to ask; nothing is opened yet.

        Args:
            url: The entry point, ``http[s]://host:port``.
            revision_path: The secret path of the revision route.
            request_timeout: Seconds to wait for one answer.
        """
        self.url = url
        self._parts = urlsplit(url)
        self._path = revision_path
        self._request_timeout = request_timeout
        # Kept open between requests: a new TLS connection can take longer than a reload.
        self._connection: HTTPConnection | None = None
        self._closed = False

    async def ask(self) -> Answer:
        """Ask once."""
        return await self._in_thread(self._ask_blocking, self._request_timeout, within=self._request_timeout)

    async def wait(self, revision: int, timeout: float) -> Answer:
        """Ask until the entry point serves ``revision`` or a later one, or ``timeout`` seconds have passed."""
        began = time.monotonic()
        cancelled = threading.Event()
        waited = 0.0
        try:
            while True:
                left = timeout - waited
                answer = await self._in_thread(
                    self._wait_blocking, revision, min(left, _LONGEST_HOP), cancelled, within=left
                )
                waited = time.monotonic() - began
                if answer.serves(revision) or waited >= timeout:
                    return answer
        finally:
            cancelled.set()

    async def _in_thread(self, call: Callable[..., Answer], *arguments: object, within: float) -> Answer:
        """Call a function in a thread, where http.client takes a third of the time of tornado's client.

        It does not wait for a thread that a slow server blocks; the timeout of its socket ends that thread.
        """
        asking = asyncio.get_running_loop().run_in_executor(None, call, *arguments)
        try:
            done, _ = await asyncio.wait([asking], timeout=within + _GRACE)
        finally:
            asking.cancel()
        return asking.result() if done else self._no_answer(f"timed out after {within:.1f} s")

    def _wait_blocking(self, revision: int, timeout: float, cancelled: threading.Event) -> Answer:
        """Ask until the revision is live or the time is up; return the last answer. Blocks."""
        began = time.monotonic()
        waited = 0.0
        while True:
            answer = self._ask_blocking(min(self._request_timeout, max(_SHORTEST_TIMEOUT, timeout - waited)))
            waited = time.monotonic() - began
            if answer.serves(revision) or waited >= timeout:
                return answer
            pause = min(max(_SHORTEST_PAUSE, waited / 10), _LONGEST_PAUSE, timeout - waited)
            if cancelled.wait(pause):
                return answer

    def _ask_blocking(self, timeout: float) -> Answer:
        kept, self._connection = self._connection, None
        try:
            return self._ask_over(kept, timeout)
        except (OSError, HTTPException) as error:
            if kept is None:
                return self._no_answer(str(error) or type(error).__name__)
        # The kept connection may have been closed, for example by a restart of Traefik.
        try:
            return self._ask_over(None, timeout)
        except (OSError, HTTPException) as error:
            return self._no_answer(str(error) or type(error).__name__)

    def _ask_over(self, kept: HTTPConnection | None, timeout: float) -> Answer:
        connection = kept or self._connect()
        try:
            connection.timeout = timeout
            if connection.sock is not None:
                connection.sock.settimeout(timeout)
            connection.request("GET", self._path)
            response = connection.getresponse()
            complete = len(response.read(_LONGEST_BODY)) < _LONGEST_BODY
        except BaseException:
            connection.close()
            raise
        if complete and self._connection is None and not self._closed:
            self._connection = connection
        else:
            connection.close()
        return self._read_response(
            response.status, response.getheader(REVISION_HEADER, ""), response.getheader("Server")
        )

    def _connect(self) -> HTTPConnection:
        host, port = self._parts.hostname or "", self._parts.port
        if self._parts.scheme == "https":
            # S323: see the docstring of the class.
            return HTTPSConnection(host, port, context=ssl._create_unverified_context())  # noqa: S323, SLF001
        return HTTPConnection(host, port)

    def _no_answer(self, reason: str) -> Answer:
        return Answer(None, answered=False, description=f"no answer from {self.url}: {reason}", advice=_ADVICE)

    def _read_response(self, status: int, revision: str, server: str | None) -> Answer:
        if _REVISION.fullmatch(revision):
            return Answer(
                int(revision), answered=True, description=f"{self.url} serves revision {revision}", advice=_ADVICE
            )
        by = f" by {quoted(server)}" if server else ""
        description = f"{self.url} answered {status}{by}, without our revision"
        return Answer(None, answered=True, description=description, advice=_ADVICE)

    async def close(self) -> None:
        """Close the connection. May be called twice."""
        self._closed = True
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
