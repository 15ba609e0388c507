"""conformance.listening: a server leaves no connection open, however far it has come."""

from __future__ import annotations

import asyncio
import gc
import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from support.backend import get
from support.certificates import make_certificate
from support.handshakes import almost_shaken
from support.servers import answering
from support.waiting import PATIENCE, within


async def _never(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


def _connected(url: str) -> socket.socket:
    where = urlsplit(url)
    connection = socket.create_connection((where.hostname or "", where.port or 0))
    connection.setblocking(False)
    return connection


@pytest.mark.parametrize("turns", range(8))
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
async def test_a_connection_that_has_just_come_is_closed_at_the_end(turns: int, tls: bool, tmp_path: Path) -> None:
    """In each step of accepting it, also while it shakes hands. A socket that is left open would fail another test."""
    context = make_certificate(tmp_path, "server").server() if tls else None
    async with answering(_never, tls=context) as url:
        clients = [_connected(url) for _ in range(3)]
        for _ in range(turns):
            await asyncio.sleep(0)

    for client in clients:
        with client, pytest.raises(ConnectionError):
            await within(5 * PATIENCE, _read_to_the_end(client))
    gc.collect()


async def _read_to_the_end(client: socket.socket) -> None:
    """Read until the connection has been closed, in whichever way."""
    while await asyncio.get_running_loop().sock_recv(client, 1000):
        pass
    raise ConnectionError


async def test_a_handshake_that_ends_at_the_end(tmp_path: Path) -> None:
    """Asyncio tells that it was cancelled, and makes the connection all the same."""
    async with answering(_never, tls=make_certificate(tmp_path, "server").server()) as url:
        where = urlsplit(url)
        client, rest = await within(5 * PATIENCE, almost_shaken((where.hostname or "", where.port or 0)))
        client.sendall(rest)
    with client, pytest.raises(ConnectionError):
        await within(5 * PATIENCE, _read_to_the_end(client))


async def test_an_answer_that_has_closed_its_connection_itself(tmp_path: Path) -> None:
    """Over TLS, whose close waits for the client."""

    async def bye(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with answering(bye, tls=make_certificate(tmp_path, "server").server()) as url:
        where = urlsplit(url)
        client, rest = await within(5 * PATIENCE, almost_shaken((where.hostname or "", where.port or 0)))
        client.sendall(rest)
        await within(5 * PATIENCE, asyncio.get_running_loop().sock_recv(client, 1))
    with client, pytest.raises(ConnectionError):
        await within(5 * PATIENCE, _read_to_the_end(client))


async def test_what_a_client_does_not_read_keeps_no_connection_open() -> None:
    """Nor one whose answer has returned before."""

    async def much(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(bytes(10_000_000))
        answered.set()

    answered = asyncio.Event()
    async with answering(much) as url:
        client = _connected(url)
        await within(5 * PATIENCE, answered.wait())
    with client, pytest.raises(ConnectionError):
        await within(5 * PATIENCE, _read_to_the_end(client))
    gc.collect()


async def test_an_answer_that_fails_is_told_to_the_event_loop() -> None:
    """It is a bug of the test."""

    async def fail(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        raise LookupError("a bug")

    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["exception"]))
    async with answering(fail) as url:
        with _connected(url) as client, pytest.raises(ConnectionError):
            await within(5 * PATIENCE, _read_to_the_end(client))

    assert [type(error) for error in told] == [LookupError]


async def test_a_server_that_hangs_up_is_an_error_of_the_connection() -> None:
    """For the client of the tests, as one that is not there: a proxy that is being restarted does either."""

    async def hang_up(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")

    async with answering(hang_up) as url:
        with pytest.raises(ConnectionError):
            await get(url)


async def test_what_is_written_in_two_pieces_is_sent_at_once() -> None:
    """Without TCP_NODELAY, the second piece waits until the client acknowledges the first, which takes 40 ms."""

    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        option.set_result(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    option: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    async with answering(answer) as url:
        with _connected(url):
            assert await within(5 * PATIENCE, option) != 0


async def test_one_that_was_closed_before_all_was_sent_has_ended() -> None:
    """Asyncio could not abort it any more."""

    async def say_much(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(bytes(10_000_000))

    async with answering(say_much) as url:
        with _connected(url) as client, pytest.raises(ConnectionError):
            await within(20, _read_to_the_end(client))
