"""Cases of targets that are dead, hang or misbehave: the client gets a response all the same. Does I/O through the stage."""

from __future__ import annotations

import asyncio
import time

from ..backend import Exchange, respond_ok
from ..case import Failed, Group, Level, expect, expect_equal
from ..listening import answering
from ..ports import free_ports
from ..stage import Stage
from ..wire import BrokenMessage

GROUP = Group("failures")
_R, _E, _B = Level.REQUIRED, Level.EXPECTED, Level.BEYOND


async def _status_of(stage: Stage, target: str, within: float) -> int:
    began = time.monotonic()
    response = await stage.get(target)
    took = time.monotonic() - began
    expect(took < within, f"the response took {took:.1f} s")
    return response.status


@GROUP.case("refused", _R, "configurable-http-proxy test/proxy_spec.js: 'custom error target', 503")
async def _refused(stage: Stage) -> None:
    """When nothing listens at a target, the client gets 502, 503 or 504 within a few seconds."""
    await stage.add("/user/ada/", f"http://127.0.0.1:{free_ports(1)[0]}")
    status = await _status_of(stage, "/user/ada/", 5)
    expect(status in (502, 503, 504), f"the status is {status}")


@GROUP.case("resets", _E, "a server that is killed resets its connections")
async def _resets(stage: Stage) -> None:
    """When a target closes the connection instead of responding, the client gets an error and is not left waiting."""

    async def hang_up(exchange: Exchange) -> None:
        exchange.writer.transport.abort()

    await stage.serve("/user/ada/", hang_up)
    status = await _status_of(stage, "/user/ada/", 10)
    expect(status >= 500, f"the status is {status}")


@GROUP.case("nonsense", _E, "a target may not be an HTTP server at all")
async def _nonsense(stage: Stage) -> None:
    """When a target responds with something that is not HTTP, the client gets an error."""

    async def talk_nonsense(exchange: Exchange) -> None:
        await exchange.send(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
        exchange.last = True

    await stage.serve("/user/ada/", talk_nonsense)
    status = await _status_of(stage, "/user/ada/", 10)
    expect(status >= 500, f"the status is {status}")


@GROUP.case("hanging", _R, "one user's server hangs, and the rest of the class works on")
async def _hanging(stage: Stage) -> None:
    """Targets that never respond do not delay requests to other routes, even with a hundred requests waiting."""

    async def hang(exchange: Exchange) -> None:  # noqa: ARG001 - it does not even read
        await asyncio.Event().wait()

    await stage.serve("/user/ada/", hang)
    bob = await stage.serve("/user/bob/")
    waiting = [asyncio.create_task(_wait_for_response(stage)) for _ in range(100)]
    try:
        await asyncio.sleep(0.5)
        began = time.monotonic()
        for _ in range(5):
            await stage.expect_by(bob, "/user/bob/")
        took = time.monotonic() - began
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)
    expect(took < 10, f"five requests to another user's server took {took:.1f} s")


async def _wait_for_response(stage: Stage) -> None:
    async with stage.connect() as connection:
        await connection.send_head("GET", "/user/ada/")
        try:
            await connection.head()
        except (BrokenMessage, OSError):
            return


@GROUP.case("comes-back", _R, "a server that was restarted is used at once")
async def _comes_back(stage: Stage) -> None:
    """When a dead target is back, the next request reaches it."""
    [port] = free_ports(1)
    await stage.add("/user/ada/", f"http://127.0.0.1:{port}")
    expect((await stage.get("/user/ada/")).status >= 500, "there was a response although nothing listens")

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nup")
        await writer.drain()

    async with answering(answer, port=port):
        response = await stage.get("/user/ada/")
    expect_equal((response.status, response.body), (200, b"up"), "status and body")


@GROUP.case("websocket-refused", _E, "configurable-http-proxy lib/configproxy.js: an error ends the socket")
async def _websocket_refused(stage: Stage) -> None:
    """When nothing listens at a target, opening a websocket fails at once."""
    await stage.add("/user/ada/", f"http://127.0.0.1:{free_ports(1)[0]}")
    headers = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ]
    async with stage.connect() as connection:
        await connection.send_head("GET", "/user/ada/ws", headers)
        try:
            head = await asyncio.wait_for(connection.head(), 5)  # noqa: TID251 - not cancelled
        except asyncio.TimeoutError:
            raise Failed("neither a response nor the end of the connection within 5 seconds") from None
        except (BrokenMessage, ConnectionError):
            return
    expect(" 101" not in head.first, "it was opened")


@GROUP.case("bad-request", _E, "input that is not HTTP must not disturb the rest")
async def _bad_request(stage: Stage) -> None:
    """Input that is not HTTP is refused, or its connection closed, and no other request is affected."""
    backend = await stage.serve("/user/ada/")
    for nonsense in (b"\x16\x03\x01\x00\xa5\x01\x00\x00", b"GET\r\n\r\n", b"GET / HTTP/1.1\r\nX" + b"x" * 100_000):
        async with stage.connect() as connection:
            try:
                await connection.send(nonsense)
                connection.writer.write_eof()
                await asyncio.wait_for(connection.reader.read(), 10)  # noqa: TID251 - not cancelled
            except (OSError, asyncio.TimeoutError):
                pass
        await stage.expect_by(backend, "/user/ada/")


@GROUP.case("smuggling", _B, "RFC 9112 section 6.3, rule 3", sensitive=True)
async def _smuggling(stage: Stage) -> None:
    """An ambiguous request, with both a length and chunks, never becomes two requests."""
    backend = await stage.serve("/user/ada/", respond_ok)
    bob = await stage.serve("/user/bob/", respond_ok)
    hidden = b"GET /user/bob/hidden HTTP/1.1\r\nHost: x\r\n\r\n"
    body = b"0\r\n\r\n" + hidden
    text = (
        f"POST /user/ada/ HTTP/1.1\r\nHost: {stage.url.split('//')[1]}\r\nContent-Length: {len(body)}\r\n"
        "Transfer-Encoding: chunked\r\n\r\n"
    )
    async with stage.connect() as connection:
        try:
            await connection.send(text.encode() + body)
            await asyncio.wait_for(connection.reader.read(1_000), 5)  # noqa: TID251 - not cancelled
        except (ConnectionError, asyncio.TimeoutError):
            pass
    seen = [exchange.target for exchange in [*backend.exchanges, *bob.exchanges] if exchange.head.get("Host") != "x"]
    expect(
        "/user/bob/hidden" not in [e.target for e in backend.exchanges], "the hidden request reached the first target"
    )
    expect(len(seen) <= 1, f"{seen} arrived")
