"""InProcessProxy, between raw clients and raw servers, on each event loop. The conformance suite has the rest."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import socket
import struct
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest
from prometheus_client import REGISTRY
from support.in_process import InProcessMaker, ServerMaker, connect
from support.waiting import eventually, within

from traefik_toml_proxy.conformance.backend import Backend, Exchange, Handler, respond_ok
from traefik_toml_proxy.conformance.wire import BrokenMessage, chunk, read_head
from traefik_toml_proxy.errors import ConfigurationError
from traefik_toml_proxy.inprocess import client, limits
from traefik_toml_proxy.inprocess.pool import Pool
from traefik_toml_proxy.inprocess.server import ServerConnection
from traefik_toml_proxy.proxies.inprocess import InProcessProxy

pytestmark = pytest.mark.timeout(60)

HEAD = b"Host: hub.example.org\r\n\r\n"
PAGE = [("Accept", "text/html")]


async def answer_slowly(exchange: Exchange) -> None:
    """Answer after a while."""
    await exchange.read()
    await asyncio.sleep(0.3)
    await exchange.reply(body=exchange.target.encode())


async def close_silently(exchange: Exchange) -> None:
    """Answer, and close the connection without having said so."""
    await exchange.read()
    await exchange.reply(body=b"bye")
    exchange.last = True


def reset_when_closed(writer: asyncio.StreamWriter) -> None:
    """Have the other end get a reset when this one closes the connection."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


# Requests.


async def test_requests_in_a_row_are_answered_in_their_order(in_process: InProcessProxy, serve: ServerMaker) -> None:
    """RFC 9112 section 9.3.2: sent without waiting, also with what the proxy answers itself in between."""
    await serve(in_process, handler=answer_slowly)
    async with connect(in_process) as connection:
        paths = ["/user/ada/1", "/nobody", "/user/ada/2", "/_chp_healthz", "/user/ada/3"]
        await connection.send(b"".join(f"GET {path} HTTP/1.1\r\n".encode() + HEAD for path in paths))
        answers = [await within(20, connection.response()) for _ in paths]

    assert [answer.status for answer in answers] == [200, 404, 200, 200, 200]
    assert [answers[at].body.decode() for at in (0, 2, 4)] == [paths[0], paths[2], paths[4]]


async def test_a_flood_of_requests_waits_in_the_kernel(in_process: InProcessProxy, serve: ServerMaker) -> None:
    """A client that does not wait for answers is not read from, but for a little."""
    release = asyncio.Event()

    async def wait(exchange: Exchange) -> None:
        await release.wait()
        await respond_ok(exchange)

    server = await serve(in_process, handler=wait)
    requests = (b"GET /user/ada/ HTTP/1.1\r\nX: " + b"x" * 1000 + b"\r\n" + HEAD) * 30_000
    async with connect(in_process) as connection:
        sending = asyncio.ensure_future(connection.send(requests))
        await eventually(lambda: server.exchanges)
        before = -1
        while before != (left := connection.writer.transport.get_write_buffer_size()):
            before = left
            await asyncio.sleep(0.3)
        # The buffers of the kernel, and one of ours.
        assert len(requests) - left < 8 * 2**20
        assert len(server.exchanges) == 1
        sending.cancel()
        release.set()


