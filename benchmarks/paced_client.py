"""Requests pages at fixed times: ``python -m benchmarks.paced_client PORT SECONDS PER_SECOND PATH...``. I/O: sockets.

It is a process of its own, and does as little as possible, so that the proxy is measured and not what is in front of it.
Each path has a connection of its own, and they take turns. A request whose connection still waits for an answer is sent
after that, and its time counts from when it should have been sent: a slow proxy does not get fewer of them.
Prints one line of JSON: the distribution of their times, and how many failed.
"""

from __future__ import annotations

import asyncio
import collections
import itertools
import json
import sys
import time
from functools import partial
from typing import cast

import uvloop

from .stats import spread
from .waiting import within

# How many seconds an answer may take.
_PATIENCE = 10


class _Asker(asyncio.Protocol):
    """A connection: it sends one request after another, and records how long each took."""

    def __init__(self, path: str, port: int, times: list[float]) -> None:
        self._request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
        self._times = times
        # When those that are not answered yet were to be sent; the first one was.
        self._asked: collections.deque[float] = collections.deque()
        self._received = b""
        self.failed = 0
        self.answered = asyncio.Event()
        self._transport: asyncio.WriteTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the connection."""
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's is no subclass

    def ask(self) -> None:
        """Send a request, as soon as that is possible."""
        self.answered.clear()
        self._asked.append(time.perf_counter())
        if len(self._asked) == 1:
            self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Take a part of an answer."""
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        _, _, length = head.lower().partition(b"\r\ncontent-length:")
        if not found or len(body) < int(length.split(b"\r\n")[0]):
            return
        self._received = b""
        self._times.append((time.perf_counter() - self._asked.popleft()) * 1000)
        if not head.startswith(b"HTTP/1.1 200 "):
            self.failed += 1
        if self._asked:
            self._transport.write(self._request)
        else:
            self.answered.set()

    def connection_lost(self, _: Exception | None) -> None:
        """Those that are not answered have failed."""
        self.failed += len(self._asked)
        self._asked.clear()
        self.answered.set()

    def close(self) -> None:
        """Close it."""
        self._transport.abort()


async def _main(port: int, seconds: float, per_second: float, paths: list[str]) -> None:
    times: list[float] = []
    loop = asyncio.get_running_loop()
    askers = [_Asker(path, port, times) for path in paths]
    for asker in askers:
        await loop.create_connection(partial(_same, asker), "127.0.0.1", port)
        asker.ask()
        await within(_PATIENCE, asker.answered.wait())
    times.clear()  # the first request of a connection has the server's connection opened
    begin = time.perf_counter()
    for number, asker in zip(range(int(seconds * per_second)), itertools.cycle(askers), strict=False):
        await asyncio.sleep(max(begin + number / per_second - time.perf_counter(), 0))
        asker.ask()
    for asker in askers:
        await within(_PATIENCE, asker.answered.wait())
        asker.close()
    print(json.dumps({"failed": sum(asker.failed for asker in askers), **spread(times)}))


def _same(asker: _Asker) -> _Asker:
    return asker


if __name__ == "__main__":
    uvloop.install()
    asyncio.run(_main(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]), sys.argv[4:]))
