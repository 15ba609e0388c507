"""InProcessProxy, when more want to come in than there is room for: it stays quiet, and within its descriptors."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import socket
import ssl
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.certificates import make_certificate
from support.in_process import InProcessMaker, ServerMaker, connect, keep_all
from support.ports import free_port
from support.waiting import eventually, within

from traefik_toml_proxy.conformance.backend import Exchange, respond_ok
from traefik_toml_proxy.conformance.client import Connection, unverified
from traefik_toml_proxy.conformance.wire import BrokenMessage
from traefik_toml_proxy.inprocess import clients, limits, pool
from traefik_toml_proxy.inprocess.client import ClientConnection
from traefik_toml_proxy.inprocess.server import ServerConnection
from traefik_toml_proxy.proxies.inprocess import InProcessProxy

pytestmark = pytest.mark.timeout(60)

# How many clients there can be.
MOST = 20
ASKED = b"GET /_chp_healthz HTTP/1.1\r\nHost: hub.example.org\r\n\r\n"


def address_of(proxy: InProcessProxy) -> tuple[str, int]:
    """Return where it listens."""
    return "127.0.0.1", int(proxy.public_url.rstrip("/").rpartition(":")[2])


@contextlib.contextmanager
def no_descriptors() -> Iterator[None]:
    """This process can open nothing more."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_without_descriptors_it_waits_quietly(
    make_in_process: InProcessMaker, caplog: pytest.LogCaptureFixture
) -> None:
    """It accepts nobody, logs one line and hardly computes; those who wait are served when there are some again."""
    proxy = make_in_process()
    await proxy.start()
    loop = asyncio.get_running_loop()
    with contextlib.ExitStack() as stack:
        waiting = [stack.enter_context(socket.socket()) for _ in range(40)]
        with no_descriptors():
            for one in waiting:
                one.setblocking(False)
                await loop.sock_connect(one, address_of(proxy))
                one.sendall(ASKED)
            caplog.clear()
            before = time.process_time()
            await asyncio.sleep(2.5)  # for some attempts
            took = time.process_time() - before
        [line] = caplog.messages
        assert line.startswith("No connection could be accepted (Too many open files): 0 connections")
        assert took < 0.3
        for one in waiting:
            assert (await within(20, loop.sock_recv(one, 100))).startswith(b"HTTP/1.1 200")


