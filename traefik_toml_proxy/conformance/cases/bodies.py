"""Cases of bodies: sizes, framing, streams. Does I/O through the stage."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import hashlib
import os
import statistics
import time
from collections.abc import AsyncIterator
from pathlib import Path

from ..backend import Exchange
from ..case import Failed, Group, Level, expect, expect_equal
from ..stage import Stage
from ..wire import BrokenMessage, chunk

GROUP = Group("bodies")
_R, _E, _B = Level.REQUIRED, Level.EXPECTED, Level.BEYOND

_MIB = 2**20
_GIB_IN_BLOCKS = 1024
_EVENTS = 5
# How much more memory a proxy may need while 1 GiB passes through it.
_MAY_GROW = 128 * _MIB


async def _echo(exchange: Exchange) -> None:
    await exchange.reply(body=await exchange.read())


@GROUP.case("with-length", _R, "RFC 9112 section 6.2")
async def _with_length(stage: Stage) -> None:
    """Bodies of up to a few MiB arrive, and come back to who asks for them, byte for byte."""
    kept = b""

    async def keep(exchange: Exchange) -> None:
        nonlocal kept
        if exchange.method == "PUT":
            kept = await exchange.read()
            await exchange.reply()
        else:
            await exchange.reply(body=kept)

    await stage.serve("/user/ada/", keep)
    for size in (0, 1, 65_535, 3 * _MIB):
        body = os.urandom(size)
        await stage.request("PUT", "/user/ada/file", body=body)
        expect(kept == body, f"{size} bytes were sent, and {len(kept)} arrived, or others")
        # Not in the response to the upload: Go's net/http may close the connection to a server that responds at once, before
        # it has seen the end of the body itself (docs/reference/differences.rst).
        response = await stage.request("GET", "/user/ada/file")
        expect(response.body == body, f"{size} bytes were sent back, and {len(response.body)} arrived, or others")


@GROUP.case("chunked-up", _E, "RFC 9112 section 7.1")
async def _chunked_up(stage: Stage) -> None:
    """A chunked request body reaches the backend in full."""
    backend = await stage.serve("/user/ada/", _echo)
    async with stage.connect() as connection:
        await connection.send_head("POST", "/user/ada/x", [("Transfer-Encoding", "chunked")])
        for part in (b"a", b"bc" * 5_000, b"d"):
            await connection.send(chunk(part))
        await connection.send(chunk(b""))
        response = await connection.response()
    expect_equal((response.status, len(backend.last.body)), (200, 10_002), "the status, and the length that arrived")


@GROUP.case("chunked-down", _R, "RFC 9112 section 7.1: tornado streams in chunks")
async def _chunked_down(stage: Stage) -> None:
    """A chunked response body reaches the client in full."""

    async def in_chunks(exchange: Exchange) -> None:
        await exchange.send_head("200 OK", [("Transfer-Encoding", "chunked")])
        for part in (b"a", b"bc" * 5_000, b"d", b""):
            await exchange.send(chunk(part))

    await stage.serve("/user/ada/", in_chunks)
    response = await stage.get("/user/ada/")
    expect_equal(response.body, b"a" + b"bc" * 5_000 + b"d", "the body")


async def _oddly_framed(stage: Stage, *codings: str) -> None:
    """Check that a body arrives whose response has these Transfer-Encoding headers; the last one is true."""

    async def answer(exchange: Exchange) -> None:
        framing = [("Transfer-Encoding", coding) for coding in codings]
        await exchange.send_head("200 OK", [*framing, ("Connection", "close")])
        await exchange.send(chunk(b"some text") + chunk(b"") if codings[-1] == "chunked" else b"some text")
        exchange.last = True

    await stage.serve("/user/ada/", answer)
    response = await stage.get("/user/ada/")
    expect_equal((response.status, response.body), (200, b"some text"), "status and body")


@GROUP.case(
    "chunked-twice",
    _B,
    "RFC 9112 section 6.1 forbids it, but Node takes it",
)
async def _chunked_twice(stage: Stage) -> None:
    """A chunked response that says ``Transfer-Encoding: chunked`` twice reaches the client."""
    await _oddly_framed(stage, "chunked", "chunked")


@GROUP.case("identity", _B, "RFC 2616 section 3.6 had this coding, and Node takes it")
async def _identity(stage: Stage) -> None:
    """A response that says ``Transfer-Encoding: identity``, and ends when the backend closes, reaches the client."""
    await _oddly_framed(stage, "identity")


@GROUP.case("until-close", _E, "RFC 9112 section 6.3, rule 8")
async def _until_close(stage: Stage) -> None:
    """A response without a length, which ends when the backend closes, reaches the client in full."""

    async def until_close(exchange: Exchange) -> None:
        await exchange.send_head("200 OK", [("Connection", "close")])
        await exchange.send(b"x" * 100_000)
        exchange.last = True

    await stage.serve("/user/ada/", until_close)
    response = await stage.get("/user/ada/")
    expect_equal(len(response.body), 100_000, "the length of the body")


@GROUP.case("compressed", _E, "a proxy that was not asked to change encodings leaves them alone")
async def _compressed(stage: Stage) -> None:
    """A response reaches the client as the server sent it, and the proxy accepts no encoding that the client does not."""
    plain = b"compress me " * 1_000
    packed = gzip.compress(plain)

    async def answer(exchange: Exchange) -> None:
        if exchange.target.endswith("gzip") or "gzip" in (exchange.head.get("Accept-Encoding") or ""):
            await exchange.reply(headers=[("Content-Encoding", "gzip"), ("Content-Type", "text/plain")], body=packed)
        else:
            await exchange.reply(headers=[("Content-Type", "text/plain")], body=plain)

    await stage.serve("/user/ada/", answer)
    for target, accepts, body in [
        *[("gzip", "identity", packed), ("gzip", "gzip, br", packed), ("gzip", None, packed)],
        *[("plain", "identity", plain), ("plain", "deflate, br", plain), ("plain", None, plain)],
    ]:
        response = await stage.get(f"/user/ada/{target}", [("Accept-Encoding", accepts)] if accepts else [])
        size = f"{len(response.body)} bytes instead of {len(body)}"
        expect(response.body == body, f"the {target} body for Accept-Encoding {accepts!r} differs ({size})")
        encoding = response.head.get("Content-Encoding")
        expect_equal(encoding, "gzip" if body is packed else None, "Content-Encoding")


@GROUP.case("expect-continue", _E, "RFC 9110 section 10.1.1: curl sends it with large uploads")
async def _expect_continue(stage: Stage) -> None:
    """A client that waits for 100 Continue before sending its body receives it, and then the response."""

    async def answer(exchange: Exchange) -> None:
        if exchange.head.get("Expect"):
            await exchange.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        await _echo(exchange)

    await stage.serve("/user/ada/", answer)
    async with stage.connect() as connection:
        await connection.send_head("PUT", "/user/ada/x", [("Content-Length", "5"), ("Expect", "100-continue")])
        first = await asyncio.wait_for(connection.reader.readuntil(b"\r\n\r\n"), 10)  # noqa: TID251 - not cancelled
        expect(first.startswith(b"HTTP/1.1 100"), f"got {first[:50]!r} instead of 100 Continue")
        await connection.send(b"hello")
        response = await connection.response()
    expect_equal((response.status, response.body), (200, b"hello"), "status and body")


@GROUP.case("early-answer", _B, "RFC 9110 section 7.5: a server may answer before it has read the body", seconds=10)
async def _early_answer(stage: Stage) -> None:
    """A response that is sent before the whole body has arrived (413, for an upload too large) reaches the client."""

    async def refuse(exchange: Exchange) -> None:
        await exchange.reply("413 Content Too Large", [("Connection", "close")], body=b"too large")
        async for _ in exchange.parts():
            pass
        exchange.last = True

    await stage.serve("/user/ada/", refuse)
    async with stage.connect() as connection:
        await connection.send_head("PUT", "/user/ada/x", [("Content-Length", "100000")])
        await connection.send(b"x" * 1_000)
        head = await connection.head()
    expect("413" in head.first, f"the answer is {head.first}")


@GROUP.case(
    "event-at-once",
    _R,
    "JupyterHub's progress page is a stream of server-sent events (jupyterhub/apihandlers/users.py)",
)
async def _event_at_once(stage: Stage) -> None:
    """A server-sent event reaches the client without waiting for the next one, usually within 250 ms."""
    sent: list[float] = []
    arrived = asyncio.Event()

    async def events(exchange: Exchange) -> None:
        await exchange.send_head("200 OK", [("Content-Type", "text/event-stream"), ("Transfer-Encoding", "chunked")])
        with contextlib.suppress(asyncio.TimeoutError):
            for number in range(_EVENTS):
                arrived.clear()
                sent.append(time.monotonic())
                await exchange.send(chunk(f"data: {number}\n\n".encode()))
                await asyncio.wait_for(arrived.wait(), 5)  # noqa: TID251 - not cancelled
        await exchange.send(chunk(b""))

    await stage.serve("/user/ada/", events)
    delays: list[float] = []
    async with stage.connect() as connection:
        await connection.send_head("GET", "/user/ada/events")
        head = await connection.head()
        async for _ in connection.body(head):
            delays.append(time.monotonic() - sent[len(delays)])
            arrived.set()
    expect_equal(len(delays), _EVENTS, "the number of events that came separately, within 5 seconds each")
    # The median: this process may have waited for the machine now and then.
    delay = statistics.median(delays)
    expect(delay < 0.25, f"an event took {delay * 1000:.0f} ms")


@GROUP.case("upload-at-once", _B, "a proxy that buffers a whole upload needs the space for it")
async def _upload_at_once(stage: Stage) -> None:
    """The first part of a request body reaches the backend before the client sends the rest."""
    arrived = asyncio.Event()

    async def receive(exchange: Exchange) -> None:
        async for _ in exchange.parts():
            arrived.set()
        await exchange.reply(body=b"done")

    await stage.serve("/user/ada/", receive)
    async with stage.connect() as connection:
        await connection.send_head("PUT", "/user/ada/x", [("Content-Length", "200000")])
        await connection.send(b"x" * 100_000)
        try:
            await asyncio.wait_for(arrived.wait(), 5)  # noqa: TID251 - not cancelled
        except asyncio.TimeoutError:
            raise Failed("nothing had arrived after 5 seconds") from None
        await connection.send(b"x" * 100_000)
        response = await connection.response()
    expect_equal(response.status, 200, "the status")


def _block(number: int) -> bytes:
    return hashlib.sha256(str(number).encode()).digest() * (_MIB // 32)


def _memory(processes: list[int]) -> int:
    """Return how many bytes of memory the processes use now; those that are gone use none."""
    pages = 0
    for pid in processes:
        try:
            pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        except OSError:
            continue
    return pages * os.sysconf("SC_PAGE_SIZE")


@contextlib.asynccontextmanager
async def _no_growth(stage: Stage) -> AsyncIterator[None]:
    """Check that the proxy does not need much more memory inside, by looking ten times a second, in a thread."""
    processes = await asyncio.to_thread(stage.subject.processes)
    before = peak = await asyncio.to_thread(_memory, processes)

    async def watch() -> None:
        nonlocal peak
        while True:
            peak = max(peak, await asyncio.to_thread(_memory, processes))
            await asyncio.sleep(0.1)

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.wait([watching])
    expect(peak - before < _MAY_GROW, f"the proxy's memory grew by {(peak - before) / _MIB:.0f} MiB")


@GROUP.case("download", _E, "data sets are downloaded through the proxy", seconds=120)
async def _download(stage: Stage) -> None:
    """1 GiB is streamed to a client without being buffered in the proxy."""

    async def send(exchange: Exchange) -> None:
        await exchange.send_head("200 OK", [("Content-Length", str(_GIB_IN_BLOCKS * _MIB))])
        for number in range(_GIB_IN_BLOCKS):
            await exchange.send(_block(number % 16))

    await stage.serve("/user/ada/", send)
    wanted, seen, length = hashlib.sha256(), hashlib.sha256(), 0
    async with _no_growth(stage), stage.connect() as connection:
        await connection.send_head("GET", "/user/ada/data")
        head = await connection.head()
        async for part in connection.body(head):
            seen.update(part)
            length += len(part)
    for number in range(_GIB_IN_BLOCKS):
        wanted.update(_block(number % 16))
    expect_equal(length, _GIB_IN_BLOCKS * _MIB, "the length")
    expect(seen.digest() == wanted.digest(), "the data that arrived differs")


@GROUP.case("upload", _E, "data sets are uploaded through the proxy", seconds=120)
async def _upload(stage: Stage) -> None:
    """1 GiB is streamed to a backend without being buffered in the proxy."""
    seen, length = hashlib.sha256(), 0

    async def receive(exchange: Exchange) -> None:
        nonlocal length
        async for part in exchange.parts():
            seen.update(part)
            length += len(part)
        await exchange.reply(body=b"done")

    await stage.serve("/user/ada/", receive)
    wanted = hashlib.sha256()
    async with _no_growth(stage), stage.connect() as connection:
        await connection.send_head("PUT", "/user/ada/data", [("Content-Length", str(_GIB_IN_BLOCKS * _MIB))])
        for number in range(_GIB_IN_BLOCKS):
            block = _block(number % 16)
            wanted.update(block)
            await connection.send(block)
        response = await connection.response()
    expect_equal((response.status, length), (200, _GIB_IN_BLOCKS * _MIB), "status and length")
    expect(seen.digest() == wanted.digest(), "the data that arrived differs")


@GROUP.case("cut-off", _E, "RFC 9112 section 8: an incomplete message must be seen as incomplete")
async def _cut_off(stage: Stage) -> None:
    """When a backend dies in the middle of a response, the client can tell that the response is incomplete."""

    async def die(exchange: Exchange) -> None:
        await exchange.send_head("200 OK", [("Content-Length", "100000")])
        await exchange.send(b"x" * 50_000)
        exchange.writer.transport.abort()

    await stage.serve("/user/ada/", die)
    async with stage.connect() as connection:
        await connection.send_head("GET", "/user/ada/")
        try:
            head = await connection.head()
            length = sum([len(part) async for part in connection.body(head)])
        except (BrokenMessage, ConnectionError):
            return
    expect(not head.first.split(" ")[1].startswith("2"), f"it looks complete, with {length} bytes")


@GROUP.case("client-leaves", _E, "closing a browser tab must end what it asked for")
async def _client_leaves(stage: Stage) -> None:
    """When the client disconnects in the middle of a response, the backend notices."""
    noticed = asyncio.Event()

    async def endless(exchange: Exchange) -> None:
        await exchange.send_head("200 OK", [("Transfer-Encoding", "chunked")])
        try:
            while True:
                await exchange.send(chunk(b"x" * 1_000))
                await asyncio.sleep(0.02)
        except ConnectionError:
            noticed.set()
            raise

    await stage.serve("/user/ada/", endless)
    async with stage.connect() as connection:
        await connection.send_head("GET", "/user/ada/")
        await connection.reader.readexactly(1_000)
    try:
        await asyncio.wait_for(noticed.wait(), 10)  # noqa: TID251 - not cancelled
    except asyncio.TimeoutError:
        raise Failed("after 10 seconds the backend was still sending") from None
