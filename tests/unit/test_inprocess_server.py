"""A connection to a server: what it has sent is read to its end, even if the connection is lost meanwhile."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from support.transports import Transport

from traefik_toml_proxy.inprocess import server
from traefik_toml_proxy.inprocess.heads import read_request
from traefik_toml_proxy.inprocess.pool import Pool, Unreachable
from traefik_toml_proxy.inprocess.server import Owner, ServerConnection
from traefik_toml_proxy.inprocess.targets import Address


def unchanged(address: Address) -> Address:
    """Return where a route leads that stays as it is."""
    return address


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


async def test_of_a_websocket_no_more_is_read_than_was_there_at_its_end() -> None:
    """A server at a unix socket may refuse what it is sent, and go on sending."""

    class Fed(Asker):
        """Gets more whenever it has got something."""

        def on_tunnel(self, data: bytes) -> None:
            """Note it."""
            self.body += data
            theirs.send(b"more")

    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        asker, transport = Fed(), Transport()
        transport._extra["socket"] = ours  # type: ignore[attr-defined]
        connection = ServerConnection(Address("", 0, "/server", ""), set())
        connection.connection_made(transport)
        request = read_request(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n")
        connection.begin(cast("Owner", asker), request, b"")
        connection.data_received(b"HTTP/1.1 101 Yes\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        theirs.send(b"all")
        connection.connection_lost(BrokenPipeError())

    assert asker.body == b"all"


@pytest.mark.parametrize("error", [0, errno.EPIPE, errno.ECONNRESET])
async def test_a_reset_that_looks_like_an_end(error: int) -> None:
    """As with uvloop 0.22 and older, if data have come with it: an answer without a length must not look complete.

    A reset that has come after an end, which gives EPIPE, takes nothing away from it.
    """
    asker, transport = Asker(), Transport()
    connection = ServerConnection(Address("127.0.0.1", 1, "", ""), set())
    connection.connection_made(transport)
    connection.begin(cast("Owner", asker), read_request(b"GET / HTTP/1.1\r\nHost: h\r\n"), b"")
    connection.data_received(b"HTTP/1.1 200 OK\r\n\r\nx")
    transport.error = error
    assert not connection.eof_received()
    assert asker.told == ["on_head", "on_lost" if error == errno.ECONNRESET else "on_end"]


async def test_each_server_has_one_turn_in_a_step() -> None:
    """Also with asyncio of Python 3.10, which goes on with what has come over TLS though it is told to wait."""
    asker = Asker()
    connection = ServerConnection(Address("127.0.0.1", 1, "", "site"), set())
    connection.connection_made(Transport())
    connection.begin(cast("Owner", asker), read_request(b"GET / HTTP/1.1\r\nHost: h\r\n"), b"")
    pieces = [ANSWER[at : at + 5_000] for at in range(0, len(ANSWER), 5_000)]
    connection.data_received(pieces.pop(0))
    first = len(asker.body)
    for piece in pieces:
        connection.data_received(piece)
    assert len(asker.body) == first
    most, steps = 0, 0
    while "on_end" not in asker.told:
        before = len(asker.body)
        await asyncio.sleep(0)
        steps, most = steps + 1, max(most, len(asker.body) - before)
        assert steps < CHUNKS
    assert asker.body == b"x" * CHUNKS
    assert most < 2 * first


async def test_nothing_is_sent_to_a_server_whose_connection_is_closing() -> None:
    """Asyncio would log each piece."""
    transport = Transport()
    connection = ServerConnection(Address("127.0.0.1", 1, "", ""), set())
    connection.connection_made(transport)
    connection.send(b"1")
    transport.closed = True
    connection.send(b"2")
    assert transport.written == [b"1"]


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


async def test_one_that_is_closed_already_is_not_closed_again() -> None:
    """Over TLS, Python 3.11 raises AttributeError then, and can no longer abort it."""
    asker, transport = Asker(), Transport()
    connection = ServerConnection(Address("127.0.0.1", 1, "", "site"), set())
    connection.connection_made(transport)
    connection.owner = cast("Owner", asker)
    connection.close()
    assert transport.closed
    transport.close = None  # type: ignore[assignment,method-assign] # whoever calls it now fails
    connection.close()
    connection.connection_lost(None)
    connection.close()


@pytest.mark.parametrize("is_unix", [False, True])
async def test_one_whose_opening_is_cancelled_at_the_last_moment_is_forgotten(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, is_unix: bool
) -> None:
    """As uvloop does it: the protocol is told of the connection, but not of its end."""
    path = str(tmp_path / "server.sock")

    async def open_it(
        make: Callable[[], ServerConnection], *_: object, sock: socket.socket | None = None, **__: object
    ) -> None:
        make().connection_made(Transport())
        if sock is not None:
            sock.close()
        raise asyncio.CancelledError

    pool = Pool(dict, 10, unchanged)
    for name in ("create_connection", "create_unix_connection"):
        monkeypatch.setattr(asyncio.get_running_loop(), name, open_it)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        with pytest.raises(asyncio.CancelledError):
            await pool.connect(Address("", 0, path, "") if is_unix else Address("127.0.0.1", 1, "", ""))
    assert not pool.is_used


@pytest.mark.parametrize("end", [lambda made: made.connection_lost(None), lambda made: made.eof_received()])
async def test_one_that_has_ended_before_it_is_used_is_no_connection(
    monkeypatch: pytest.MonkeyPatch, end: Callable[[ServerConnection], object]
) -> None:
    """Whoever had it would be told nothing any more, and wait for ever; uvloop raises RuntimeError if it is written to."""

    async def open_it(make: Callable[[], ServerConnection], *_: object, **__: object) -> None:
        made = make()
        made.connection_made(Transport())
        end(made)

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", open_it)
    with pytest.raises(Unreachable, match="it has closed the connection"):
        await Pool(dict, 10, unchanged).connect(Address("127.0.0.1", 1, "", ""))


@pytest.mark.parametrize("gone_before", [True, False])
async def test_nothing_is_connected_to_for_a_route_that_is_gone(
    monkeypatch: pytest.MonkeyPatch, *, gone_before: bool
) -> None:
    """Somebody else may have the address by then."""
    gone, opened = [gone_before], list[Transport]()

    async def open_it(make: Callable[[], ServerConnection], *_: object, **__: object) -> None:
        opened.append(Transport())
        make().connection_made(opened[-1])
        gone[0] = True

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", open_it)
    pool = Pool(dict, 10, lambda address: None if gone[0] else address)
    with pytest.raises(Unreachable, match="its route was deleted while it waited"):
        await pool.connect(Address("127.0.0.1", 1, "", ""))
    assert [transport.closed for transport in opened] == ([] if gone_before else [True])


async def test_a_route_that_moves_takes_along_what_waits_for_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else may have the old address by then, but the request must not fail."""
    old, new = Address("127.0.0.1", 1, "", "", owner=1), Address("127.0.0.1", 2, "", "", owner=1)
    now, opened = [old], dict[object, Transport]()

    async def open_it(make: Callable[[], ServerConnection], _: str, port: int, **__: object) -> None:
        opened[port] = Transport()
        make().connection_made(opened[port])
        now[0] = new

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", open_it)
    connection = await Pool(dict, 10, lambda _: now[0]).connect(old)
    assert connection.address == new
    assert {port: transport.closed for port, transport in opened.items()} == {1: True, 2: False}


async def test_one_that_has_just_broken_makes_no_room_as_long_as_somebody_waits_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both loops say that it is closing before they tell of its end: whoever has it would not be told any more."""

    async def open_it(make: Callable[[], ServerConnection], *_: object, **__: object) -> None:
        make().connection_made(Transport())

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", open_it)
    asker, pool, place = Asker(), Pool(dict, 1, unchanged), Address("127.0.0.1", 1, "", "")
    broken = await pool.connect(place)
    broken.begin(cast("Owner", asker), read_request(b"GET / HTTP/1.1\r\nHost: h\r\n"), b"")
    broken.transport.close()
    await pool.connect(place)
    broken.connection_lost(ConnectionResetError())

    assert asker.told == ["on_lost"]


async def test_a_server_that_takes_nothing_more_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python 3.10 would keep what is sent to it."""
    transport = Transport()
    connection = ServerConnection(Address("127.0.0.1", 1, "", "site"), set())
    connection.connection_made(transport)
    monkeypatch.setattr(server, "takes_nothing", lambda _: True)
    connection.send(b"1")
    assert (transport.closed, transport.written) == (True, [])
