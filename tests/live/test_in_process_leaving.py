"""InProcessProxy, when clients leave at the worst moment, or it does: nothing is left open, and the log stays quiet."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import gc
import logging
import socket
import ssl
import sys
import termios
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from support.certificates import Pair, make_certificate
from support.handshakes import almost_shaken
from support.in_process import InProcessMaker, ServerMaker, connect
from support.ports import free_port
from support.waiting import eventually, within

from traefik_toml_proxy.conformance.backend import Exchange
from traefik_toml_proxy.conformance.client import Connection, unverified
from traefik_toml_proxy.inprocess import client, limits
from traefik_toml_proxy.inprocess.client import ClientConnection
from traefik_toml_proxy.inprocess.engine import Engine, EngineSettings
from traefik_toml_proxy.inprocess.loop import make_loop
from traefik_toml_proxy.inprocess.server import ServerConnection
from traefik_toml_proxy.inprocess.serving import serve as serve_sockets
from traefik_toml_proxy.inprocess.sockets import is_sent, reset_when_closed, takes_nothing
from traefik_toml_proxy.proxies.inprocess import InProcessProxy

pytestmark = pytest.mark.timeout(60)

HEALTH = b"GET /_chp_healthz HTTP/1.1\r\nHost: h\r\n\r\n"
NOWHERE = b"GET /nowhere HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    """The admin's certificate and its key."""
    return make_certificate(tmp_path, "hub")


def ask_and_leave(proxy: InProcessProxy, asked: bytes) -> None:
    """Send something and close the connection at once, without reading an answer."""
    where = urlsplit(proxy.public_url)
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(socket.create_connection((where.hostname or "", where.port or 0), timeout=20))
        if where.scheme == "https":
            client = stack.enter_context(unverified().wrap_socket(client))
        client.sendall(asked)


@pytest.mark.parametrize("asked", [NOWHERE, HEALTH * 60], ids=["one", "many"])
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_clients_that_leave_at_once_are_no_matter_for_the_log(
    make_in_process: InProcessMaker,
    serve: ServerMaker,
    pair: Pair,
    caplog: pytest.LogCaptureFixture,
    scheme: str,
    asked: bytes,
) -> None:
    """With asyncio, the answer draws a reset while it is sent, of which the next call may tell."""
    caplog.set_level(logging.WARNING)
    traits = pair.traits if scheme == "https" else {}
    proxy = make_in_process(public_url=f"{scheme}://127.0.0.1:{free_port()}/", **traits)
    await proxy.start()
    await serve(proxy)
    for _ in range(20):
        await asyncio.to_thread(ask_and_leave, proxy, asked)
    await proxy.stop()
    gc.collect()  # asyncio tells of tasks that have failed when they are collected

    assert caplog.messages == []


