"""Load on a proxy: servers, and clients that check every answer; each in its own process.

``python load.py serve`` prints its URLs as JSON and serves until its standard input ends. ``python load.py use`` reads
a plan as JSON, prints ``ready`` when all its clients are connected, and at the end its result as JSON.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import urlsplit

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler, websocket_connect

DOWNLOAD_BYTES = 100 * 1024 * 1024
_BLOCK = 256 * 1024
_FAILURES_TOLD = 10


def _blocks() -> Iterator[bytes]:
    """The download: no two blocks are the same, so none can be lost, repeated or swapped unnoticed."""
    for number in range(DOWNLOAD_BYTES // _BLOCK):
        yield hashlib.sha256(str(number).encode()).digest() * (_BLOCK // 32)


def download_sha256() -> str:
    """The checksum of the download."""
    digest = hashlib.sha256()
    for block in _blocks():
        digest.update(block)
    return digest.hexdigest()


@dataclass
class Plan:
    """What the clients do; each URL is at the proxy's public entry point."""

    requests: int
    workers: int
    websockets: int
    plain_url: str
    moving_url: str
    websocket_url: str
    download_url: str


@dataclass
class Result:
    """What the clients have seen."""

    requests: int = 0
    moving_requests: int = 0
    moving_answers: dict[str, int] = field(default_factory=dict)
    websockets: int = 0
    messages: int = 0
    download_sha256: str = ""
    failed: int = 0
    failures: list[str] = field(default_factory=list)  # the first few

    def fail(self, what: str) -> None:
        """Count a failure, and keep the first few."""
        self.failed += 1
        self.failures = [*self.failures, what][:_FAILURES_TOLD]


# The servers.


async def _answer(name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer each request with this server's name and the request's path."""
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            body = f"{name} {head.split(b' ', 2)[1].decode()}".encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


class _Echo(WebSocketHandler):
    def on_message(self, message: str | bytes) -> None:
        self.write_message(message)


class _Download(RequestHandler):
    async def get(self) -> None:
        self.set_header("Content-Length", str(DOWNLOAD_BYTES))
        for block in _blocks():
            self.write(block)
            await self.flush()


async def serve() -> None:
    """Serve until standard input ends."""
    urls = {}
    for name in ("one", "two"):

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str = name) -> None:
            await _answer(name, reader, writer)

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        urls[name] = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    tornado = HTTPServer(Application([(r".*/echo", _Echo), (r".*/download", _Download)]))
    sockets = bind_sockets(0, "127.0.0.1")
    tornado.add_sockets(sockets)
    urls["tornado"] = f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
    print(json.dumps(urls), flush=True)
    await asyncio.to_thread(sys.stdin.read)


# The clients.


class _Users:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.result = Result()
        self._enough = False

    async def run(self) -> None:
        under_way = [asyncio.Event() for _ in range(self.plan.websockets + 1)]
        download, *sockets = under_way
        others = [asyncio.create_task(self._counted(self._download(download)))]
        others += [
            asyncio.create_task(self._counted(self._talk(number, event))) for number, event in enumerate(sockets)
        ]
        others.append(asyncio.create_task(self._counted(self._follow_the_moving())))
        everything_is_under_way = asyncio.gather(*(event.wait() for event in under_way))
        waiting: list[asyncio.Future[Any]] = [everything_is_under_way, *others]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        print("ready", flush=True)
        await asyncio.gather(*(self._counted(self._ask_plainly(number)) for number in range(self.plan.workers)))
        self._enough = True
        await asyncio.gather(*others)
        everything_is_under_way.cancel()
        await asyncio.wait([everything_is_under_way])

    async def _counted(self, doing: Any) -> None:
        try:
            await doing
        except Exception as error:  # noqa: BLE001 - any failure is a result
            self.result.fail(f"{type(error).__name__}: {error}")

    async def _ask_plainly(self, worker: int) -> None:
        """Send one request after the other on one connection, which nobody may close."""
        connection = await _Connection.open(self.plan.plain_url)
        for number in range(self.plan.requests // self.plan.workers):
            path = f"{urlsplit(self.plan.plain_url).path}{worker}//{number}?x=%2F"
            answer = await connection.get(path)
            if answer != f"one {path}":
                self.result.fail(f"{path}: {answer}")
            self.result.requests += 1
        connection.close()

    async def _follow_the_moving(self) -> None:
        """Send requests for a route that keeps moving between two servers; one of them must answer."""
        connection = await _Connection.open(self.plan.moving_url)
        path = urlsplit(self.plan.moving_url).path
        while not self._enough:
            answer = await connection.get(path)
            if answer not in (f"one {path}", f"two {path}"):
                self.result.fail(f"{path}: {answer}")
            self.result.moving_requests += 1
            who = answer.split(" ")[0]
            self.result.moving_answers[who] = self.result.moving_answers.get(who, 0) + 1
        connection.close()

    async def _talk(self, number: int, under_way: asyncio.Event) -> None:
        """Send messages over one websocket, and wait for each echo."""
        socket = await websocket_connect(self.plan.websocket_url)
        count = 0
        while not self._enough:
            count += 1
            await socket.write_message(f"{number} {count}")
            echo = await socket.read_message()
            if echo != f"{number} {count}":
                self.result.fail(f"websocket {number}: {echo!r} instead of {count}")
                return
            under_way.set()
            self.result.messages += 1
            await asyncio.sleep(0.01)  # leave the processor to the requests
        self.result.websockets += 1
        socket.close()

    async def _download(self, under_way: asyncio.Event) -> None:
        """Read a large file at the pace of the requests, so that it lasts as long as they do."""
        connection = await _Connection.open(self.plan.download_url)
        digest, missing = hashlib.sha256(), await connection.begin(urlsplit(self.plan.download_url).path)
        while missing:
            block = await connection.reader.read(min(missing, _BLOCK))
            if not block:
                self.result.fail(f"download: {missing} bytes are missing")
                return
            digest.update(block)
            missing -= len(block)
            under_way.set()
            while not self._enough and 1 - missing / DOWNLOAD_BYTES > self.result.requests / self.plan.requests:
                await asyncio.sleep(0.005)
        self.result.download_sha256 = digest.hexdigest()
        connection.close()


@dataclass
class _Connection:
    """One keep-alive connection."""

    host: str
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def open(cls, url: str) -> _Connection:
        where = urlsplit(url)
        return cls(where.netloc, *await asyncio.open_connection(where.hostname, where.port))

    async def begin(self, path: str) -> int:
        """Send a request and read the head of the answer; returns the length of its body."""
        self.writer.write(f"GET {path} HTTP/1.1\r\nHost: {self.host}\r\n\r\n".encode())
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *fields = head.lower().split("\r\n")
        if " 200 " not in first:
            raise RuntimeError(f"{path}: {first}")
        return next(int(field.partition(":")[2]) for field in fields if field.startswith("content-length:"))

    async def get(self, path: str) -> str:
        """Send a request; returns the body of the answer."""
        return (await self.reader.readexactly(await self.begin(path))).decode()

    def close(self) -> None:
        self.writer.close()


async def use() -> None:
    """Run the clients of the plan on standard input."""
    users = _Users(Plan(**json.loads(sys.stdin.readline())))
    try:
        await asyncio.wait_for(users.run(), 120)
    except asyncio.TimeoutError:
        users.result.fail("not finished after two minutes")
    print(json.dumps(asdict(users.result)), flush=True)


if __name__ == "__main__":
    asyncio.run({"serve": serve, "use": use}[sys.argv[1]]())
