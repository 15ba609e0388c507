"""A crowd of clients in a process of its own: ``python -m support.crowd <port> <count> <kind>``. I/O: sockets.

It prints a line when all are connected and have sent what they send. It resets all connections when its standard input ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from .waiting import PATIENCE, within

_HEAD = b"Host: hub.example.org\r\n"
# What each of them sends. They read nothing.
KINDS = {
    "nothing": b"",
    "half a head": b"GET /hub/login HTTP/1.1\r\n" + _HEAD,
    "half a body": b"POST /hub/login HTTP/1.1\r\n" + _HEAD + b"Content-Length: 1000000\r\n\r\n" + b"x" * 1000,
    "no HTTP": b"\x16\x03\x01" * 100,
    "a request for nothing": b"GET /_chp_healthz HTTP/1.1\r\n" + _HEAD + b"\r\n",
}


@contextlib.asynccontextmanager
async def crowd(port: int, count: int, kind: str) -> AsyncIterator[None]:
    """Have a crowd of one of the KINDS as long as the block runs."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "support.crowd", str(port), str(count), kind),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert await within(30 * PATIENCE, process.stdout.readline()) == b"there\n"
        yield
        process.stdin.close()
        assert await within(30 * PATIENCE, process.wait()) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _main(port: int, count: int, kind: str) -> None:
    opened = []
    for _ in range(count):
        one = socket.create_connection(("127.0.0.1", port), timeout=20)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        opened.append(one)
    for one in opened:
        with contextlib.suppress(ConnectionError):  # it may have been refused already
            one.sendall(KINDS[kind])
    print("there", flush=True)
    sys.stdin.read()
    for one in opened:
        one.close()


if __name__ == "__main__":
    _main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
