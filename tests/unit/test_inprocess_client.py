"""A connection from a client, of which asyncio tells what no real client can do on demand."""

from __future__ import annotations

import asyncio
import errno
from typing import cast

import pytest
from support.transports import Transport

from traefik_toml_proxy.inprocess import client, limits
from traefik_toml_proxy.inprocess.client import ClientConnection, Engine, Making
from traefik_toml_proxy.inprocess.forwarding import Peer
from traefik_toml_proxy.inprocess.heads import Request


class Slow:
    """Never answers."""

    is_stopping = False

    def remember(self, client: ClientConnection) -> None:
        """Do nothing."""

    forget = remember

    def answer(self, client: ClientConnection, request: Request) -> Making:  # noqa: ARG002
        """Return what never has an answer."""
        return cast("Making", asyncio.Event().wait)


@pytest.mark.parametrize(("error", "goes_on"), [(0, True), (errno.EPIPE, True), (errno.ECONNRESET, False)])
async def test_a_reset_that_looks_like_an_end(error: int, *, goes_on: bool) -> None:
    """As with uvloop 0.22 and older, if data have come with it: nobody waits for the answer any more."""
    transport = Transport()
    connection = ClientConnection(cast("Engine", Slow()), Peer(b"127.0.0.1", is_trusted=False, is_tls=False))
    connection.connection_made(transport)
    connection.data_received(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    transport.error = error
    assert connection.eof_received() is goes_on
    connection.connection_lost(None)
    # asyncio could tell of the loss twice otherwise, and fail.
    assert not transport.closed


class Healthy(Slow):
    """Answers at once."""

    answered = 0

    def answer(self, client: ClientConnection, request: Request) -> bytes:  # type: ignore[override]  # noqa: ARG002
        """Return an answer."""
        self.answered += 1
        return b"HTTP/1.1 204 No Content\r\n\r\n"


async def test_each_client_has_one_turn_in_a_step() -> None:
    """Also with asyncio of Python 3.10, which goes on with what has come over TLS though it is told to wait."""
    engine, transport = Healthy(), Transport()
    connection = ClientConnection(cast("Engine", engine), Peer(b"127.0.0.1", is_trusted=False, is_tls=True))
    connection.connection_made(transport)
    for _ in range(16):
        connection.data_received(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n" * 40)
    most, steps = 0, 0
    while engine.answered < 640:
        before = engine.answered
        await asyncio.sleep(0)
        steps, most = steps + 1, max(most, engine.answered - before)
        assert steps < 2_000
    assert most <= limits.AT_ONCE
    assert transport.reads


@pytest.mark.parametrize("is_tls", [False, True])
async def test_nothing_is_written_to_a_client_that_takes_nothing_more(*, is_tls: bool) -> None:
    """Over TLS, that is one that sends nothing more. asyncio would log each piece."""
    transport = Transport()
    connection = ClientConnection(cast("Engine", Slow()), Peer(b"127.0.0.1", is_trusted=False, is_tls=is_tls))
    connection.connection_made(transport)
    connection.data_received(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    connection.eof_received()
    connection.write(b"1")
    transport.closed = True
    connection.write(b"2")
    assert transport.written == ([] if is_tls else [b"1"])
    connection.connection_lost(None)


async def test_a_client_that_takes_nothing_more_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python 3.10 would keep what is written to it."""
    transport = Transport()
    connection = ClientConnection(cast("Engine", Slow()), Peer(b"127.0.0.1", is_trusted=False, is_tls=True))
    connection.connection_made(transport)
    monkeypatch.setattr(client, "takes_nothing", lambda _: True)
    connection.write(b"1")
    assert (transport.closed, transport.written) == (True, [])


async def test_one_that_is_lost_is_idle() -> None:
    """Over TLS, Python 3.10 cannot say then how much waits to be sent; the stop of the proxy asks."""

    class Lost(Transport):
        """As in the step between the loss and its being told."""

        def get_extra_info(self, name: str, default: object = None) -> object:  # noqa: ARG002
            """Know nothing."""
            return None

        def get_write_buffer_size(self) -> int:
            """Fail."""
            raise AttributeError("'NoneType' object has no attribute 'get_write_buffer_size'")

    connection = ClientConnection(cast("Engine", Slow()), Peer(b"127.0.0.1", is_trusted=False, is_tls=True))
    connection.connection_made(Lost())
    assert connection.is_idle
    connection.cut_off(reset=True)
