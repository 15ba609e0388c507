"""InProcessProxy in front of servers with https: how their connections end, which each event loop tells in its own way."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from support.certificates import Pair, make_certificate
from support.in_process import InProcessMaker, connect
from support.waiting import eventually, within

from traefik_toml_proxy.conformance.wire import BrokenMessage
from traefik_toml_proxy.inprocess import limits, pool, server
from traefik_toml_proxy.inprocess.server import ServerConnection
from traefik_toml_proxy.proxies.inprocess import InProcessProxy

pytestmark = pytest.mark.timeout(60)

Starter = Callable[[Callable[[ssl.SSLSocket], None]], Awaitable[InProcessProxy]]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def say_goodbye(connection: ssl.SSLSocket) -> None:
    """End a connection as TLS wants it: with close_notify."""
    with contextlib.suppress(OSError), connection.unwrap() as raw:
        raw.shutdown(socket.SHUT_WR)


def break_off(connection: ssl.SSLSocket) -> None:
    """End a connection without close_notify, as if somebody had cut it."""
    with socket.socket(fileno=connection.detach()) as raw:
        raw.shutdown(socket.SHUT_WR)


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    """The servers' certificate."""
    return make_certificate(tmp_path, "site")


@pytest.fixture
async def in_front_of(make_in_process: InProcessMaker, pair: Pair) -> AsyncIterator[Starter]:
    """Start a server that does something with each connection, and a proxy with a route to it."""
    tasks: list[asyncio.Future[None]] = []
    listening = socket.create_server(("127.0.0.1", 0))
    listening.settimeout(0.1)
    ended = False

    def serve(work: Callable[[ssl.SSLSocket], None]) -> None:
        while not ended:
            with contextlib.suppress(OSError):
                connection, _ = listening.accept()
                connection.settimeout(20)
                with pair.server().wrap_socket(connection, server_side=True) as one:
                    one.recv(10_000)
                    work(one)

    async def begin(work: Callable[[ssl.SSLSocket], None]) -> InProcessProxy:
        tasks.append(asyncio.ensure_future(asyncio.to_thread(serve, work)))
        proxy = make_in_process(extra_routes_ca=str(pair.cert))
        await proxy.start()
        await proxy.add_route("/site/", f"https://localhost:{listening.getsockname()[1]}", {"extra": True})
        return proxy

    yield begin
    ended = True
    await within(30, asyncio.gather(*tasks))
    listening.close()


@pytest.mark.parametrize("end", [say_goodbye, break_off])
async def test_a_connection_at_rest_is_ended_by_its_server(
    in_front_of: Starter, monkeypatch: pytest.MonkeyPatch, end: Callable[[ssl.SSLSocket], None]
) -> None:
    """Deadlines are kept all the same: clients that send nothing are sent away, one after another."""

    def answer_and_end(connection: ssl.SSLSocket) -> None:
        connection.sendall(OK)
        end(connection)

    proxy = await in_front_of(answer_and_end)
    async with connect(proxy) as connection:
        assert (await within(20, connection.request("GET", "/site/"))).body == b"ok"
    monkeypatch.setattr(limits, "HEAD_SECONDS", 0.2)
    for _ in range(3):
        async with connect(proxy) as silent:
            assert await within(20, silent.reader.read()) == b""


async def test_an_answer_with_which_its_server_ends_the_connection(
    in_front_of: Starter, caplog: pytest.LogCaptureFixture
) -> None:
    """The client's stays open, and asks again."""

    def answer_and_end(connection: ssl.SSLSocket) -> None:
        connection.sendall(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        say_goodbye(connection)

    proxy = await in_front_of(answer_and_end)
    async with connect(proxy) as connection:
        for _ in range(5):
            assert (await within(20, connection.request("GET", "/site/"))).body == b"ok"
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


@pytest.mark.parametrize("end", [say_goodbye, break_off])
async def test_an_answer_without_a_length_is_complete_if_its_server_says_so(
    in_front_of: Starter, end: Callable[[ssl.SSLSocket], None]
) -> None:
    """RFC 9112 section 9.8: without close_notify, it may have been cut off."""

    def answer_and_end(connection: ssl.SSLSocket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100_000)
        end(connection)

    proxy = await in_front_of(answer_and_end)
    async with connect(proxy) as connection:
        asking = within(20, connection.request("GET", "/site/"))
        if end is say_goodbye:
            assert (await asking).body == b"x" * 100_000
        else:
            with pytest.raises((BrokenMessage, ConnectionError)):
                await asking


async def test_an_answer_of_many_small_chunks_that_comes_with_the_end(in_front_of: Starter) -> None:
    """All of it is read, though others get their turn in between."""
    chunks = 2_000

    def answer_at_once(connection: ssl.SSLSocket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        connection.sendall(head + b"1\r\nx\r\n" * chunks + b"0\r\n\r\n")
        say_goodbye(connection)

    proxy = await in_front_of(answer_at_once)
    for _ in range(3):
        async with connect(proxy) as connection:
            assert (await within(20, connection.request("GET", "/site/"))).body == b"x" * chunks


async def test_a_server_that_does_not_close_its_end_keeps_no_connection(
    in_front_of: Starter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python 3.10 would wait for ever for its close_notify."""
    monkeypatch.setattr(server, "_CLOSE_SECONDS", 0.5)
    monkeypatch.setattr(pool, "_REST_SECONDS", 0.5)
    events: list[str] = []

    class Noted(ServerConnection):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            events.append("open")

        def connection_lost(self, error: Exception | None) -> None:
            super().connection_lost(error)
            events.append("closed")

    monkeypatch.setattr(pool, "ServerConnection", Noted)
    released = threading.Event()

    def answer_and_wait(connection: ssl.SSLSocket) -> None:
        connection.sendall(OK)
        released.wait(50)

    proxy = await in_front_of(answer_and_wait)
    try:
        async with connect(proxy) as connection:
            assert (await within(20, connection.request("GET", "/site/"))).body == b"ok"
            await eventually(lambda: events == ["open", "closed"], within=5)
    finally:
        released.set()