async def test_who_sends_too_much_too_early_is_not_waited_for(
    in_process: InProcessProxy, serve: ServerMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody reads from it for now, and so nobody would notice that it has gone."""
    monkeypatch.setattr(limits, "STALLED_SECONDS", 0.5)
    left = asyncio.Event()

    async def never_answer(exchange: Exchange) -> None:
        with contextlib.suppress(ConnectionError):
            await exchange.reader.read()
        left.set()

    server = await serve(in_process, handler=never_answer)
    async with connect(in_process) as connection:
        connection.writer.write((b"GET /user/ada/ HTTP/1.1\r\n" + HEAD) * 20_000)
        await eventually(lambda: server.exchanges)
    await within(20, left.wait())


async def test_who_sends_too_much_too_early_gets_an_answer_that_moves(
    in_process: InProcessProxy, serve: ServerMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long it takes in all."""
    monkeypatch.setattr(limits, "STALLED_SECONDS", 3)
    pieces = 10

    async def answer_slowly(exchange: Exchange) -> None:
        await exchange.send_head("200 OK", [("Content-Length", str(pieces))])
        for _ in range(pieces):
            await exchange.send(b"x")
            await asyncio.sleep(0.5)
        exchange.last = True

    await serve(in_process, handler=answer_slowly)
    async with connect(in_process) as connection:
        connection.writer.write((b"GET /user/ada/ HTTP/1.1\r\n" + HEAD) * 20_000)
        assert (await within(20, connection.response())).body == b"x" * pieces


async def test_much_that_is_sent_early_over_a_websocket_cuts_nothing_off(
    in_process: InProcessProxy, serve: ServerMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the server has taken it, the websocket has no limit in time."""
    monkeypatch.setattr(limits, "STALLED_SECONDS", 2)
    ticks = 10

    async def tick(exchange: Exchange) -> None:
        await asyncio.sleep(0.5)  # too much waits meanwhile
        await exchange.send(b"HTTP/1.1 101 Yes\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        await exchange.reader.readexactly(100_000)
        for _ in range(ticks):
            await exchange.send(b"x")
            await asyncio.sleep(0.5)
        exchange.last = True

    await serve(in_process, handler=tick)
    async with connect(in_process) as connection:
        head = b"GET /user/ada/ HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" + HEAD
        connection.writer.write(head + b"e" * 100_000)
        await within(20, connection.head())
        assert await within(20, connection.reader.read()) == b"x" * ticks


async def test_a_client_that_takes_nothing_is_given_up_though_it_sends_its_body(
    in_process: InProcessProxy, serve: ServerMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its last bytes are no reason to wait for ever."""
    monkeypatch.setattr(limits, "STALLED_SECONDS", 2)

    async def answer_early(exchange: Exchange) -> None:
        with contextlib.suppress(ConnectionError):
            await exchange.reply(body=b"x" * (32 * 2**20))
        exchange.last = True

    await serve(in_process, handler=answer_early)
    async with connect(in_process) as connection:
        connection.reader._transport.pause_reading()  # type: ignore[attr-defined]
        await connection.send(b"POST /user/ada/ HTTP/1.1\r\nContent-Length: 2\r\n" + HEAD + b"1")
        await asyncio.sleep(0.5)
        await connection.send(b"2")
        await eventually(lambda: not any(connections_open()))


async def test_a_bug_keeps_no_deadline_from_being_kept(
    in_process: InProcessProxy, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, and everything else goes on."""
    monkeypatch.setattr(limits, "HEAD_SECONDS", 0.2)

    def fail(*_: object) -> None:
        raise LookupError("a bug")

    monkeypatch.setattr(Pool, "close_old", fail)
    for _ in range(3):
        async with connect(in_process) as silent:
            assert await within(20, silent.reader.read()) == b""
    assert "LookupError: a bug" in caplog.text
    caplog.clear()


async def test_what_is_sent_too_early_cuts_off_no_slow_answer(
    in_process: InProcessProxy, serve: ServerMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some clients send a line end behind a body; others, the next request. A slow answer has no limit all the same."""
    monkeypatch.setattr(limits, "STALLED_SECONDS", 0.5)

    async def answer_late(exchange: Exchange) -> None:
        await asyncio.sleep(3)
        await respond_ok(exchange)

    await serve(in_process, handler=answer_late)
    async with connect(in_process) as connection:
        await connection.send(b"GET /user/ada/ HTTP/1.1\r\n" + HEAD)
        await asyncio.sleep(0.2)
        await connection.send(b"\r\n")
        assert (await within(20, connection.response())).status == 200


async def test_a_client_may_stop_sending_before_it_is_answered(in_process: InProcessProxy, serve: ServerMaker) -> None:
    """RFC 9112 section 9.6 and TCP: half of a connection is closed. configurable-http-proxy does not answer."""
    await serve(in_process, handler=answer_slowly)
    async with connect(in_process) as connection:
        await connection.send(b"GET /user/ada/ HTTP/1.1\r\n" + HEAD)
        connection.writer.write_eof()
        answer = await within(20, connection.response())
        assert (answer.status, answer.body) == (200, b"/user/ada/")
        assert await within(20, connection.reader.read()) == b""


@pytest.mark.parametrize(
    "text",
    [
        b"GET /user/ada/ HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /user/ada/ HTTP/1.1\r\nHost : h\r\n\r\n",
        b"GET /user/ada/ HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
async def test_a_refused_request_reaches_no_server(in_process: InProcessProxy, serve: ServerMaker, text: bytes) -> None:
    """It is answered with 400, its connection is closed, and what comes after it is never read as a request."""
    server = await serve(in_process)
    async with connect(in_process) as connection:
        await connection.send(text + b"GET /user/ada/hidden HTTP/1.1\r\n" + HEAD)
        received = await within(20, connection.reader.read())

    assert received.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert received.count(b"HTTP/1.1") == 1
    assert server.exchanges == []


async def test_a_malformed_body_ends_both_connections(in_process: InProcessProxy, serve: ServerMaker) -> None:
    """RFC 9112 section 7.1: the server sees that the request is incomplete."""
    ends: list[str] = []

    async def read_all(exchange: Exchange) -> None:
        try:
            await exchange.read()
        except (BrokenMessage, ConnectionError):
            ends.append("incomplete")
            raise
        ends.append("complete")

    server = await serve(in_process, handler=read_all)
    async with connect(in_process) as connection:
        await connection.send_head("POST", "/user/ada/", [("Transfer-Encoding", "chunked")])
        await eventually(lambda: server.exchanges)
        await connection.send(b"5\r\nhello\r\n5 \r\nhello\r\n0\r\n\r\n")
        received = await within(20, connection.reader.read())

    assert received.startswith(b"HTTP/1.1 400 ")
    await eventually(lambda: ends == ["incomplete"])


async def test_other_protocols_are_not_switched_to(in_process: InProcessProxy, serve: ServerMaker) -> None:
    """RFC 9110 section 7.8: h2c would be a way around the routes. And a server cannot switch unasked."""

    async def switch(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")

    server = await serve(in_process, handler=switch)
    async with connect(in_process) as connection:
        headers = [
            ("Connection", "Upgrade, HTTP2-Settings"),
            ("Upgrade", "h2c"),
            ("HTTP2-Settings", "AAMAAABkAAQAAP__"),
        ]
        answer = await within(20, connection.request("GET", "/user/ada/", headers))

    assert answer.status == 503
    assert server.last.head.get_all("Upgrade") == server.last.head.get_all("Connection") == []
    assert server.last.head.get("HTTP2-Settings") is None


async def test_what_comes_early_over_a_websocket_is_not_lost(in_process: InProcessProxy, serve: ServerMaker) -> None:
    """Nor does it change places with what comes later: a client that does not wait for the answer to its handshake."""
    received: list[bytes] = []

    async def switch(exchange: Exchange) -> None:
        await asyncio.sleep(0.3)
        await exchange.send(b"HTTP/1.1 101 Yes\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly ")
        while data := await exchange.reader.read(1000):
            received.append(data)
            await exchange.send(data)
        exchange.last = True

    await serve(in_process, handler=switch)
    async with connect(in_process) as connection:
        upgrade = b"GET /user/ada/ HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" + HEAD
        await connection.send(upgrade + b"GET /hidden HTTP/1.1\r\n" + HEAD)
        assert " 101 " in (await within(20, connection.head())).first
        await connection.send(b"later")
        connection.writer.write_eof()
        assert await within(20, connection.reader.read()) == b"early GET /hidden HTTP/1.1\r\n" + HEAD + b"later"

    assert b"".join(received) == b"GET /hidden HTTP/1.1\r\n" + HEAD + b"later"


async def test_what_comes_early_over_a_websocket_that_goes_nowhere_is_no_request(
    in_process: InProcessProxy, serve: ServerMaker
) -> None:
    """The client may have sent frames before it has learned that there is no such route."""
    await serve(in_process)
    async with connect(in_process) as connection:
        await connection.send(b"GET /nobody HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" + HEAD)
        await connection.send(b"GET /user/ada/ HTTP/1.1\r\n" + HEAD)
        answer = await within(20, connection.response())
        assert (answer.status, answer.head.get("Connection")) == (404, "close")
        assert await within(20, connection.reader.read()) == b""


async def test_a_flood_that_comes_early_over_a_websocket_waits(
    make_in_process: InProcessMaker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The first part of it may already be more than the server takes."""
    monkeypatch.setattr(limits, "MOST_WAITING", 2**20)
    made: list[asyncio.StreamWriter] = []

    async def switch_and_take_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        made.append(writer)
        await read_head(reader)
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(0.3)
        writer.write(b"HTTP/1.1 101 Yes\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")

    path = tmp_path / "ada.sock"
    proxy = make_in_process()
    await proxy.start()
    flood = b"x" * (64 * 2**20)
    async with await asyncio.start_unix_server(switch_and_take_nothing, path):
        await proxy.add_route("/user/ada/", f"http+unix://{quote(str(path), safe='')}", {})
        async with connect(proxy) as connection:
            upgrade = b"GET /user/ada/ HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" + HEAD
            await connection.send(upgrade + b"x" * 2**20)
            sending = asyncio.ensure_future(connection.send(flood))
            assert " 101 " in (await within(20, connection.head())).first
            before = -1
            while before != (left := connection.writer.transport.get_write_buffer_size()):
                before = left
                await asyncio.sleep(0.3)
            # The buffers of the kernel, and one of ours.
            assert len(flood) - left < 16 * 2**20
            sending.cancel()
        made[0].transport.abort()


@pytest.mark.parametrize("first", ["client", "server"])
async def test_a_websocket_that_both_sides_have_ended_is_closed(
    in_process: InProcessProxy, serve: ServerMaker, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    """At once, on both sides, with all that was sent before: it would hold two descriptors for nothing."""
    monkeypatch.setattr(limits, "LINGER_SECONDS", float("inf"))
    received: list[bytes] = []

    async def switch(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 101 Yes\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        if first == "server":
            await exchange.send(b"bye")
            exchange.writer.write_eof()
        received.append(await exchange.reader.read())
        if first == "client":
            await exchange.send(b"bye")
        exchange.last = True

    await serve(in_process, handler=switch)
    async with connect(in_process) as connection:
        await connection.send(b"GET /user/ada/ HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" + HEAD)
        await within(20, connection.head())
        await connection.send(b"last words")
        if first == "server":
            assert await within(20, connection.reader.read()) == b"bye"
        connection.writer.write_eof()
        if first == "client":
            assert await within(20, connection.reader.read()) == b"bye"
        await eventually(lambda: not any(connections_open()))
        await eventually(lambda: received == [b"last words"])


async def test_a_client_that_does_not_take_the_end_of_a_websocket_is_given_up(
    in_process: InProcessProxy, serve: ServerMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server is gone, and so may the client be."""
    monkeypatch.setattr(client, "HIGH_WATER", 2**30)  # so that all of it is with the proxy
    monkeypatch.setattr(limits, "STALLED_SECONDS", 0.5)
    monkeypatch.setattr(limits, "LINGER_SECONDS", 0.1)
    monkeypatch.setattr(limits, "LINGER_IDLE_SECONDS", 0.1)

    async def say_much_and_leave(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 101 Yes\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        await exchange.send(b"x" * (64 * 2**20))
        reset_when_closed(exchange.writer)
        exchange.last = True

    await serve(in_process, handler=say_much_and_leave)
    async with connect(in_process) as connection:
        await connection.send(b"GET /user/ada/ HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" + HEAD)
        await within(20, connection.head())
        connection.reader._transport.pause_reading()  # type: ignore[attr-defined]
        await eventually(lambda: not any(connections_open()))


@pytest.mark.parametrize("rest", [b"\r\n", b"GET /us"], ids=["an empty line", "half a request"])
async def test_a_client_that_has_ended_is_let_go_after_its_answer(
    in_process: InProcessProxy, serve: ServerMaker, rest: bytes
) -> None:
    """Nothing more can come of what it has begun."""
    await serve(in_process)
    async with connect(in_process) as connection:
        await connection.send(b"POST /user/ada/ HTTP/1.1\r\nContent-Length: 2\r\n" + HEAD + b"hi" + rest)
        connection.writer.write_eof()
        assert (await within(20, connection.response())).status == 200
        assert await within(20, connection.reader.read()) == b""


async def test_a_client_that_is_told_not_to_send_its_body_is_cut_off(
    in_process: InProcessProxy, serve: ServerMaker
) -> None:
    """RFC 9110 section 10.1.1: whether the body comes, nobody knows, so nothing after it is read as a request."""

    async def refuse(exchange: Exchange) -> None:
        await exchange.reply("417 Expectation Failed")

    server = await serve(in_process, handler=refuse)
    async with connect(in_process) as connection:
        await connection.send_head("PUT", "/user/ada/", [("Content-Length", "50"), ("Expect", "100-continue")])
        head = await within(20, connection.head())
        await connection.send(b"GET /user/ada/hidden HTTP/1.1\r\n" + HEAD)
        assert await within(20, connection.reader.read()) == b""

    assert (head.first[:12], head.get("Connection")) == ("HTTP/1.1 417", "close")
    assert len(server.exchanges) == 1


# Answers.


async def test_small_pieces_are_sent_at_once(
    in_process: InProcessProxy, serve: ServerMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In both directions. Without TCP_NODELAY, a piece waits until the one before is acknowledged, for up to 40 ms."""
    options: list[int] = []
    for kind in (client.ClientConnection, ServerConnection):

        def note(self: Any, transport: Any, set_up: Any = kind.connection_made) -> None:
            set_up(self, transport)
            options.append(transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

        monkeypatch.setattr(kind, "connection_made", note)

    await serve(in_process)
    async with connect(in_process) as connection:
        await within(20, connection.request("GET", "/user/ada/"))
    assert options == [1, 1]


async def test_a_request_is_sent_again_only_if_that_is_safe(in_process: InProcessProxy, serve: ServerMaker) -> None:
    """RFC 9110 section 9.2.2: a server closes a connection at rest at the moment that it is used again.

    GET goes over it, and is sent once more over another one. POST is sent only once, over a new one.
    """
    close: list[asyncio.StreamWriter] = []

    async def answer(exchange: Exchange) -> None:
        await exchange.read()
        if exchange.writer in close:
            exchange.writer.close()
        else:
            close.append(exchange.writer)
            await exchange.reply()

    server = await serve(in_process, handler=answer)
    async with connect(in_process) as connection:
        answers = [await within(20, connection.request("GET", "/user/ada/")) for _ in range(3)]
        assert [answer.status for answer in answers] == [200] * 3
        assert (len(server.exchanges), server.connections) == (5, 3)
        answers = [await within(20, connection.request("POST", "/user/ada/", body=b"x")) for _ in range(3)]
        assert [answer.status for answer in answers] == [200] * 3
        assert (len(server.exchanges), server.connections) == (8, 6)


async def test_what_a_server_sends_unasked_reaches_nobody(in_process: InProcessProxy, serve: ServerMaker) -> None:
    """An answer that is longer than it says must not become the answer to the next request, of another user."""

    async def say_too_much(exchange: Exchange) -> None:
        await exchange.read()
        await exchange.reply(body=b"mine")
        await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret")

    server = await serve(in_process, handler=say_too_much)
    answers = []
    for _ in range(5):
        async with connect(in_process) as connection:
            answers.append(await within(20, connection.request("GET", "/user/ada/")))

    assert [answer.body for answer in answers] == [b"mine"] * 5
    assert server.connections == 5


async def test_an_answer_without_a_length_keeps_the_client_s_connection(
    in_process: InProcessProxy, serve: ServerMaker
) -> None:
    """It goes on in chunks; to a client with HTTP/1.0 it ends with the connection."""

    async def until_close(exchange: Exchange) -> None:
        await exchange.send_head("200 OK")
        await exchange.send(b"some text")
        exchange.last = True

    await serve(in_process, handler=until_close)
    async with connect(in_process) as connection:
        answers = [await within(20, connection.request("GET", "/user/ada/")) for _ in range(2)]
        assert [(answer.head.get("Transfer-Encoding"), answer.body) for answer in answers] == [
            ("chunked", b"some text")
        ] * 2
        await connection.send(b"GET /user/ada/ HTTP/1.0\r\n\r\n")
        received = await within(20, connection.reader.read())
        assert received.endswith(b"\r\nConnection: close\r\n\r\nsome text")
        assert b"chunked" not in received


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("framing", ["Content-Length: 100", "Transfer-Encoding: chunked", "X: y"])
@pytest.mark.parametrize("seconds", [0.1, 0])
async def test_an_answer_that_is_cut_off_does_not_look_complete(
    in_process: InProcessProxy, serve: ServerMaker, version: str, framing: str, seconds: float
) -> None:
    """RFC 9112 section 8, whatever its framing is on both sides: where only a reset shows it, there is one.

    uvloop 0.22 and older tell a reset and an end apart only if nothing else has come with it.
    """

    async def die(exchange: Exchange) -> None:
        await exchange.send(f"HTTP/1.1 200 OK\r\n{framing}\r\n\r\n".encode())
        await exchange.send(chunk(b"some text") if "chunked" in framing else b"some text")
        await asyncio.sleep(seconds)
        reset_when_closed(exchange.writer)
        exchange.writer.transport.abort()

    await serve(in_process, handler=die)
    async with connect(in_process) as connection:
        await connection.send(f"GET /user/ada/ HTTP/{version}\r\n".encode() + HEAD)
        with pytest.raises((BrokenMessage, ConnectionError)):
            await within(20, connection.response())


@pytest.mark.parametrize("pause", [False, True])
async def test_an_answer_that_turns_out_to_be_malformed(
    in_process: InProcessProxy, serve: ServerMaker, *, pause: bool
) -> None:
    """If nothing of it has gone on, the client is told; else it is cut off. The head never waits for the body."""
    release = asyncio.Event()

    async def answer(exchange: Exchange) -> None:
        head, body = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"2\r\nab\r\n2\r\nabcd\r\n"
        if pause:
            await exchange.send(head)
            await release.wait()
        await exchange.send(body if pause else head + body)

    await serve(in_process, handler=answer)
    async with connect(in_process) as connection:
        await connection.send_head("GET", "/user/ada/")
        head = await within(20, connection.head())
        release.set()
        rest = await within(20, connection.reader.read(100_000)) if pause else b""

    assert (head.first[9:12], rest) == ("200" if pause else "503", b"")


async def test_interim_answers_reach_the_client(in_process: InProcessProxy, serve: ServerMaker) -> None:
    """RFC 9110 section 15.2: all of them, but not a client that does not know them."""

    async def hint(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n")
        await exchange.reply(body=b"x")

    await serve(in_process, handler=hint)
    async with connect(in_process) as connection:
        await connection.send(b"GET /user/ada/ HTTP/1.1\r\n" + HEAD)
        heads = [(await within(20, read_head(connection.reader))).first for _ in range(3)]
        assert [head[9:12] for head in heads] == ["103", "102", "200"]
    async with connect(in_process) as connection:
        await connection.send(b"GET /user/ada/ HTTP/1.0\r\n\r\n")
        assert (await within(20, connection.reader.read())).startswith(b"HTTP/1.1 200")


async def test_a_slow_client_makes_the_server_wait(in_process: InProcessProxy, serve: ServerMaker) -> None:
    """What nobody has taken yet stays with the server, but for a little."""
    sent = 0

    async def pour(exchange: Exchange) -> None:
        nonlocal sent
        await exchange.send_head("200 OK", [("Content-Length", str(2**30))])
        while True:
            await exchange.send(b"x" * 65_536)
            sent += 65_536

    await serve(in_process, handler=pour)
    async with connect(in_process) as connection:
        await connection.send_head("GET", "/user/ada/")
        await connection.head()
        connection.reader._transport.pause_reading()  # type: ignore[attr-defined]
        before = -1
        while before != sent:
            before = sent
            await asyncio.sleep(0.3)

    # Two pairs of socket buffers of the kernel, and one of ours.
    assert sent < 16 * 2**20


# Failures.


async def hub_page(exchange: Exchange) -> None:
    """Answer as the Hub does at /hub/error/."""
    await exchange.read()
    await exchange.reply(headers=[("Content-Type", "text/html"), ("Set-Cookie", "_xsrf=of-the-hub")], body=b"the page")


async def test_a_browser_gets_the_hub_s_page_and_the_hub_gets_no_secret(make_in_process: InProcessMaker) -> None:
    """Programs and websockets get a few words, and the Hub is not asked. CHP sends the Hub no cookies either."""
    async with Backend("hub", hub_page) as hub:
        proxy = make_in_process(hub.url)
        await proxy.start()
        await proxy.add_route("/user/ada/", "http://127.0.0.1:1", {})
        async with connect(proxy) as connection:
            secret = [("Cookie", "token"), ("Authorization", "token x"), ("Referer", "http://h/?token=x")]
            answer = await within(20, connection.request("GET", "/user/ada/a?b", [*PAGE, *secret]))
            assert (answer.status, answer.body, answer.head.get("Set-Cookie")) == (503, b"the page", None)
            assert hub.last.target == "/hub/error/503?url=%2Fuser%2Fada%2Fa%3Fb"
            assert {name for name, _ in hub.last.head.headers} == {"Host", "Accept"}
            answer = await within(20, connection.request("GET", "/user/ada/a", secret))
            assert (answer.status, answer.head.get("Content-Type")) == (503, "text/plain; charset=utf-8")
            answer = await within(20, connection.request("POST", "/user/ada/a", PAGE, b"body"))
            assert answer.status == 503
        assert len(hub.exchanges) == 1


async def test_a_browser_gets_the_hub_s_page_where_nothing_is(make_in_process: InProcessMaker) -> None:
    """The page for 404."""
    async with Backend("hub", hub_page) as hub:
        proxy = make_in_process(hub.url)
        await proxy.start()
        await proxy.add_route("/hub/", hub.url, {})
        async with connect(proxy) as connection:
            answer = await within(20, connection.request("GET", "/other", PAGE))
            assert (answer.status, answer.body) == (404, b"the page")
            answer = await within(20, connection.request("GET", "/other"))
            assert (answer.status, answer.body) == (404, b"There is nothing here.\n")
        assert hub.last.target == "/hub/error/404?url=%2Fother"


async def hang(exchange: Exchange) -> None:
    """Never answer."""
    await exchange.read()
    await asyncio.Event().wait()


async def be_large(exchange: Exchange) -> None:
    """Answer with more than a page."""
    await exchange.reply(headers=[("Content-Type", "text/html")], body=b"x" * 3_000_000)


async def redirect(exchange: Exchange) -> None:
    """Send the proxy elsewhere."""
    await exchange.reply("302 Found", [("Location", "/hub/login"), ("Content-Type", "text/html")])


@pytest.mark.parametrize("handler", [None, hang, be_large, redirect, close_silently])
async def test_a_browser_gets_a_page_of_ours_if_the_hub_has_none(make_in_process: InProcessMaker, handler: Any) -> None:
    """It says what is wrong, and comes back by itself."""
    async with Backend("hub", handler or respond_ok) as hub:
        proxy = make_in_process(hub.url if handler else "http://127.0.0.1:1")
        await proxy.start()
        await proxy.add_route("/user/ada/", "http://127.0.0.1:1", {})
        async with connect(proxy) as connection:
            answer = await within(20, connection.request("GET", "/user/ada/", PAGE))

    assert answer.status == 503
    assert b"The server does not answer" in answer.body
    assert int(answer.head.get("Refresh") or 0) >= 4


async def test_before_the_hub_has_begun_nothing_is_said_to_be_missing(in_process: InProcessProxy) -> None:
    """A browser that was open during a restart comes back by itself."""
    async with connect(in_process) as connection:
        assert (await within(20, connection.request("GET", "/hub/home", PAGE))).status == 503
        assert (await within(20, connection.request("GET", "/hub/home"))).status == 503
        assert (await within(20, connection.request("GET", "/_chp_healthz"))).body == b'{"status": "OK"}'


@pytest.mark.parametrize("host", ["a..b", "x" * 64])
async def test_a_name_that_cannot_be_one_is_a_failure(in_process: InProcessProxy, host: str) -> None:
    """Python raises an error of another kind for a name with a label that is empty, or too long."""
    await in_process.add_route("/user/ada/", f"http://{host}:8888", {})
    async with connect(in_process) as connection:
        assert (await within(20, connection.request("GET", "/user/ada/"))).status == 503


async def test_nobody_waits_for_ever_because_of_a_bug(
    in_process: InProcessProxy, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What nobody has thought of when a connection is opened is a failure like any other, and its traceback is logged."""

    async def fail(*_: object) -> None:
        raise RuntimeError("nobody has thought of this")

    monkeypatch.setattr(Pool, "_open", fail)
    await in_process.add_route("/user/ada/", "http://127.0.0.1:1", {})
    async with connect(in_process) as connection:
        assert (await within(20, connection.request("GET", "/user/ada/"))).status == 503
    gc.collect()
    await eventually(lambda: "nobody has thought of this" in caplog.text)


async def test_a_failure_is_logged_with_its_cause(in_process: InProcessProxy, caplog: pytest.LogCaptureFixture) -> None:
    """Who asked for what, where it should have gone, and why it did not; but no query, which may have secrets."""
    await in_process.add_route("/user/ada/", "http://127.0.0.1:1", {})
    async with connect(in_process) as connection:
        await within(20, connection.request("GET", "/user/ada/x%0A?token=secret"))

    await eventually(lambda: any(record.levelno == logging.WARNING for record in caplog.records))
    [line] = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert line.startswith("GET '/user/ada/x%0A' from 127.0.0.1 to 'http://127.0.0.1:1' (route '/user/ada/') failed: ")
    assert "secret" not in line


async def test_each_request_is_logged_if_wanted(
    make_in_process: InProcessMaker, serve: ServerMaker, caplog: pytest.LogCaptureFixture
) -> None:
    """With its status and how long it took, but without its query; a client's text cannot make another line."""
    caplog.set_level(logging.INFO)
    proxy = make_in_process(access_log=True)
    await proxy.start()
    await serve(proxy)
    slow = await serve(proxy, "/slow/", hang)
    await proxy.add_route("/dead/", "http://127.0.0.1:1", {})

    def lines() -> list[str]:
        return [line for line in caplog.messages if line.startswith("127.0.0.1 ")]

    async with connect(proxy) as connection:
        for path in ("/user/ada/%0Ax?token=secret", "/dead/", "/nothing"):
            await within(20, connection.request("GET", path))
        await eventually(lambda: len(lines()) == 3)
        await connection.send_head("GET", "/slow/")
        await eventually(lambda: len(slow.exchanges) == 1)
        # A client that has only closed its side may still wait for the answer.
        reset_when_closed(connection.writer)
    await eventually(lambda: len(lines()) == 4)

    assert [line.rpartition(", ")[0] for line in lines()] == [
        "127.0.0.1 GET '/user/ada/%0Ax' (route '/user/ada/'): 200",
        "127.0.0.1 GET '/dead/' (route '/dead/'): no answer",
        "127.0.0.1 GET '/nothing': 404",
        "127.0.0.1 GET '/slow/' (route '/slow/'): no answer",
    ]
    assert "secret" not in caplog.text


async def test_a_flood_of_log_lines_does_not_keep_the_hub(
    make_in_process: InProcessMaker, serve: ServerMaker, caplog: pytest.LogCaptureFixture
) -> None:
    """And all that can be logged are, a websocket when it is closed."""
    caplog.set_level(logging.INFO)

    async def switch(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 101 Yes\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        await exchange.reader.read()
        exchange.last = True

    proxy = make_in_process(access_log=True)
    await proxy.start()
    await serve(proxy, handler=switch)
    async with connect(proxy) as connection:
        await connection.send((b"GET /x HTTP/1.1\r\n" + HEAD) * 500)
        for _ in range(500):
            await within(20, connection.response())
        await connection.send(b"GET /user/ada/ HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" + HEAD)
        await within(20, connection.head())
    await eventually(lambda: "(route '/user/ada/'): 101, " in caplog.text)

    assert caplog.text.count("127.0.0.1 GET '/x': 404, ") == 500


# Activity.


async def last_seen(proxy: InProcessProxy, routespec: str) -> str | None:
    """Return what the Hub is told."""
    seen: str | None = (await proxy.get_all_routes())[routespec]["data"].get("last_activity")
    return seen


async def test_what_counts_as_activity(make_in_process: InProcessMaker, serve: ServerMaker) -> None:
    """A success, and a body; but no failure, and none of the paths that are left out."""

    async def answer(exchange: Exchange) -> None:
        await exchange.read()
        await exchange.reply("200 OK" if "good" in exchange.target else "302 Found")

    proxy = make_in_process(activity_ignore_paths=["*/api/status*"])
    await proxy.start()
    await serve(proxy, handler=answer)
    async with connect(proxy) as connection:
        for method, path, body in [("GET", "bad", b""), ("GET", "api/status/good", b""), ("POST", "api/status", b"x")]:
            await within(20, connection.request(method, f"/user/ada/{path}", body=body))
        # Over the same connection, so all that came before has been seen to its end.
        assert await last_seen(proxy, "/user/ada/") is None
        await within(20, connection.request("GET", "/user/ada/good"))
        await eventually(lambda: last_seen(proxy, "/user/ada/"))
    await proxy.delete_route("/user/ada/")
    await serve(proxy)
    assert await last_seen(proxy, "/user/ada/") is None


def a_websocket() -> tuple[list[bytes], Handler]:
    """Return what a handler receives over a websocket, and the handler."""
    received: list[bytes] = []

    async def switch(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 101 Yes\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        while data := await exchange.reader.read(1000):
            received.append(data)
        exchange.last = True

    return received, switch


@pytest.mark.parametrize("ignored", [False, True])
async def test_pongs_may_be_left_out(make_in_process: InProcessMaker, serve: ServerMaker, *, ignored: bool) -> None:
    """A browser answers pings by itself."""
    received, switch = a_websocket()
    pong, text = b"\x8a\x80\0\0\0\0", b"\x81\x81\0\0\0\0a"
    proxy = make_in_process(activity_ignore_pongs=ignored)
    await proxy.start()
    await serve(proxy, handler=switch)
    async with connect(proxy) as connection:
        await connection.send(b"GET /user/ada/ HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" + HEAD)
        await within(20, connection.head())
        await connection.send(pong)
        await eventually(lambda: received == [pong])
        assert (await last_seen(proxy, "/user/ada/") is None) == ignored
        await connection.send(text)
        await eventually(lambda: b"".join(received) == pong + text)
        assert await last_seen(proxy, "/user/ada/") is not None


async def test_a_websocket_that_is_still_open_says_nothing_of_a_route_that_is_gone(
    in_process: InProcessProxy, serve: ServerMaker
) -> None:
    """It leaves nothing behind that would be kept for ever. If the route is added again, its user is seen there."""
    received, switch = a_websocket()
    server = await serve(in_process, handler=switch)
    async with connect(in_process) as connection:
        await connection.send(b"GET /user/ada/ HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" + HEAD)
        await within(20, connection.head())
        await in_process.delete_route("/user/ada/")
        await connection.send(b"frame")
        await eventually(lambda: received == [b"frame"])
        await in_process.add_route("/user/ada/", server.url, {})
        assert await last_seen(in_process, "/user/ada/") is None
        await connection.send(b"frame")
        await eventually(lambda: last_seen(in_process, "/user/ada/"))


async def test_what_users_do_is_counted(in_process: InProcessProxy, serve: ServerMaker) -> None:
    """For /hub/metrics, by what JupyterHub's data says that a route is for; also what gets no answer."""
    for kind in ("hub", "user", "service", "extra", "more"):
        server = await serve(in_process, f"/{kind}/")
        await in_process.add_route(f"/{kind}/", server.url, {kind: "ada"})
    await in_process.add_route("/dead/", "http://127.0.0.1:1", {"user": "bob"})
    async with connect(in_process) as connection:
        for path in ("/hub/a", "/user/a", "/user/b", "/service/", "/extra/", "/more/", "/dead/", "/nothing"):
            await within(20, connection.request("GET", path))
        counts = {labels: count for labels, count in requests_served().items() if count}
        assert counts == {
            ("hub", "2xx"): 1,
            ("user", "2xx"): 2,
            ("user", "5xx"): 1,
            ("service", "2xx"): 1,
            ("extra", "2xx"): 1,
            ("other", "2xx"): 1,
            ("none", "4xx"): 1,
        }
        assert REGISTRY.get_sample_value("traefik_toml_proxy_open_connections", {"kind": "http"}) == 1
    await in_process.stop()
    assert requests_served() == {}


async def test_open_websockets_are_counted(in_process: InProcessProxy, serve: ServerMaker) -> None:
    """They are looked at once a second."""

    async def switch(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 101 Yes\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        await exchange.reader.read()
        exchange.last = True

    await serve(in_process, handler=switch)

    def are_open(number: int) -> bool:
        return REGISTRY.get_sample_value("traefik_toml_proxy_open_connections", {"kind": "websocket"}) == number

    async with connect(in_process) as connection:
        await connection.send(b"GET /user/ada/ HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" + HEAD)
        await within(20, connection.head())
        await eventually(lambda: are_open(1))
        assert requests_served()["other", "1xx"] == 1
    await eventually(lambda: are_open(0))


def connections_open() -> list[float]:
    """Return how many there are in /hub/metrics, of each kind."""
    families = {family.name: family for family in REGISTRY.collect()}
    return [sample.value for sample in families["traefik_toml_proxy_open_connections"].samples]


def requests_served() -> dict[tuple[str, str], float]:
    """Return the counts in /hub/metrics, by route and status."""
    families = {family.name: family for family in REGISTRY.collect()}
    samples = families["traefik_toml_proxy_requests"].samples
    return {(sample.labels["route"], sample.labels["status"]): sample.value for sample in samples}


# Sockets.


async def test_unix_sockets_on_both_sides(make_in_process: InProcessMaker, tmp_path: Path) -> None:
    """JupyterHub 6 has them for its bind_url, for itself, and for servers."""
    public, behind = tmp_path / "public.sock", tmp_path / "a server.sock"

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await read_head(reader)
        body = f"{head.first} {head.get('X-Forwarded-For')}".encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        writer.close()

    server = await asyncio.start_unix_server(answer, behind)
    proxy = make_in_process(public_url=f"http+unix://{quote(str(public), safe='')}", socket_mode=0o600)
    await proxy.start()
    await proxy.add_route("/user/ada/", f"http+unix://{quote(str(behind), safe='')}", {})
    reader, writer = await asyncio.open_unix_connection(public)
    writer.write(b"GET /user/ada/a HTTP/1.1\r\n" + HEAD)
    received = await within(20, reader.readuntil(b"127.0.0.1"))
    writer.close()

    assert received.endswith(b"GET /user/ada/a HTTP/1.1 127.0.0.1")
    assert public.stat().st_mode & 0o777 == 0o600
    with pytest.raises(ConfigurationError, match="Another program listens there"):
        await make_in_process(public_url=proxy.public_url).start()
    await proxy.stop()
    server.close()
    assert not public.exists()


async def test_the_socket_of_a_killed_hub_is_replaced(make_in_process: InProcessMaker, tmp_path: Path) -> None:
    """But nothing else that is there."""
    path, file = tmp_path / "old.sock", tmp_path / "file"
    file.write_text("mine")
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(str(path))
    await make_in_process(public_url=f"http+unix://{quote(str(path), safe='')}").start()
    with pytest.raises(ConfigurationError):
        await make_in_process(public_url=f"http+unix://{quote(str(file), safe='')}").start()

    assert file.read_text() == "mine"


async def test_an_address_that_is_in_use_is_named(make_in_process: InProcessMaker) -> None:
    """And nothing is left listening."""
    proxy = make_in_process()
    await proxy.start()
    with pytest.raises(ConfigurationError, match="Another program listens there"):
        await make_in_process(public_url=proxy.public_url).start()
    with pytest.raises(ConfigurationError, match=r"cannot listen at 192\.0\.2\.1:1234"):
        await make_in_process(public_url="http://192.0.2.1:1234").start()


@pytest.mark.parametrize("cleanup_proxy", [True, False])
async def test_a_thread_cannot_be_left_running(
    make_in_process: InProcessMaker, caplog: pytest.LogCaptureFixture, cleanup_proxy: bool
) -> None:
    """JupyterHub says that it leaves the proxy running, and then the proxy ends with it."""
    app = SimpleNamespace(internal_ssl=False, subdomain_host="", cleanup_proxy=cleanup_proxy)
    await make_in_process(app=app).start()

    assert ("c.JupyterHub.cleanup_proxy = False has no effect" in caplog.text) is not cleanup_proxy
    assert caplog.text.count('where = "process"') == (not cleanup_proxy)


async def test_further_connections_are_closed_at_once(make_in_process: InProcessMaker, serve: ServerMaker) -> None:
    """The Hub needs descriptors as well. Those that are open go on."""
    proxy = make_in_process(most_connections=2)
    await proxy.start()
    await serve(proxy)
    async with connect(proxy) as first, connect(proxy) as second:
        assert [(await within(20, each.request("GET", "/user/ada/"))).status for each in (first, second)] == [200, 200]
        async with connect(proxy) as third:
            with pytest.raises((BrokenMessage, ConnectionError)):
                await within(20, third.request("GET", "/user/ada/"))
        assert (await within(20, first.request("GET", "/user/ada/"))).status == 200


async def test_stop_lets_an_answer_end(in_process: InProcessProxy, serve: ServerMaker) -> None:
    """And closes what waits for nothing."""
    server = await serve(in_process, handler=answer_slowly)
    async with connect(in_process) as busy, connect(in_process) as idle:
        await idle.request("GET", "/_chp_healthz")
        await busy.send_head("GET", "/user/ada/")
        await eventually(lambda: server.exchanges)
        stopping = asyncio.ensure_future(in_process.stop())
        answer = await within(20, busy.response())
        assert (answer.status, answer.body) == (200, b"/user/ada/")
        assert answer.head.get("Connection") == "close"
        assert await within(20, idle.reader.read()) == b""
        await stopping


async def test_stop_takes_no_further_request(in_process: InProcessProxy, serve: ServerMaker) -> None:
    """Also not over a connection that could be kept: the answer that is under way is its last."""
    server = await serve(in_process, handler=answer_slowly)
    async with connect(in_process) as connection:
        await connection.send(b"".join(b"GET /user/ada/%d HTTP/1.1\r\n" % number + HEAD for number in range(3)))
        await eventually(lambda: server.exchanges)
        stopping = asyncio.ensure_future(in_process.stop())
        assert (await within(20, connection.response())).body == b"/user/ada/0"
        assert await within(20, connection.reader.read()) == b""
        await stopping

    assert len(server.exchanges) == 1


async def test_whoever_connects_at_the_last_moment_is_not_left_waiting(in_process: InProcessProxy) -> None:
    """The event loop has accepted the connection, but has not told the proxy about it yet."""
    address = ("127.0.0.1", int(in_process.public_url.rpartition(":")[2]))
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection(address, timeout=20)) for _ in range(100)]
        await in_process.stop()
        gc.disable()  # it would end them as well, but with a warning, and who knows when
        stack.callback(gc.enable)
        ends = [await asyncio.to_thread(_end_of, client) for client in clients]

    assert ends == [b""] * 100


def _end_of(client: socket.socket) -> bytes:
    """Return what comes before the end of a connection."""
    with contextlib.suppress(ConnectionResetError):
        return client.recv(100)
    return b""


async def test_stop_cuts_off_no_answer_that_is_on_its_way(
    in_process: InProcessProxy, serve: ServerMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server has given it, but a slow client has not taken it yet."""
    monkeypatch.setattr(client, "HIGH_WATER", 2**30)  # so that nothing else is waited for

    async def be_long(exchange: Exchange) -> None:
        await exchange.reply(body=b"x" * 10_000 + b"!")

    server = await serve(in_process, handler=be_long)
    async with connect(in_process) as connection:
        transport = connection.reader._transport  # type: ignore[attr-defined]
        transport.pause_reading()
        await connection.send((b"GET /user/ada/ HTTP/1.1\r\n" + HEAD) * 1000)
        before = -1
        while before != len(server.exchanges):
            before = len(server.exchanges)
            await asyncio.sleep(0.3)
        stopping = asyncio.ensure_future(in_process.stop())
        await asyncio.sleep(0.1)
        transport.resume_reading()
        received = await within(20, connection.reader.read())
        await stopping

    assert received.count(b"!") >= before
    assert received.endswith(b"x!")


async def test_stop_does_not_wait_for_ever(in_process: InProcessProxy, serve: ServerMaker) -> None:
    """Neither for an answer nor for a request that does not come."""
    server = await serve(in_process, handler=hang)
    async with connect(in_process) as busy, connect(in_process) as slow:
        await busy.send_head("GET", "/user/ada/")
        await slow.send(b"GET /")
        await eventually(lambda: server.exchanges)
        await within(10, in_process.stop())
        assert await within(20, busy.reader.read()) == b""


async def test_a_busy_hub_stops_nobody(in_process: InProcessProxy, serve: ServerMaker) -> None:
    """The proxy has an event loop of its own: it answers while that of the Hub does nothing."""
    await serve(in_process)
    url = in_process.public_url.removeprefix("http://127.0.0.1:")

    def ask() -> bytes:
        with socket.create_connection(("127.0.0.1", int(url)), timeout=20) as connection:
            connection.sendall(b"GET /_chp_healthz HTTP/1.1\r\n" + HEAD)
            return connection.recv(1000)

    assert ask().startswith(b"HTTP/1.1 200 OK")  # called on the event loop of the Hub
