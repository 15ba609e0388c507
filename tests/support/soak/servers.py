"""The servers of a soak, in a process of their own: each answers with its name.

``python -m support.soak.servers`` prints their URLs by name as JSON. It hangs up on all clients at each line of its standard
input, and ends with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from tornado.httpserver import HTTPServer
from tornado.iostream import StreamClosedError
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler

from .plan import SERVERS

TESTS = Path(__file__).parents[2]

BLOCK = 64 * 1024
BLOCKS = 48
_PAUSE = 0.05


def block(name: str, number: int) -> bytes:
    """Return a block of a server's download; no two are the same."""
    return hashlib.sha256(f"{name} {number}".encode()).digest() * (BLOCK // 32)


class Servers:
    """The process, for the test that starts it.

    Attributes:
        urls: Their URLs by name.
    """

    def __init__(self, process: asyncio.subprocess.Process, urls: dict[str, str]) -> None:
        self._process = process
        self.pid = process.pid
        self.urls = urls

    async def hang_up(self) -> None:
        """Close all connections from the proxy."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"\n")
        await self._process.stdout.readline()


@contextlib.asynccontextmanager
async def running_servers() -> AsyncIterator[Servers]:
    """Run them while the block runs."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "support.soak.servers"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": f"{TESTS}:{os.environ.get('PYTHONPATH', '')}"},
    )
    try:
        assert process.stdout is not None
        yield Servers(process, json.loads(await process.stdout.readline()))
    finally:
        process.kill()
        await process.wait()


class _Answer(RequestHandler):
    def initialize(self, name: str) -> None:
        self.name = name

    def get(self) -> None:
        self.write(f"{self.name} {self.request.uri}")


class _Echo(WebSocketHandler):
    def initialize(self, name: str) -> None:
        self.name = name

    def on_message(self, message: str | bytes) -> None:
        self.write_message(f"{self.name} {message!s}")


class _Download(RequestHandler):
    def initialize(self, name: str) -> None:
        self.name = name

    async def get(self) -> None:
        """Send one block after the other, slowly."""
        self.set_header("X-Server", self.name)
        self.set_header("Content-Length", str(BLOCK * BLOCKS))
        with contextlib.suppress(StreamClosedError):  # the proxy was killed
            for number in range(BLOCKS):
                self.write(block(self.name, number))
                await self.flush()
                await asyncio.sleep(_PAUSE)


async def _main() -> None:
    urls, servers = {}, []
    for name in SERVERS:
        settings = {"name": name}
        handlers = [(r".*/echo", _Echo, settings), (r".*/download", _Download, settings), (r".*", _Answer, settings)]
        server = HTTPServer(Application(handlers))
        sockets = bind_sockets(0, "127.0.0.1")
        server.add_sockets(sockets)
        servers.append(server)
        urls[name] = f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
    print(json.dumps(urls), flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        for server in servers:
            await server.close_all_connections()
        print(flush=True)


if __name__ == "__main__":
    asyncio.run(_main())
