"""A client that sends exactly what it is given and returns exactly what it receives. Does I/O: TCP and TLS connections."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import TracebackType
from urllib.parse import urlsplit

from .backend import ANSWERED_BY
from .wire import LIMIT, Head, Headers, head_bytes, read_body, read_head


@dataclass(frozen=True, slots=True)
class Response:
    """A complete response."""

    head: Head
    body: bytes

    @property
    def status(self) -> int:
        """The status code."""
        return int(self.head.first.split(" ")[1])

    @property
    def by(self) -> str | None:
        """The name of the backend that responded, or None if it was the proxy itself."""
        return self.head.get(ANSWERED_BY)


def unverified() -> ssl.SSLContext:
    """Return a context that accepts any certificate: the suite makes its own."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Connection:
    """One connection to the public URL; an asynchronous context manager that closes it."""

    def __init__(self, url: str) -> None:
        self._where = urlsplit(url)
        self.host = self._where.netloc
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter

    async def __aenter__(self) -> Connection:
        tls = unverified() if self._where.scheme == "https" else None
        host, port = self._where.hostname, self._where.port
        self.reader, self.writer = await asyncio.open_connection(host, port, ssl=tls, limit=LIMIT)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Not a graceful close: the other side may never respond to it.
        self.writer.transport.abort()

    async def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.writer.write(data)
        await self.writer.drain()

    async def send_head(self, method: str, target: str, headers: Headers = ()) -> None:
        """Send the head of a request; a Host header is added if there is none."""
        headers = list(headers)
        if not any(name.lower() == "host" for name, _ in headers):
            headers.insert(0, ("Host", self.host))
        await self.send(head_bytes(f"{method} {target} HTTP/1.1", headers))

    async def request(self, method: str, target: str, headers: Headers = (), body: bytes = b"") -> Response:
        """Send one request and return the complete response.

        Args:
            method: Goes on the wire as it is.
            target: The path and query; goes on the wire as it is, in Latin-1.
            headers: Names and values; ``Host`` is added if it is missing, and ``Content-Length`` if there is a body.
            body: May be empty.
        """
        headers = [*headers, ("Content-Length", str(len(body)))] if body else list(headers)
        await self.send_head(method, target, headers)
        if body:
            await self.send(body)
        return await self.response(method)

    async def head(self) -> Head:
        """Return the head of the next final response; 100 Continue and the like are skipped."""
        while True:
            head = await read_head(self.reader)
            if not head.first.split(" ")[1].startswith("1") or " 101 " in f"{head.first} ":
                return head

    async def response(self, method: str = "GET") -> Response:
        """Return the next response, complete."""
        head = await self.head()
        return Response(head, b"".join([part async for part in self.body(head, method)]))

    async def body(self, head: Head, method: str = "GET") -> AsyncIterator[bytes]:
        """Yield the body of the response that starts with ``head`` as it is received."""
        if method == "HEAD" or int(head.first.split(" ")[1]) in (204, 304):
            return
        async for part in read_body(self.reader, head, until_close=True):
            yield part
