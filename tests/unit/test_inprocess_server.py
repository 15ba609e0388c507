"""A connection to a server: what it has sent is read to its end, even if the connection is lost meanwhile."""

from __future__ import annotations

import asyncio
import errno
from types import SimpleNamespace
from typing import Any, cast

import pytest

from traefik_toml_proxy.inprocess.heads import read_request
from traefik_toml_proxy.inprocess.server import Owner, ServerConnection
from traefik_toml_proxy.inprocess.targets import Address


class Asker:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.body = b""
        self.told: list[str] = []

    def on_body(self, piece: bytes) -> None:
        """Note it."""
        self.body += piece

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("on_"):
            raise AttributeError(name)
        return lambda *_: self.told.append(name) if name != "on_pause" else None


class Transport(asyncio.Transport):
    """Notes whether it reads, and whether it was closed."""

    def __init__(self) -> None:
        self.error = 0
        options = {"setsockopt": lambda *_: None, "getsockopt": lambda *_: self.error}
        super().__init__({"socket": SimpleNamespace(**options, family=0)})
        self.reads = True
        self.closed = False

    def pause_reading(self) -> None:
        """Note it."""
        self.reads = False

    def resume_reading(self) -> None:
        """Note it."""
        self.reads = True

    def is_closing(self) -> bool:
        """Say what was noted."""
        return self.closed

    def close(self) -> None:
        """Note it."""
        self.closed = True

    abort = close

    def get_write_buffer_size(self) -> int:
        """Say that all was sent."""
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Do nothing."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Do nothing."""


CHUNKS = 5_000
ANSWER = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * CHUNKS + b"0\r\n\r\n"


@pytest.mark.parametrize("end", ["eof", "reset", None])
async def test_many_small_chunks_are_read_to_their_end(end: str | None) -> None:
    """A few at a time; all at once if the connection has ended, because the rest is there already."""
    asker, transport = Asker(), Transport()
    connection = ServerConnection(Address("127.0.0.1", 1, "", ""), set())
    connection.connection_made(transport)
    connection.begin(cast("Owner", asker), read_request(b"GET / HTTP/1.1\r\nHost: h\r\n"), b"")
    connection.data_received(ANSWER)
    assert 0 < len(asker.body) < CHUNKS
    assert not transport.reads
    if end == "eof":
        connection.eof_received()
    elif end == "reset":
        connection.connection_lost(ConnectionResetError())
    for _ in range(CHUNKS if end is None else 1):
        await asyncio.sleep(0)

    assert asker.body == b"x" * CHUNKS
    assert asker.told[:2] == ["on_head", "on_end"]


@pytest.mark.parametrize("error", [0, errno.ECONNRESET])
async def test_a_reset_that_looks_like_an_end(error: int) -> None:
    """As with uvloop 0.22 and older, if data have come with it: an answer without a length must not look complete."""
    asker, transport = Asker(), Transport()
    connection = ServerConnection(Address("127.0.0.1", 1, "", ""), set())
    connection.connection_made(transport)
    connection.begin(cast("Owner", asker), read_request(b"GET / HTTP/1.1\r\nHost: h\r\n"), b"")
    connection.data_received(b"HTTP/1.1 200 OK\r\n\r\nx")
    transport.error = error
    assert not connection.eof_received()
    assert asker.told == ["on_head", "on_lost" if error else "on_end"]


async def test_it_is_read_on_when_no_reason_is_left() -> None:
    """Neither a client that takes nothing nor others that wait."""
    transport = Transport()
    connection = ServerConnection(Address("127.0.0.1", 1, "", ""), set())
    connection.connection_made(transport)
    connection.hold(1)
    connection.hold(2)
    connection.release(1)
    assert not transport.reads
    connection.release(2)
    assert transport.reads
