"""Crowds of slow, broken and hostile clients: others are served, and nothing is left. By the thousand: tests/e2e."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from support.in_process import InProcessMaker, ServerMaker, connect
from support.waiting import PATIENCE, eventually, within

from traefik_toml_proxy.conformance.backend import Exchange, respond_ok
from traefik_toml_proxy.inprocess import limits, pool, server
from traefik_toml_proxy.proxies.inprocess import InProcessProxy

pytestmark = pytest.mark.timeout(120)

# As many as there are descriptors for, with the tests' own ends in the same process.
CROWD = 100
ROUNDS = 3
MIB = 2**20
_MOST_LEFT = 60
_LARGE = b"x" * (MIB // 8)


def memory() -> int:
    """Return how many bytes of memory this process uses."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def descriptors() -> int:
    """Return how many descriptors this process has."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def others_are_served(proxy: InProcessProxy) -> None:
    """Check that somebody else gets an answer at once."""
    began = time.monotonic()
    async with connect(proxy) as connection:
        answer = await within(20, connection.request("GET", "/user/ada/"))
    assert answer.status == 200
    assert time.monotonic() - began < 2 * PATIENCE


@contextlib.asynccontextmanager
async def crowd(proxy: InProcessProxy, *parts: bytes) -> AsyncIterator[list[asyncio.StreamWriter]]:
    """Open many connections, which send these parts, one after another, and read nothing."""
    port = int(proxy.public_url.rpartition(":")[2])
    opened = await asyncio.gather(*(asyncio.open_connection("127.0.0.1", port, limit=1024) for _ in range(CROWD)))
    writers = [writer for _, writer in opened]
    for part in parts:
        for writer in writers:
            if not writer.is_closing():
                writer.write(part)
        await asyncio.sleep(0)
    try:
        yield writers
    finally:
        for writer in writers:
            writer.transport.abort()


HEAD = b"Host: hub.example.org\r\n"
CHUNKED = b"POST /user/ada/ HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
# What each of them sends. A byte more, and it would be a request; or it is one, whose answer nobody reads.
CROWDS = {
    "nothing": [b""],
    "half a head": [b"GET /user/ada/ HTTP/1.1\r\n" + HEAD],
    "a head byte by byte": [bytes([byte]) for byte in b"GET /user/ada/ HTTP/1.1\r\n"],
    "a large head": [b"GET /user/ada/ HTTP/1.1\r\n" + HEAD + b"Cookie: " + b"x" * 60_000],
    "half a body": [b"POST /user/ada/ HTTP/1.1\r\n" + HEAD + b"Content-Length: 1000000\r\n\r\n" + b"x" * 1000],
    "endless requests": [b"GET /user/ada/large HTTP/1.1\r\n" + HEAD + b"\r\n"] * 10,
    "endless trailers": [CHUNKED + b"0\r\n", *[b"A: b\r\n"] * 1000],
    "small chunks": [CHUNKED, b"1\r\nx\r\n" * 2000],
    "no HTTP": [b"\x16\x03\x01" * 1000],
    "a route that is not there": [b"GET /nobody HTTP/1.1\r\n" + HEAD + b"\r\n"] * 50,
}  # fmt: skip


async def be_large(exchange: Exchange) -> None:
    """Answer with more than the kernel takes at one path, and with a few bytes elsewhere."""
    if exchange.target.endswith("large"):
        await exchange.reply(body=_LARGE)
    else:
        await respond_ok(exchange)


@pytest.mark.parametrize("kind", CROWDS)
async def test_a_crowd_keeps_nobody_waiting_and_leaves_nothing(
    make_in_process: InProcessMaker, serve: ServerMaker, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Neither while it is there, nor afterwards; and again and again."""
    monkeypatch.setattr(pool, "_REST_SECONDS", 0.5)
    proxy = make_in_process(most_connections=CROWD + 50)
    await proxy.start()
    await serve(proxy, handler=be_large)
    await others_are_served(proxy)
    peak = 0
    for number in range(ROUNDS):
        async with crowd(proxy, *CROWDS[kind]):
            await others_are_served(proxy)
            peak = max(peak, memory())
        await eventually(_is_back)
        if number == 0:
            gc.collect()
            before = memory()

    # For each client: two buffers of the proxy, and those of the test's own ends.
    assert peak - before < CROWD * MIB / 2
    gc.collect()
    assert memory() - before < CROWD * MIB / 4


def _is_back() -> bool:
    """Whether the connections are gone; a few to servers may rest."""
    return descriptors() < _MOST_LEFT


