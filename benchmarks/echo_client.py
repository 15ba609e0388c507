"""Echoes over WebSockets as fast as they come back: ``python -m benchmarks.echo_client PORT SECONDS PATH...``. I/O: sockets.

It is a process of its own, and does as little as possible, so that the proxy is measured and not what is in front of it.
Prints one line of JSON: how many echoes came back, in how many seconds, and the distribution of their times.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
import time
from functools import partial
from typing import cast

import uvloop

from .stats import spread
from .waiting import within

# How many bytes a message has, and how many seconds a handshake or an echo may take.
MESSAGE_BYTES = 64
_PATIENCE = 30


def frame(payload: bytes, mask: bytes = b"") -> bytes:
    """Return a short binary message as a frame (RFC 6455 section 5.2), masked as from a client if there is a mask."""
    key = (mask * (len(payload) // 4 + 1))[: len(payload)]
    masked = bytes(one ^ other for one, other in zip(payload, key, strict=True)) if mask else payload
    return bytes((0x82, len(payload) | (0x80 if mask else 0))) + mask + masked


class _Socket(asyncio.Protocol):
    """One WebSocket: it sends a message, and the next one when that has come back."""

    def __init__(self, path: str, port: int, times: list[float]) -> None:
        loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = loop.create_future()
        self.done: asyncio.Future[None] = loop.create_future()
        self._times = times
        key = base64.b64encode(os.urandom(16)).decode()
        self._handshake = (
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
        ).encode()
        payload = os.urandom(MESSAGE_BYTES)
        self._message, self._expected = frame(payload, os.urandom(4)), frame(payload)
        self._received = b""
        self._sent = self._end = 0.0
        self._transport: asyncio.WriteTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the handshake."""
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's is no subclass
        self._transport.write(self._handshake)

    def begin(self, end: float) -> None:
        """Echo until then."""
        self._end = end
        self._sent = time.perf_counter()
        self._transport.write(self._message)

    def data_received(self, data: bytes) -> None:
        """Take a part of the handshake's answer or of an echo."""
        self._received += data
        if not self.opened.done():
            head, found, rest = self._received.partition(b"\r\n\r\n")
            if found and head.startswith(b"HTTP/1.1 101 ") and not rest:
                self._received = b""
                self.opened.set_result(None)
            elif found:
                self._fail(f"no WebSocket: {head[:100]!r}")
        elif len(self._received) >= len(self._expected):
            now = time.perf_counter()
            if self._received != self._expected:
                self._fail("another message came back")
                return
            self._received = b""
            self._times.append((now - self._sent) * 1000)
            if now < self._end:
                self._sent = now
                self._transport.write(self._message)
            else:
                self.done.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        """Fail, unless it is done."""
        self._fail(f"the socket was closed ({error})")

    def _fail(self, reason: str) -> None:
        for future in (self.opened, self.done):
            if not future.done():
                future.set_exception(ConnectionError(reason))
                future.exception()  # it may be that nobody waits for this one

    def close(self) -> None:
        """Close it."""
        self._transport.abort()


async def _main(port: int, seconds: float, paths: list[str]) -> None:
    times: list[float] = []
    loop = asyncio.get_running_loop()
    sockets: list[_Socket] = []
    for path in paths:
        socket = _Socket(path, port, times)
        await loop.create_connection(partial(_same, socket), "127.0.0.1", port)
        sockets.append(socket)
        await within(_PATIENCE, socket.opened)
    begin = time.perf_counter()
    for socket in sockets:
        socket.begin(begin + seconds)
    await within(seconds + _PATIENCE, asyncio.gather(*(socket.done for socket in sockets)))
    took = time.perf_counter() - begin
    for socket in sockets:
        socket.close()
    print(json.dumps({"seconds": took, **spread(times)}))


def _same(socket: _Socket) -> _Socket:
    return socket


if __name__ == "__main__":
    uvloop.install()
    asyncio.run(_main(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]))
