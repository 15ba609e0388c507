"""Nothing that is under way is cut, however long it takes, is idle or is large.

An hour without a byte is too long for a test, so the limits of Traefik are scaled instead: its 180 s and 90 s for idle
connections become 0.1 s, and everything under way pauses for 20 times that. A limit that should be off would be one of those
that the second test sets, and then the same request fails.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from support.fixtures import ProxyMaker
from support.servers import answering
from support.waiting import PATIENCE, within

_IDLE_LIMIT = 0.1
_PAUSE = 20 * _IDLE_LIMIT
_SIZE = 5 * 2**30
_PARTS = (b"the first half;", b"the second half")
# Grows when the server has sent all events.
_sent: list[bytes] = []

Stream = Callable[[str], Awaitable[list[bytes]]]


def _limits(**changes: Any) -> dict[str, Any]:
    """Return static configuration with short limits for idle connections, and other limits for what is under way.

    Args:
        **changes: ``readTimeout``, ``writeTimeout`` or ``responseHeaderTimeout``, as Traefik writes them.
    """
    from_clients = {"idleTimeout": f"{_IDLE_LIMIT}s"}
    to_servers = {"idleConnTimeout": f"{_IDLE_LIMIT}s"}
    for name, value in changes.items():
        (to_servers if name == "responseHeaderTimeout" else from_clients)[name] = value
    return {
        "entryPoints": {"http": {"transport": {"respondingTimeouts": from_clients}}},
        "serversTransport": {"forwardingTimeouts": to_servers},
    }


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer slowly, each path in its own way."""
    first, second = _PARTS
    head = await reader.readuntil(b"\r\n\r\n")
    path = head.split(b" ")[1]
    if path == b"/upload":
        body = await reader.readexactly(len(first + second))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    elif path == b"/long-poll":
        await asyncio.sleep(_PAUSE)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(first + second) + first + second)
    elif path == b"/download":
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(first + second) + first)
        await asyncio.sleep(_PAUSE)
        writer.write(second)
    elif path == b"/events":
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for part in _PARTS:
            writer.write(b"%x\r\n%s\r\n" % (len(part), part))
            await asyncio.sleep(_PAUSE)
        _sent.append(path)
        writer.write(b"0\r\n\r\n")
    else:
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        while data := await reader.read(1000):
            writer.write(data)
            await writer.drain()
    await writer.drain()
    await reader.read()