async def test_a_client_that_sends_no_head_is_sent_away(
    make_in_process: InProcessMaker, serve: ServerMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gets 408, or nothing if it has sent nothing. A websocket or a slow answer is not cut off by that."""
    monkeypatch.setattr(limits, "HEAD_SECONDS", 0.5)
    monkeypatch.setattr(limits, "IDLE_SECONDS", 0.5)

    async def answer_late(exchange: Exchange) -> None:
        await asyncio.sleep(3)
        await respond_ok(exchange)

    proxy = make_in_process()
    await proxy.start()
    await serve(proxy, handler=answer_late)
    async with connect(proxy) as silent, connect(proxy) as slow, connect(proxy) as patient:
        await slow.send(b"GET /user")
        await patient.send_head("GET", "/user/ada/")
        assert await within(20, silent.reader.read()) == b""
        assert (await within(20, slow.reader.read())).startswith(b"HTTP/1.1 408 ")
        assert (await within(20, patient.response())).status == 200


async def test_a_client_that_takes_nothing_is_sent_away(
    make_in_process: InProcessMaker, serve: ServerMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And so is its server, after a while in which nothing moves."""
    monkeypatch.setattr(limits, "STALLED_SECONDS", 0.5)
    left = asyncio.Event()

    async def pour(exchange: Exchange) -> None:
        await exchange.send_head("200 OK", [("Transfer-Encoding", "chunked")])
        try:
            while True:
                await exchange.send(b"10000\r\n" + b"x" * 65_536 + b"\r\n")
        except ConnectionError:
            left.set()
            raise

    proxy = make_in_process()
    await proxy.start()
    await serve(proxy, handler=pour)
    async with connect(proxy) as connection:
        await connection.send_head("GET", "/user/ada/")
        await connection.head()
        connection.reader._transport.pause_reading()  # type: ignore[attr-defined]
        await within(20, left.wait())


REQUEST = b"GET %b HTTP/1.1\r\n" + HEAD + b"\r\n"


async def test_a_client_that_takes_no_answers_is_not_answered_further(
    in_process: InProcessProxy, serve: ServerMaker
) -> None:
    """It has asked for hundreds of megabytes, one request after another. When it goes on, it gets them all."""
    body = b"x" * 200_000

    async def be_huge(exchange: Exchange) -> None:
        await exchange.reply(body=body)

    backend = await serve(in_process, handler=be_huge)
    async with connect(in_process) as connection:
        transport = connection.reader._transport  # type: ignore[attr-defined]
        transport.pause_reading()
        await connection.send(REQUEST % b"/user/ada/" * 300)
        await _until_still(lambda: len(backend.exchanges))
        # The buffers of the kernel, and one of ours.
        assert len(backend.exchanges) * len(body) < 16 * MIB
        connection.writer.write_eof()
        transport.resume_reading()
        answers = [await within(20, connection.response()) for _ in range(300)]
        assert await within(20, connection.reader.read()) == b""

    assert {answer.body for answer in answers} == {body}


async def test_a_client_that_takes_no_answers_of_the_proxy_is_not_read_from(in_process: InProcessProxy) -> None:
    """Answers that cost nothing are those that a stranger would ask for."""
    requests = REQUEST % b"/_chp_healthz" * 400_000
    async with connect(in_process) as connection:
        connection.reader._transport.pause_reading()  # type: ignore[attr-defined]
        sending = asyncio.ensure_future(connection.send(requests))
        left = await _until_still(connection.writer.transport.get_write_buffer_size)
        assert len(requests) - left < 16 * MIB
        sending.cancel()
        await others_are_there(in_process)


async def others_are_there(proxy: InProcessProxy) -> None:
    """Check that somebody else gets an answer of the proxy."""
    async with connect(proxy) as connection:
        assert (await within(20, connection.request("GET", "/_chp_healthz"))).status == 200


async def _until_still(get: Callable[[], int]) -> int:
    """Return a number when it has not changed for a while."""
    before = -1
    while before != (now := get()):
        before = now
        await asyncio.sleep(0.5)
    return now


@pytest.mark.parametrize("kind", ["body", "websocket"])
async def test_a_server_that_takes_nothing_keeps_no_connections(
    in_process: InProcessProxy, serve: ServerMaker, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Whatever clients have sent there, and that they have gone: nobody reads from a client whose server takes nothing."""
    monkeypatch.setattr(limits, "STALLED_SECONDS", 0.5)
    monkeypatch.setattr(server, "_CLOSE_SECONDS", 0.5)
    switching = b"HTTP/1.1 101 Yes\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    answers = {"body": b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", "websocket": switching}
    sent = {
        "body": b"POST /user/ada/ HTTP/1.1\r\n" + HEAD + b"Content-Length: 1000000000\r\n\r\n",
        "websocket": b"GET /user/ada/ HTTP/1.1\r\n" + HEAD + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    }
    released = asyncio.Event()

    async def take_nothing(exchange: Exchange) -> None:
        exchange.reader._transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(0.3)
        await exchange.send(answers[kind])
        await released.wait()
        exchange.last = True

    backend = await serve(in_process, handler=take_nothing)
    await others_are_there(in_process)
    before = descriptors()
    for _ in range(5):
        async with connect(in_process) as connection:
            sending = asyncio.ensure_future(connection.send(sent[kind] + b"x" * (16 * MIB)))
            assert (await within(20, connection.head())).first
            await _until_still(connection.writer.transport.get_write_buffer_size)
            sending.cancel()
    # What is left are the ends of the server itself.
    await eventually(lambda: descriptors() <= before + backend.connections)
    released.set()


# At full speed.


@pytest.mark.parametrize("small", [b"1\r\nx\r\n", b"1;\r\nx\r\n"], ids=["chunks of a byte", "with an extension"])
async def test_one_that_sends_as_fast_as_it_can_holds_up_nobody(
    in_process: InProcessProxy, serve: ServerMaker, small: bytes
) -> None:
    """What takes long to read, for its size: others get their turn after a little of it."""

    async def swallow(exchange: Exchange) -> None:
        if exchange.method == "GET":
            await respond_ok(exchange)
        while await exchange.reader.read(MIB):
            pass

    await serve(in_process, handler=swallow)
    begun, is_enough = asyncio.Event(), asyncio.Event()
    port = int(in_process.public_url.rpartition(":")[2])

    async def pour() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        taking = asyncio.ensure_future(_take_all(reader))
        writer.write(CHUNKED)
        piece = small * (4 * MIB // len(small))
        while not is_enough.is_set():
            writer.write(piece)
            await writer.drain()
            begun.set()
        writer.transport.abort()
        taking.cancel()

    times = []
    async with connect(in_process) as connection:
        pouring = asyncio.ensure_future(pour())
        await within(20, begun.wait())
        for _ in range(10):
            began = time.monotonic()
            await within(30, connection.request("GET", "/user/nobody/"))
            times.append(time.monotonic() - began)
        is_enough.set()
        await within(30, pouring)

    assert max(times) < 0.5 * PATIENCE


@pytest.mark.parametrize("ends", [True, False], ids=["whole", "cut off"])
async def test_a_server_that_sends_as_fast_as_it_can_holds_up_nobody(
    in_process: InProcessProxy, serve: ServerMaker, *, ends: bool
) -> None:
    """Which may be a user's own. Whoever takes its answer gets all of it, also if the server has gone by then."""
    chunks = 1_000_000

    async def pour(exchange: Exchange) -> None:
        if exchange.target.endswith("other"):
            await respond_ok(exchange)
            return
        await exchange.send_head("200 OK", [("Transfer-Encoding", "chunked")])
        await exchange.send(b"1;\r\nx\r\n" * chunks + b"0\r\n\r\n" * ends)
        exchange.last = True

    await serve(in_process, handler=pour)
    times = []
    async with connect(in_process) as connection, connect(in_process) as other:
        await connection.send_head("GET", "/user/ada/")
        taking = asyncio.ensure_future(connection.response() if ends else connection.reader.read())
        while not taking.done():
            began = time.monotonic()
            await within(30, other.request("GET", "/user/nobody/"))
            times.append(time.monotonic() - began)
        answer: Any = await taking

    if ends:
        assert answer.body == b"x" * chunks
    else:
        assert answer.count(b"x") == chunks
        assert not answer.endswith(b"0\r\n\r\n")
    assert max(times) < 0.5 * PATIENCE


async def _take_all(reader: asyncio.StreamReader) -> None:
    while await reader.read(MIB):
        pass


async def test_one_that_may_have_gone_is_not_waited_for(
    in_process: InProcessProxy, serve: ServerMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has closed its side, as a program does that has ended. Its server hears of that."""
    monkeypatch.setattr(limits, "HALF_CLOSED_SECONDS", 0.5)
    left = 0

    async def hang(exchange: Exchange) -> None:
        nonlocal left
        await exchange.reader.read()
        left += 1
        exchange.last = True

    async def come_and_go(times: int) -> None:
        for _ in range(times):
            async with connect(in_process) as connection:
                asked = len(ada.exchanges)
                await connection.send_head("GET", "/user/ada/")
                await eventually(lambda: len(ada.exchanges) > asked)  # noqa: B023 - called at once

    ada = await serve(in_process, handler=hang)
    await come_and_go(1)
    await eventually(lambda: left == 1)
    before = descriptors()  # with those that the event loop opens once
    await come_and_go(10)
    await eventually(lambda: left == 11)
    await eventually(lambda: descriptors() <= before + 2)


async def test_one_that_has_closed_its_side_gets_a_slow_answer(
    in_process: InProcessProxy, serve: ServerMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as some of it comes from time to time."""
    monkeypatch.setattr(limits, "HALF_CLOSED_SECONDS", 2.0)

    async def answer_in_parts(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
        for _ in range(5):
            await asyncio.sleep(0.6)
            await exchange.send(b"x")

    await serve(in_process, handler=answer_in_parts)
    async with connect(in_process) as connection:
        await connection.send(b"GET /user/ada/ HTTP/1.1\r\n" + HEAD + b"\r\n")
        connection.writer.write_eof()
        assert (await within(20, connection.response())).body == b"xxxxx"
