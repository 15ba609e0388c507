"""A connection from a client, of which asyncio tells what no real client can do on demand."""

from __future__ import annotations

import asyncio
import errno
from types import SimpleNamespace
from typing import cast

import pytest
from support.transports import Transport
from support.waiting import eventually

from traefik_toml_proxy.inprocess import client, limits, sockets
from traefik_toml_proxy.inprocess.client import ClientConnection, Engine, Making
from traefik_toml_proxy.inprocess.exchange import Exchange
from traefik_toml_proxy.inprocess.forwarding import Peer
from traefik_toml_proxy.inprocess.heads import Request
from traefik_toml_proxy.inprocess.pool import Pool
from traefik_toml_proxy.inprocess.targets import target_of
from traefik_toml_proxy.routes import Route

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


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
    connection.data_received(GET)
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
        connection.data_received(GET * 40)
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
    connection.data_received(GET)
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


class Waiting(Slow):
    """Sends the first request on, to a server that cannot be reached yet, and answers all others itself."""

    def __init__(self) -> None:
        self.exchange: Exchange | None = None

    def answer(self, client: ClientConnection, request: Request) -> Exchange | bytes:  # type: ignore[override]
        """Return what answers it."""
        if self.exchange is not None:
            return b"HTTP/1.1 204 No Content\r\n\r\n"
        pool = SimpleNamespace(take=lambda _: None, connect=lambda _: asyncio.Event().wait())
        route = Route.checked("/", "http://127.0.0.1:1", {})
        self.exchange = Exchange(client, request, route, target_of(route), cast("Pool", pool), {}, [0] * 10)
        return self.exchange


async def test_who_takes_a_little_of_an_answer_that_broke_off_has_no_more_time_than_others() -> None:
    """It would be kept for ever if it took nothing more."""
    connection = ClientConnection(cast("Engine", Waiting()), Peer(b"127.0.0.1", is_trusted=False, is_tls=False))
    connection.connection_made(Transport())
    connection.data_received(GET)
    connection.pause_writing()
    connection.cut_off(reset=False)
    connection.resume_writing()
    assert connection.deadline <= asyncio.get_running_loop().time() + limits.LINGER_SECONDS


async def test_tls_is_ended_before_the_connection_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without that, an answer without a length looks incomplete. All may have arrived just before its last look."""

    class OverTls(Transport):
        """Cannot end one direction only."""

        def can_write_eof(self) -> bool:
            """Say so."""
            return False

    has_arrived, transport = [False], OverTls()
    monkeypatch.setattr(sockets, "has_arrived", lambda _: has_arrived[0])
    connection = ClientConnection(cast("Engine", Waiting()), Peer(b"127.0.0.1", is_trusted=False, is_tls=True))
    connection.connection_made(transport)
    connection.data_received(b"GET / HTTP/1.1\r\n\r\n")  # refused: there is no Host
    has_arrived[0], connection.deadline = True, 0.0
    connection.on_deadline()
    assert not transport.closed
    await eventually(lambda: transport.closed)


async def test_what_came_before_the_end_is_answered_if_the_server_answers_in_the_same_step() -> None:
    """The next requests have their turn in one of the next steps; asyncio must not close the connection before."""
    engine, transport = Waiting(), Transport()
    connection = ClientConnection(cast("Engine", engine), Peer(b"127.0.0.1", is_trusted=False, is_tls=False))
    connection.connection_made(transport)
    connection.data_received(4 * GET)
    connection.on_answered(keep=True)
    assert connection.eof_received()
    for _ in range(10):
        await asyncio.sleep(0)
    assert len(transport.written) == 3
    assert transport.closed
    assert engine.exchange is not None
    engine.exchange.drop()
