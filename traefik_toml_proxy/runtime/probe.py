"""Asks the public entry point which revision is live. Does I/O: sends HTTP requests from a thread, one at a time."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
import time
from collections.abc import Callable
from http.client import HTTPS_PORT, HTTPConnection, HTTPException
from urllib.parse import urlsplit

from ..seams import Answer
from ..threads import PROBES
from . import tls
from .answers import (
    HEADERS,
    Refusals,
    answered_other_scheme,
    failed_handshake,
    no_answer,
    nothing_is_loaded,
    other_scheme,
    read_response,
)

# Traefik loads a small table within so many seconds, in which there are no pauses between requests. Later, a pause is a
# tenth of the time waited so far, which delays the result by at most a tenth.
_WITHOUT_PAUSE = 0.004
_LONGEST_PAUSE = 0.1
_SHORTEST_TIMEOUT = 0.1
# How long one thread call may ask, in seconds. An interrupted Hub cannot exit before the call returns.
_LONGEST_HOP = 1.0
# How much longer to wait for a thread than its own timeout, in seconds.
_GRACE = 0.5
_LONGEST_BODY = 2**16
# How long a connection is kept, in seconds. Only a new one shows whether new connections work, as those of most users are.
_LONGEST_KEPT = 2.0


class _NamedConnection(HTTPConnection):
    """An https connection that may ask for a server name which is not the host that it connects to."""

    default_port = HTTPS_PORT

    def __init__(self, host: str, port: int | None, server_name: str | None) -> None:
        super().__init__(host, port)
        self.server_name = server_name

    def connect(self) -> None:
        """Connect, with that name."""
        self.sock = tls.connect(self.host, self.port, self.server_name or self.host, self.timeout)


class EntryPointProbe:
    """A :class:`~traefik_toml_proxy.seams.LiveCheck` that requests the revision route through the public entry point.

    TLS certificates are not verified: the only secret sent is the path, over loopback or the admin's own network.
    """

    def __init__(
        self,
        url: str,
        revision_path: str,
        *,
        server_name: Callable[[], str | None] = lambda: None,
        request_timeout: float = 5,
    ) -> None:
        """Set what to ask; nothing is opened yet.

        Args:
            url: The entry point, ``http[s]://host:port``.
            revision_path: The secret path of the revision route.
            server_name: Returns the name to ask for with https, as browsers do, in place of the host of ``url``. A Traefik
                with ``sniStrict`` answers only for names in its certificates, which may be renewed with other names.
            request_timeout: Seconds to wait for one answer.
        """
        self.url = url
        self._parts = urlsplit(url)
        self._path = revision_path
        self._server_name = server_name if self._parts.scheme == "https" else lambda: None
        self._request_timeout = request_timeout
        # Kept open between requests: a new TLS connection can take longer than a reload.
        self._connection: HTTPConnection | None = None
        # When that was opened, in seconds on the monotonic clock.
        self._opened = 0.0
        self._closed = False

    async def ask(self) -> Answer:
        """Ask once."""
        return await self._in_thread(self._ask_blocking, self._request_timeout, within=self._request_timeout)

    async def wait(self, revision: int, timeout: float, *, if_refused: float | None = None) -> Answer:
        """Ask until the entry point serves ``revision`` or a later one, or ``timeout`` seconds have passed.

        It takes only ``if_refused`` seconds if all answers in that time are refusals.
        """
        began = time.monotonic()
        cancelled = threading.Event()
        refusals = Refusals(if_refused)
        waited = 0.0
        try:
            while True:
                left = timeout - waited
                answer = await self._in_thread(
                    self._wait_blocking, revision, min(left, _LONGEST_HOP), refusals, cancelled, within=left
                )
                waited = time.monotonic() - began
                if refusals.certain is not None or answer.serves(revision) or waited >= timeout:
                    return refusals.certain or refusals.outcome(answer, time.monotonic())
        finally:
            cancelled.set()

    async def _in_thread(self, call: Callable[..., Answer], *arguments: object, within: float) -> Answer:
        """Call a function in a thread, where http.client takes a third of the time of tornado's client.

        It does not wait for a thread that a slow server blocks; the timeout of its socket ends that thread.
        """
        asking = PROBES.run(call, *arguments)
        try:
            done, _ = await asyncio.wait([asking], timeout=within + _GRACE)
        finally:
            asking.cancel()
        return asking.result() if done else no_answer(self.url, f"timed out after {within:.1f} s")

    def _wait_blocking(self, revision: int, timeout: float, refusals: Refusals, cancelled: threading.Event) -> Answer:
        """Ask until the revision is live, only refusals will come, or the time is up; return the last answer. Blocks."""
        began = time.monotonic()
        waited = 0.0
        while True:
            answer = self._ask_blocking(min(self._request_timeout, max(_SHORTEST_TIMEOUT, timeout - waited)))
            now = time.monotonic()
            refusals.add(answer, now)
            waited = now - began
            if answer.serves(revision) or refusals.certain is not None:
                return answer
            if waited >= timeout:
                return self._with_other_scheme(answer, refusals)
            pause = min(waited / 10, _LONGEST_PAUSE, timeout - waited) if waited > _WITHOUT_PAUSE else 0
            if cancelled.wait(pause):
                return answer

    def _with_other_scheme(self, answer: Answer, refusals: Refusals) -> Answer:
        """Find out whether the URL has the wrong scheme, if the answer was not ours. Blocks.

        Traefik does not tell: it answers 404 to https at an entry point for http, and the other way round.
        """
        if not nothing_is_loaded(answer):
            return answer
        other = EntryPointProbe(other_scheme(self.url), self._path)
        other._closed = True  # so that it keeps no connection
        if other._ask_blocking(_SHORTEST_TIMEOUT).revision is None:
            return answer
        refusals.certain = answered_other_scheme(answer, self.url)
        return refusals.certain

    def _ask_blocking(self, timeout: float) -> Answer:
        (kept, self._connection), opened = (self._connection, None), self._opened
        if kept is not None and time.monotonic() - opened < _LONGEST_KEPT:
            # It may have been closed, for example by a restart of Traefik.
            with contextlib.suppress(OSError, HTTPException):
                return self._ask_over(kept, opened, timeout)
        elif kept is not None:
            kept.close()
        try:
            return self._ask_over(self._connect(), time.monotonic(), timeout)
        except (OSError, HTTPException) as error:
            return self._failed(error)

    def _failed(self, error: OSError | HTTPException) -> Answer:
        if isinstance(error, ssl.SSLError):
            name = self._server_name() or self._parts.hostname or ""
            return failed_handshake(self.url, name, error.reason or str(error))
        return no_answer(self.url, str(error) or type(error).__name__)

    def _ask_over(self, connection: HTTPConnection, opened: float, timeout: float) -> Answer:
        try:
            connection.timeout = timeout
            if connection.sock is not None:
                connection.sock.settimeout(timeout)
            # Like a browser: Traefik answers 421 if the TLS options for the two names differ (pkg/middlewares/snicheck).
            name = connection.server_name if isinstance(connection, _NamedConnection) else None
            headers = {"Host": f"{name}:{self._parts.port or 443}"} if name else {}
            connection.request("GET", self._path, headers=headers)
            response = connection.getresponse()
            complete = len(response.read(_LONGEST_BODY)) < _LONGEST_BODY
        except BaseException:
            connection.close()
            raise
        if complete and self._connection is None and not self._closed:
            self._connection, self._opened = connection, opened
        else:
            connection.close()
        received = {name: value for name in HEADERS if (value := response.getheader(name)) is not None}
        return read_response(self.url, response.status, received)

    def _connect(self) -> HTTPConnection:
        host, port = self._parts.hostname or "", self._parts.port
        if self._parts.scheme == "https":
            return _NamedConnection(host, port, self._server_name())
        return HTTPConnection(host, port)

    async def close(self) -> None:
        """Close the connection. May be called twice."""
        self._closed = True
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


async def ask_anew(url: str, revision_path: str, server_name: Callable[[], str | None] = lambda: None) -> Answer:
    """Ask once over a connection of its own. Arguments as for :class:`EntryPointProbe`."""
    probe = EntryPointProbe(url, revision_path, server_name=server_name)
    try:
        return await probe.ask()
    finally:
        await probe.close()