async def test_many_interim_answers_are_sent_at_once(
    in_process: InProcessProxy, serve: ServerMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One by one, asyncio would log each of them if the client had just gone."""
    pieces: list[int] = []
    write = ClientConnection.write

    def note(self: ClientConnection, data: bytes) -> None:
        pieces.append(len(data))
        write(self, data)

    async def many(exchange: Exchange) -> None:
        await exchange.send(
            b"HTTP/1.1 103 Early Hints\r\n\r\n" * 200 + b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        )

    monkeypatch.setattr(ClientConnection, "write", note)
    await serve(in_process, handler=many)
    async with connect(in_process) as connection:
        connection.writer.write(b"GET /user/ada/ HTTP/1.1\r\nHost: h\r\n\r\n")
        answers = await within(20, connection.reader.readuntil(b"\r\n\r\nok"))

    assert answers.count(b" 103 ") == 200
    assert len(pieces) < 20


async def stop_in_the_handshake(pair: Pair) -> tuple[int, bytes]:
    """Stop an engine in whose next step a handshake ends; return how many clients it has left, and what theirs says."""
    engine = Engine(EngineSettings(trusted=(), most_clients=10, hub_url=""), dict, lambda _: None, lambda _: None)
    listening = socket.create_server(("127.0.0.1", 0))
    address = listening.getsockname()
    await serve_sockets(engine, [listening], pair.server, None)
    client, rest = await almost_shaken(address)
    with client:
        client.sendall(rest)
        await engine.close(0)
        said = b"?"
        with contextlib.suppress(ConnectionResetError):
            while said:
                said = await asyncio.get_running_loop().sock_recv(client, 100_000)
    return engine.traffic().connections, said


def test_a_handshake_that_ends_while_the_proxy_stops(event_loop_kind: str, pair: Pair) -> None:
    """Asyncio tells that it was cancelled, and makes the connection all the same."""
    loop = make_loop(event_loop_kind)
    try:
        left, said = loop.run_until_complete(within(20, stop_in_the_handshake(pair)))
    finally:
        loop.close()

    assert (left, said) == (0, b"")


@pytest.mark.skipif(sys.version_info >= (3, 11), reason="the asyncio of newer versions tells of the end")
async def test_the_end_of_tls_is_seen_while_something_waits_to_be_sent(pair: Pair) -> None:
    """Python 3.10 does not tell of it then."""
    ending = threading.Event()

    def serve_one(listening: socket.socket) -> socket.socket:
        connection = pair.server().wrap_socket(listening.accept()[0], server_side=True)
        ending.wait(20)
        connection.setblocking(False)
        with contextlib.suppress(ssl.SSLError):
            connection.unwrap()  # says that this is the end, and waits for nothing
        return connection

    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(20)
        serving = asyncio.ensure_future(asyncio.to_thread(serve_one, listening))
        transport, _ = await asyncio.get_running_loop().create_connection(
            asyncio.Protocol, *listening.getsockname(), ssl=unverified()
        )
        while not transport.get_write_buffer_size():
            transport.write(bytes(20_000))
            await asyncio.sleep(0)
        seen_before = takes_nothing(transport)
        ending.set()
        with await within(20, serving):
            await eventually(lambda: takes_nothing(transport))
        transport.abort()

    assert not seen_before


def waiting(transport: asyncio.BaseTransport, which: int) -> int:
    """Return how many bytes wait in the system: to be read (FIONREAD), or to get to the other side (TIOCOUTQ)."""
    return int.from_bytes(fcntl.ioctl(transport.get_extra_info("socket").fileno(), which, bytes(4)), sys.byteorder)


WEBSOCKET = b"GET /user/ada/ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
SIZE = 16 * 2**20


async def say_much(exchange: Exchange) -> None:
    """Answer at once, whatever comes of the request; or speak first over the websocket, and end it."""
    if exchange.target.endswith("ws"):
        await exchange.send(b"HTTP/1.1 101 Yes\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" + b"x" * SIZE)
        # Frames that it has not read reset the connection when it is closed, and what the proxy has not got then is lost.
        transport = exchange.writer.transport
        await eventually(lambda: not (transport.get_write_buffer_size() or waiting(transport, termios.TIOCOUTQ)))
    else:
        await exchange.send(b"HTTP/1.1 413 No\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % SIZE + b"x" * SIZE)
    exchange.last = True


async def send_now_and_then(connection: Connection) -> None:
    """Go on sending."""
    while True:
        await connection.send(b"frame")
        await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("scheme", "asked", "goes_on"),
    [
        ("http", b"GET /user/ada/ HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n\r\n", False),
        ("http", b"POST /user/ada/ HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n", False),
        ("http", WEBSOCKET, False),
        ("http", WEBSOCKET, True),
        ("https", WEBSOCKET, True),
        ("https", b"GET /user/ada/ HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", False),
        ("http", b"GET /user/ada/ HTTP/1.1\r\nHost: h\r\n\r\n", False),
        ("https", b"GET /user/ada/ HTTP/1.1\r\nHost: h\r\n\r\n", False),
    ],
    ids=[
        "a line too much",
        "an early answer",
        "a websocket",
        "goes on",
        "https, goes on",
        "https",
        "kept",
        "https, kept",
    ],
)
async def test_a_client_that_is_only_slow_gets_the_end_of_its_answer(
    make_in_process: InProcessMaker,
    serve: ServerMaker,
    pair: Pair,
    monkeypatch: pytest.MonkeyPatch,
    scheme: str,
    asked: bytes,
    *,
    goes_on: bool,
) -> None:
    """The seconds for a client that is to leave, or to ask for more, begin when it has got all."""
    monkeypatch.setattr(client, "HIGH_WATER", 2**30)  # so that all of it is with the proxy
    monkeypatch.setattr(limits, "LINGER_SECONDS", 0.3)
    monkeypatch.setattr(limits, "LINGER_IDLE_SECONDS", 0.1)
    monkeypatch.setattr(limits, "IDLE_SECONDS", 0.1)
    monkeypatch.setattr("asyncio.constants.SSL_SHUTDOWN_TIMEOUT", 0.3, raising=False)  # Python 3.10 has none
    late = list[float]()
    on_deadline = ClientConnection.on_deadline

    def note(self: ClientConnection) -> None:
        late.append(self.deadline)
        on_deadline(self)

    monkeypatch.setattr(ClientConnection, "on_deadline", note)
    proxy = make_in_process(
        public_url=f"{scheme}://127.0.0.1:{free_port()}/", **(pair.traits if scheme == "https" else {})
    )
    await proxy.start()
    await serve(proxy, handler=say_much)
    async with connect(proxy) as connection:
        await connection.send(asked)
        await within(20, connection.head())
        connection.reader._transport.pause_reading()  # type: ignore[attr-defined]
        sending = asyncio.ensure_future(send_now_and_then(connection) if goes_on else asyncio.sleep(0))
        await eventually(lambda: len(late) >= 2)
        sending.cancel()
        connection.reader._transport.resume_reading()  # type: ignore[attr-defined]
        got = await within(20, connection.reader.read())

    assert len(got) == SIZE


@contextlib.asynccontextmanager
async def slow_client(proxy: InProcessProxy) -> AsyncIterator[socket.socket]:
    """A connection to the proxy for which the system keeps little of what has come."""
    where = urlsplit(proxy.public_url)
    with socket.socket() as connection:
        connection.setblocking(False)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
        await within(20, asyncio.get_running_loop().sock_connect(connection, (where.hostname, where.port)))
        yield connection


async def send(connection: socket.socket, data: bytes) -> None:
    """Send all of it."""
    await within(20, asyncio.get_running_loop().sock_sendall(connection, data))


async def count_to_the_end(connection: socket.socket) -> int:
    """Return how many NULs come until the end."""
    loop, count = asyncio.get_running_loop(), 0
    while piece := await within(20, loop.sock_recv(connection, 65_536)):
        count += piece.count(0)
    return count


@pytest.mark.parametrize(("seconds", "pauses"), [(0.3, False), (30.0, True)], ids=["all the time", "after a pause"])
async def test_a_slow_client_gets_what_only_the_system_still_has_of_an_answer(
    in_process: InProcessProxy,
    serve: ServerMaker,
    monkeypatch: pytest.MonkeyPatch,
    seconds: float,
    *,
    pauses: bool,
) -> None:
    """What it sends makes a reset of the end of its connection, and all that has not arrived is lost."""
    monkeypatch.setattr(limits, "LINGER_SECONDS", seconds)
    monkeypatch.setattr(limits, "LINGER_IDLE_SECONDS", 0.1)
    late = list[ClientConnection]()
    on_deadline = ClientConnection.on_deadline

    def note(self: ClientConnection) -> None:
        if is_sent(self._transport):
            late.append(self)
        on_deadline(self)

    async def refuse(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 413 No\r\nConnection: close\r\nContent-Length: 50000\r\n\r\n" + bytes(50_000))
        exchange.last = True

    monkeypatch.setattr(ClientConnection, "on_deadline", note)
    await serve(in_process, handler=refuse)
    async with slow_client(in_process) as connection:
        await send(connection, b"POST /user/ada/ HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n")

        async def has_been_looked_at_twice() -> bool:
            if not pauses:
                await send(connection, b"a piece")
            return len(late) >= 2

        await eventually(has_been_looked_at_twice)
        await send(connection, b"a piece")
        assert await count_to_the_end(connection) == 50_000


async def test_an_idle_client_holds_no_place_for_what_only_the_system_still_has(
    make_in_process: InProcessMaker, serve: ServerMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system sends that after the end as well: there may be hundreds of laptops that sleep."""
    late = list[ClientConnection]()
    on_deadline = ClientConnection.on_deadline

    def note(self: ClientConnection) -> None:
        on_deadline(self)
        late.append(self)

    async def answer(exchange: Exchange) -> None:
        await exchange.reply(body=bytes(50_000))

    monkeypatch.setattr(ClientConnection, "on_deadline", note)
    monkeypatch.setattr(limits, "IDLE_SECONDS", 0.1)
    proxy = make_in_process(most_connections=1)
    await proxy.start()
    await serve(proxy, handler=answer)
    async with slow_client(proxy) as connection:
        await send(connection, b"GET /user/ada/ HTTP/1.1\r\nHost: h\r\n\r\n")
        await eventually(lambda: late)
        async with connect(proxy) as other:
            assert (await within(20, other.request("GET", "/_chp_healthz"))).status == 200
        assert await count_to_the_end(connection) == 50_000


@pytest.mark.parametrize("end", ["goes on", "ends"])
async def test_a_slow_client_gets_the_end_of_a_broken_websocket(
    in_process: InProcessProxy, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    """The proxy reads nothing more for it, and learns that the server has gone by sending what it sends, or its end."""
    switch = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    opened = list[ServerConnection]()
    connection_made = ServerConnection.connection_made

    def note(self: ServerConnection, transport: asyncio.BaseTransport) -> None:
        opened.append(self)
        connection_made(self, transport)

    monkeypatch.setattr(ServerConnection, "connection_made", note)
    loop, sent = asyncio.get_running_loop(), 0
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        await in_process.add_route("/user/ada/", "http://{}:{}".format(*listening.getsockname()), {})
        async with slow_client(in_process) as connection:
            await send(connection, WEBSOCKET)
            accepted, _ = await within(20, loop.sock_accept(listening))
            reader, writer = await asyncio.open_connection(sock=accepted)
            assert await within(20, reader.readuntil(b"\r\n\r\n"))
            writer.write(switch)
            (held,) = opened
            while not (held._held and waiting(held.transport, termios.FIONREAD)):
                if not writer.transport.get_write_buffer_size():
                    writer.write(bytes(10_000))
                    sent += 10_000
                await asyncio.sleep(0)
            arrived = sent - writer.transport.get_write_buffer_size() - waiting(writer.transport, termios.TIOCOUTQ)
            if end == "ends":
                reset_when_closed(writer.transport)  # type: ignore[arg-type]
            writer.transport.abort()
            if end == "ends":
                await asyncio.sleep(0)  # so that it is closed
                connection.shutdown(socket.SHUT_WR)
            while held.is_usable:
                if end == "goes on":
                    await send(connection, b"a frame")
                await asyncio.sleep(0.02)
            got = await count_to_the_end(connection)

    assert got >= arrived


async def test_whoever_comes_just_before_the_end_is_answered(in_process: InProcessProxy, serve: ServerMaker) -> None:
    """Its request is on its way when the proxy stops."""
    await serve(in_process)
    async with connect(in_process) as connection, connect(in_process) as late:
        await within(20, connection.request("GET", "/_chp_healthz"))
        ending = asyncio.ensure_future(in_process.stop())
        assert await within(20, connection.reader.read()) == b""  # who is idle is closed
        assert (await within(20, late.request("GET", "/user/ada/"))).status == 200
    await ending