async def test_those_who_have_no_room_cost_no_protocol(
    make_in_process: InProcessMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many come at once, no more are held open than there is room for; later, others come in again."""
    made: list[object] = []
    set_up = ClientConnection.connection_made

    def note(self: ClientConnection, transport: asyncio.BaseTransport) -> None:
        made.append(transport)
        set_up(self, transport)

    monkeypatch.setattr(ClientConnection, "connection_made", note)
    keep_all(monkeypatch)
    proxy = make_in_process(most_connections=MOST)
    await proxy.start()
    crowd = await asyncio.gather(*(asyncio.open_connection(*address_of(proxy)) for _ in range(10 * MOST)))
    ended = [asyncio.ensure_future(reader.read()) for reader, _ in crowd]
    await eventually(lambda: sum(each.done() for each in ended) == 9 * MOST)
    assert len(made) == MOST
    for _, writer in crowd:
        writer.transport.abort()
    await asyncio.wait(ended)
    assert [each.exception() for each in ended if each.exception()] == []

    async def is_open() -> bool:
        with contextlib.suppress(OSError, BrokenMessage):
            async with connect(proxy) as connection:
                return (await within(20, connection.request("GET", "/_chp_healthz"))).status == 200
        return False

    await eventually(is_open)


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("sent", ["", "GET /_chp_healthz HTT"])
async def test_those_who_ask_nothing_give_way(
    make_in_process: InProcessMaker,
    serve: ServerMaker,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    scheme: str,
    sent: str,
) -> None:
    """A crowd that fills the room keeps nobody out; who waits for an answer stays, and the log says what happened."""
    monkeypatch.setattr(clients, "_NEW_SECONDS", 0.0)
    monkeypatch.setattr(limits, "USED_SECONDS", 0.0)
    certificate = make_certificate(tmp_path, "hub").traits if scheme == "https" else {}
    proxy = make_in_process(public_url=f"{scheme}://127.0.0.1:{free_port()}/", most_connections=MOST, **certificate)
    await proxy.start()
    asked, released = asyncio.Event(), asyncio.Event()

    async def answer_late(exchange: Exchange) -> None:
        asked.set()
        await released.wait()
        await respond_ok(exchange)

    await serve(proxy, handler=answer_late)
    async with connect(proxy) as patient, contextlib.AsyncExitStack() as stack:
        await patient.send_head("GET", "/user/ada/")
        await within(20, asked.wait())
        # Of https, some do not even begin a handshake.
        opened = [await asyncio.open_connection(*address_of(proxy)) for _ in range(MOST - 1)]
        for _, writer in opened:
            stack.callback(writer.transport.abort)
            writer.write(sent.encode())
        for _ in range(2 * MOST):
            one = await stack.enter_async_context(connect(proxy))
            assert (await within(20, one.request("GET", "/_chp_healthz"))).status == 200
        await eventually(lambda: "There is no room for more" in caplog.text)
        released.set()
        assert (await within(20, patient.response())).status == 200


async def test_each_client_has_room_while_there_is_some(make_in_process: InProcessMaker) -> None:
    """One who is just coming in is counted once."""
    for _ in range(10):
        proxy = make_in_process(most_connections=MOST)
        await proxy.start()
        crowd = await asyncio.gather(*(Connection(proxy.public_url).__aenter__() for _ in range(MOST)))
        for one in crowd:
            assert (await within(20, one.request("GET", "/_chp_healthz"))).status == 200
            one.writer.transport.abort()
        await proxy.stop()


async def test_connections_at_rest_make_room(
    make_in_process: InProcessMaker, serve: ServerMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client has two descriptors at most, whatever it has asked before: what has rested longest is closed for others."""
    monkeypatch.setattr(pool, "_REST_SECONDS", 600.0)
    proxy = make_in_process(most_connections=MOST)
    await proxy.start()
    number = MOST - 5
    open_to: dict[str, list[asyncio.StreamWriter]] = {}
    together = asyncio.Event()

    async def wait_for_all(exchange: Exchange) -> None:
        await exchange.read()
        writers = open_to.setdefault(exchange.target, [])
        writers.append(exchange.writer)
        if len(writers) == number:
            together.set()
        await together.wait()
        await exchange.reply()

    def at_rest(path: str) -> int:
        return sum(not writer.is_closing() for writer in open_to[path])

    async with contextlib.AsyncExitStack() as stack:
        crowd = [await stack.enter_async_context(connect(proxy)) for _ in range(number)]
        paths = [f"/user/{name}/" for name in ("ada", "bob", "eve", "joe")]
        for path in paths:
            backend = await serve(proxy, path, wait_for_all)
            together.clear()
            # A POST gets a connection of its own.
            answers = await within(30, asyncio.gather(*(one.request("POST", path) for one in crowd)))
            assert {answer.status for answer in answers} == {200}
        assert at_rest("/user/joe/") == number
        await eventually(lambda: sum(map(at_rest, paths)) <= MOST)
        assert at_rest("/user/ada/") == at_rest("/user/bob/") == 0

        before = backend.connections
        assert {(await within(20, one.request("GET", "/user/joe/"))).status for one in crowd} == {200}
        assert backend.connections == before


async def test_connections_that_are_being_closed_make_room(
    make_in_process: InProcessMaker, serve: ServerMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that takes nothing keeps those whose clients have left for half a minute, unless others need the room."""
    numbers: list[int] = []
    opened: set[ServerConnection] = set()
    full: set[ServerConnection] = set()

    class Noted(ServerConnection):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            opened.add(self)
            numbers.append(len(opened))

        def connection_lost(self, error: Exception | None) -> None:
            super().connection_lost(error)
            opened.discard(self)

        def pause_writing(self) -> None:
            super().pause_writing()
            full.add(self)

    released = asyncio.Event()

    async def take_nothing(exchange: Exchange) -> None:
        exchange.reader._transport.pause_reading()  # type: ignore[attr-defined]
        await exchange.send(b"HTTP/1.1 101 Yes\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        await released.wait()
        exchange.last = True

    monkeypatch.setattr(pool, "ServerConnection", Noted)
    monkeypatch.setattr(limits, "STALLED_SECONDS", 2)
    room, at_once = 6, 4
    proxy = make_in_process(most_connections=room)
    await proxy.start()
    await serve(proxy, handler=take_nothing)
    for turn in range(1, 4):
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(at_once):
                one = await stack.enter_async_context(connect(proxy))
                await one.send_head("GET", "/user/ada/", [("Connection", "Upgrade"), ("Upgrade", "websocket")])
                assert (await within(20, one.head())).first.startswith("HTTP/1.1 101 ")
                one.writer.write(b"x" * 2**24)  # more than the kernel takes
                stack.callback(one.writer.transport.abort)
            await eventually(lambda: len(full) == turn * at_once)  # noqa: B023 - used at once
        await eventually(lambda: all(one.owner is None for one in list(opened)))  # the clients have left
    released.set()
    assert numbers[:at_once] == list(range(1, at_once + 1))
    assert max(numbers) == room


async def test_what_rests_no_more_makes_no_room(make_in_process: InProcessMaker, serve: ServerMaker) -> None:
    """A connection at rest that was taken, or that its server has closed, is not in the way of others."""
    proxy = make_in_process(most_connections=MOST)
    await proxy.start()

    async def leave(exchange: Exchange) -> None:
        await respond_ok(exchange)
        exchange.last = True

    await serve(proxy, "/user/ada/", leave)
    backend = await serve(proxy, "/user/bob/")
    async with connect(proxy) as connection:
        for _ in range(3 * MOST):
            for path in ("/user/ada/", "/user/bob/"):
                assert (await within(20, connection.request("GET", path))).status == 200
    assert backend.connections == 1


@pytest.mark.parametrize("name", [b"\xff\xfe\x80a", b"\xc3\xa4aa"])
async def test_a_name_that_is_not_ascii_in_a_handshake(
    make_in_process: InProcessMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: bytes
) -> None:
    """It is nothing to the proxy, and nothing is written to the Hub's standard error output."""
    unraisable: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", unraisable.append)
    proxy = make_in_process(public_url=f"https://127.0.0.1:{free_port()}/", **make_certificate(tmp_path, "hub").traits)
    await proxy.start()
    hello = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        unverified().wrap_bio(ssl.MemoryBIO(), hello, server_hostname="aaaa.example").do_handshake()
    reader, writer = await asyncio.open_connection(*address_of(proxy))
    writer.write(hello.read().replace(b"aaaa", name))
    begun = await within(20, reader.read(1))
    writer.transport.abort()

    assert unraisable == []
    assert begun == b"\x16"  # a message of the handshake, no alert
