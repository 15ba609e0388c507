"""HubPages: asks the Hub for its own pages for errors. Does I/O."""

from __future__ import annotations

import asyncio

from .heads import Answer, Request, read_request
from .pages import error_target, whole
from .pool import Pool, Unreachable
from .server import ServerConnection
from .targets import target_at

# Seconds until a browser gets a page of ours instead, how many pages are asked for at the same time, and how large they are.
_SECONDS = 5.0
_MOST_AT_ONCE = 20
_LARGEST = 2**20


class HubPages:
    """Asks the Hub for a page that says what is wrong. The Hub gets the path, but nothing that the browser has sent."""

    def __init__(self, url: str, pool: Pool) -> None:
        """Set where the pages are: the URL of the Hub, with a slash at its end."""
        self._target = target_at(url)
        self._pool = pool
        self._at_once = 0

    async def page(self, status: int, request: Request, *, close: bool) -> bytes | None:
        """Return a whole answer for a browser, or None if the Hub has none.

        Args:
            status: The status of the answer.
            request: The request that failed.
            close: Whether the connection is closed after it.
        """
        if self._at_once >= _MOST_AT_ONCE:
            return None
        self._at_once += 1
        asking = asyncio.ensure_future(self._ask(status, request))
        try:
            await asyncio.wait([asking], timeout=_SECONDS)
            if not asking.done() or asking.exception() is not None:
                return None
            kind, body = asking.result()
            return whole(status, kind, body, close=close)
        finally:
            asking.cancel()
            self._at_once -= 1

    async def _ask(self, status: int, request: Request) -> tuple[str, bytes]:
        target = error_target(self._target.prefix + b"/", status, request)
        head = b"GET %b HTTP/1.1\r\nHost: %b\r\nAccept: text/html\r\n" % (target, self._target.authority)
        asked = read_request(head)
        connection = await self._pool.connect(self._target.address)
        try:
            asker = _Asker(connection)
            connection.begin(asker, asked, head + b"\r\n")
            return await asker.done
        finally:
            connection.abort()


class _Asker:
    """Collects an answer; see :class:`~.server.Owner`."""

    def __init__(self, connection: ServerConnection) -> None:
        self.done: asyncio.Future[tuple[str, bytes]] = asyncio.get_running_loop().create_future()
        self._connection = connection
        self._kind = ""
        self._body = b""

    def on_interim(self, answer: Answer) -> None:
        """There is nothing to do."""

    def on_head(self, answer: Answer) -> None:
        """Note what it is. The Hub answers 200 (jupyterhub/handlers/pages.py, ProxyErrorHandler)."""
        kinds = [value.decode("latin-1") for key, _, value in answer.fields if key == b"content-type"]
        if answer.status != 200 or not kinds:
            self._fail()
        else:
            self._kind = kinds[0]

    def on_body(self, piece: bytes) -> None:
        """Keep a piece of the page."""
        self._body += piece
        if len(self._body) > _LARGEST:
            self._fail()

    def on_pause(self) -> None:
        """There is nothing to do."""

    def on_end(self) -> None:
        """Note that the page is complete."""
        if not self.done.done():
            self.done.set_result((self._kind, self._body))

    def _fail(self) -> None:
        if not self.done.done():
            self.done.set_exception(Unreachable("the Hub has no page"))

    def on_switched(self, answer: Answer, rest: bytes) -> None:
        """It cannot come to this: nobody has asked for a websocket."""

    def on_tunnel(self, data: bytes) -> None:
        """It cannot come to this either."""

    def on_tunnel_end(self) -> None:
        """Nor to this."""

    def on_lost(self, reason: str) -> None:  # noqa: ARG002 - the browser gets a page of ours
        """Note that there is no page."""
        self._fail()

    def on_full(self) -> None:
        """There is nothing more to send."""

    def on_drained(self) -> None:
        """There is nothing more to send."""
