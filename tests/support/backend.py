"""A real HTTP server that answers with exactly what reached it, and a client that sends exactly what it is given."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from .servers import answering
from .waiting import PATIENCE, within


class Backend:
    """Answers every request with JSON: its own name, and the request's method, raw path, headers and body length.

    Attributes:
        name: What it calls itself.
        url: Where it listens, once it does.
        requests: How many requests have reached it.
        clients: For each connection so far, the common name in the client's certificate; "" without one.
    """

    def __init__(self, name: str = "backend", *, tls: ssl.SSLContext | None = None) -> None:
        """Choose its name, and whether it speaks TLS; it is not started."""
        self.name = name
        self.url = ""
        self.requests = 0
        self.clients: list[str] = []
        self._tls = tls
        self._listening = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Backend:
        self.url = await self._listening.enter_async_context(answering(self._answer, tls=self._tls))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._listening.aclose()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.clients.append(_common_name(writer.get_extra_info("peercert") or {}))
        while head := await reader.readuntil(b"\r\n\r\n"):
            self.requests += 1
            first, *lines = head.decode("latin-1").split("\r\n")
            method, path, _ = first.split(" ")
            headers = dict(line.split(": ", 1) for line in lines if line)
            body = await reader.readexactly(int(headers.get("Content-Length", 0)))
            seen = {"name": self.name, "method": method, "path": path, "headers": headers, "length": len(body)}
            answer = json.dumps(seen).encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer) + answer)
            await writer.drain()


def _common_name(certificate: Mapping[str, Any]) -> str:
    names = [value for part in certificate.get("subject", ()) for key, value in part if key == "commonName"]
    return names[0] if names else ""


@dataclass(frozen=True)
class Response:
    """A response: its status, headers (names in lower case) and body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def seen(self) -> dict[str, Any]:
        """What a :class:`Backend` says about the request; {} if the response is not from one."""
        if self.status != 200 or not self.body.startswith(b'{"name"'):
            return {}
        seen: dict[str, Any] = json.loads(self.body)
        return seen

    @property
    def by(self) -> str | None:
        """The name of the Backend that answered, or None."""
        return self.seen.get("name")


async def get(
    url: str,
    path: str | bytes = "/",
    *,
    host: str | None = None,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    tls: ssl.SSLContext | None = None,
) -> Response:
    """Send one request on a connection of its own, with the path exactly as given (no client library normalizes it).

    Args:
        url: ``http://host:port`` of the proxy or backend.
        path: Sent as it is; text as UTF-8.
        host: The Host header; by default, that of ``url``.
        method: Sent as it is.
        headers: More headers.
        tls: Speak TLS, whatever ``url`` begins with.

    Raises:
        OSError: If nobody listens, or the connection is closed without an answer, as by a proxy that is killed or stopped.
    """
    where = urlsplit(url)
    raw = path if isinstance(path, bytes) else path.encode()
    reader, writer = await asyncio.open_connection(where.hostname, where.port, ssl=tls)
    try:
        sent = {"Host": host or where.netloc, "Connection": "close"} | dict(headers or {})
        lines = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
        # In one write: a server that refuses the first line may close before the rest arrives.
        writer.write(f"{method} ".encode() + raw + f" HTTP/1.1\r\n{lines}\r\n".encode())
        # A Hub waits 10 seconds for a server to stop before it answers (slow_stop_timeout).
        data = await within(20 * PATIENCE, reader.read())
    finally:
        writer.close()
    head, end_of_head, body = data.partition(b"\r\n\r\n")
    if not end_of_head:
        raise ConnectionResetError(f"{where.netloc} has closed the connection without an answer: {data!r}")
    first, *fields = head.decode("latin-1").split("\r\n")
    received = {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}
    if received.get("transfer-encoding") == "chunked":
        body = _unchunk(body)
    return Response(int(first.split(" ")[1]), received, body)


def _unchunk(body: bytes) -> bytes:
    parts = []
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size, 16)
        parts.append(body[:length])
        body = body[length + 2 :] if length else b""
    return b"".join(parts)