@contextlib.asynccontextmanager
async def _asking(url: str, head: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Send the head of a request on a connection of its own."""
    where = urlsplit(url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    try:
        writer.write(f"{head} HTTP/1.1\r\nHost: hub.example\r\n".encode())
        yield reader, writer
    finally:
        writer.close()


async def _head(reader: asyncio.StreamReader) -> bytes:
    return await within(60 * PATIENCE, reader.readuntil(b"\r\n\r\n"))


async def upload(url: str) -> list[bytes]:
    """Send a body with a pause in it; return what the server has got."""
    first, second = _PARTS
    async with _asking(url, "PUT /upload") as (reader, writer):
        writer.write(b"Content-Length: %d\r\n\r\n" % len(first + second) + first)
        await asyncio.sleep(_PAUSE)
        writer.write(second)
        await _head(reader)
        return [await reader.readexactly(len(part)) for part in _PARTS]


async def _get(url: str, path: str) -> list[bytes]:
    async with _asking(url, f"GET {path}") as (reader, writer):
        writer.write(b"\r\n")
        await _head(reader)
        return [await reader.readexactly(len(part)) for part in _PARTS]


async def download(url: str) -> list[bytes]:
    """Ask for an answer with a pause in it."""
    return await _get(url, "/download")


async def long_poll(url: str) -> list[bytes]:
    """Ask for an answer that begins late."""
    return await _get(url, "/long-poll")


async def events(url: str) -> list[bytes]:
    """Ask for server-sent events; each must come before the server sends the next."""
    async with _asking(url, "GET /events") as (reader, writer):
        writer.write(b"\r\n")
        _sent.clear()
        await _head(reader)
        lines = [await reader.readuntil(b"\r\n") for _ in range(4)]
        assert _sent == []
        assert await reader.readuntil(b"0\r\n\r\n")
        return [line.strip() for line in lines[1::2]]


async def websocket(url: str) -> list[bytes]:
    """Open a websocket, and say nothing for a long time. Frames are only bytes to a proxy; any will do."""
    async with _asking(url, "GET /websocket") as (reader, writer):
        writer.write(b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n")
        writer.write(b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
        assert b" 101 " in await _head(reader)
        echoes = []
        for part in _PARTS:
            await asyncio.sleep(_PAUSE)
            writer.write(part)
            echoes.append(await within(10 * PATIENCE, reader.readexactly(len(part))))
        return echoes


@pytest.mark.parametrize("stream", [upload, download, long_poll, events, websocket])
async def test_what_is_under_way_is_not_cut(make_proxy: ProxyMaker, stream: Stream) -> None:
    """Slow uploads and downloads, late answers, events and websockets may pause for as long as they like."""
    proxy = make_proxy(extra_static_config=_limits())
    await proxy.start()
    async with answering(_serve) as server:
        await proxy.add_route("/", server, {})

        assert await stream(proxy.public_url) == list(_PARTS)


@pytest.mark.parametrize(
    ("stream", "limit"),
    [
        (upload, "readTimeout"),
        (download, "writeTimeout"),
        (long_poll, "writeTimeout"),
        (long_poll, "responseHeaderTimeout"),
        (events, "writeTimeout"),
    ],
)
async def test_each_of_these_limits_would_cut_it(make_proxy: ProxyMaker, stream: Stream, limit: str) -> None:
    """So the test above would notice if one of them were not off, and an admin who sets one should know."""
    proxy = make_proxy(extra_static_config=_limits(**{limit: f"{_PAUSE / 2}s"}))
    await proxy.start()
    async with answering(_serve) as server:
        await proxy.add_route("/", server, {})

        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await stream(proxy.public_url)


@pytest.fixture
def zeros(tmp_path: Path) -> Path:
    """A file of 5 GiB, more than 32 bits can count, which takes no space."""
    path = tmp_path / "zeros"
    path.touch()
    os.truncate(path, _SIZE)
    return path


def _send(to: socket.socket, file: Path) -> None:
    with file.open("rb") as data:
        to.sendfile(data)


def _receive(connection: socket.socket) -> tuple[bytes, int]:
    """Read a head and what follows it, until the end or all of it has come; return the head and the length of the rest."""
    connection.settimeout(60)
    head = b""
    while b"\r\n\r\n" not in head:
        head += connection.recv(1)
    missing = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    length, scratch = 0, bytearray(2**20)
    while length < missing and (count := connection.recv_into(scratch, 0, socket.MSG_TRUNC)):
        length += count  # the kernel throws it away
    return head, length


@pytest.fixture
def raw_server(zeros: Path) -> Iterator[tuple[str, list[int]]]:
    """A server for one request, in a thread: its URL, and the lengths of the bodies that it got.

    It answers PUT with a few bytes, and GET with 5 GiB.
    """
    lengths: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(60)

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.settimeout(60)
                first = connection.recv(3, socket.MSG_PEEK | socket.MSG_WAITALL)
                if first == b"PUT":
                    lengths.append(_receive(connection)[1])
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                else:
                    while connection.recv(2**16, socket.MSG_PEEK)[-4:] != b"\r\n\r\n":
                        pass
                    connection.recv(2**16)  # with something unread, closing would reset the connection
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % _SIZE)
                    _send(connection, zeros)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", lengths
        thread.join(60)


async def test_five_gib_are_downloaded(make_proxy: ProxyMaker, raw_server: tuple[str, list[int]]) -> None:
    """A data set of any size goes through, and nothing of it is kept."""
    proxy = make_proxy()
    await proxy.start()
    await proxy.add_route("/", raw_server[0], {})
    url = urlsplit(proxy.public_url)

    def get() -> int:
        with socket.create_connection((url.hostname or "", url.port or 0)) as client:
            client.sendall(b"GET /data HTTP/1.1\r\nHost: hub.example\r\n\r\n")
            return _receive(client)[1]

    assert await asyncio.to_thread(get) == _SIZE


async def test_five_gib_are_uploaded(make_proxy: ProxyMaker, raw_server: tuple[str, list[int]], zeros: Path) -> None:
    """The other way, too."""
    proxy = make_proxy()
    await proxy.start()
    server, lengths = raw_server
    await proxy.add_route("/", server, {})
    url = urlsplit(proxy.public_url)

    def put() -> bytes:
        with socket.create_connection((url.hostname or "", url.port or 0)) as client:
            client.sendall(b"PUT /data HTTP/1.1\r\nHost: hub.example\r\nContent-Length: %d\r\n\r\n" % _SIZE)
            _send(client, zeros)
            return _receive(client)[0]

    assert b" 200 " in await asyncio.to_thread(put)
    assert lengths == [_SIZE]
