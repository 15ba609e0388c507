"""Real servers behind the proxy, which record exactly what arrives. Does I/O: listens on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType

from .listening import answering
from .wire import LIMIT, BrokenMessage, Head, Headers, head_bytes, read_body, read_head

# The header in which a backend gives its name; no proxy sets it.
ANSWERED_BY = "X-Conformance-Backend"


class Exchange:
    """A request that has arrived, and the means to respond to it.

    Attributes:
        head: The head of the request.
        body: The body, once it has been read with :meth:`read`.
        last: Whether the backend closes the connection after this exchange; a handler may set it.
    """

    def __init__(self, name: str, head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._name = name
        self.head = head
        self.reader = reader
        self.writer = writer
        self.method, self.target, self.version = head.first.split(" ")
        self.body = b""
        self.last = (head.get("Connection") or "").lower() == "close"

    async def parts(self) -> AsyncIterator[bytes]:
        """Yield the body as it is received."""
        async for part in read_body(self.reader, self.head, until_close=False):
            yield part

    async def read(self) -> bytes:
        """Return the complete body, and keep it in :attr:`body`."""
        self.body = b"".join([part async for part in self.parts()])
        return self.body

    async def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.writer.write(data)
        await self.writer.drain()

    async def send_head(self, status: str, headers: Headers = ()) -> None:
        """Send the head of a response, with the name of this backend."""
        await self.send(head_bytes(f"HTTP/1.1 {status}", [(ANSWERED_BY, self._name), *headers]))

    async def reply(self, status: str = "200 OK", headers: Headers = (), body: bytes = b"") -> None:
        """Send a complete response, with its length."""
        bodiless = status[:3] in ("204", "304")
        length = [] if bodiless else [("Content-Length", str(len(body)))]
        await self.send_head(status, [*headers, *length])
        if self.method != "HEAD" and not bodiless:
            await self.send(body)


Handler = Callable[[Exchange], Awaitable[None]]


async def respond_ok(exchange: Exchange) -> None:
    """Read the complete request and respond with 200 and a few bytes."""
    await exchange.read()
    await exchange.reply(body=b"here I am")


class Backend:
    """A server with a port of its own; an asynchronous context manager.

    Args:
        name: What it calls itself in its responses.
        handler: Responds to one request.
        tls: Makes it an HTTPS server.

    Attributes:
        name: What it calls itself in its responses.
        url: ``http[s]://127.0.0.1:port``, a target.
        exchanges: What has arrived, oldest first.
        connections: How many connections were opened to it.
    """

    def __init__(self, name: str, handler: Handler = respond_ok, *, tls: ssl.SSLContext | None = None) -> None:
        self.name = name
        self.url = ""
        self.exchanges: list[Exchange] = []
        self.connections = 0
        self._handler = handler
        self._tls = tls
        self._listening = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Backend:
        self.url = await self._listening.enter_async_context(
            answering(self._serve_connection, tls=self._tls, limit=LIMIT)
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Stop listening and close all connections. May be called twice."""
        await self._listening.aclose()

    @property
    def last(self) -> Exchange:
        """The latest request.

        Raises:
            BrokenMessage: If none has arrived.
        """
        if not self.exchanges:
            raise BrokenMessage(f"no request has reached the backend {self.name}")
        return self.exchanges[-1]

    async def _serve_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(BrokenMessage):
            while not writer.is_closing():
                exchange = Exchange(self.name, await read_head(reader), reader, writer)
                self.exchanges.append(exchange)
                await self._handler(exchange)
                if exchange.last:
                    break
