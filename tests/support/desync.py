"""What has made two programs disagree about where a request ends, and real servers that tell which requests have arrived."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders, HTTPServerRequest, ResponseStartLine
from tornado.netutil import bind_sockets

from traefik_toml_proxy.conformance.client import Connection
from traefik_toml_proxy.inprocess.heads import BrokenRequest, Request
from traefik_toml_proxy.inprocess.readers import Mark, RequestReader

from .ports import free_port
from .waiting import PATIENCE, eventually, within

HIDDEN = b"GET /user/ada/hidden HTTP/1.1\r\nHost: h\r\n\r\n"
HOST = b"Host: h\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
# Each is a header section and what comes after it, as in published attacks on pairs of programs.
ATTACKS = [
    (HOST + b"Content-Length: 6\r\n" + CHUNKED, b"0\r\n\r\nG"),
    (HOST + CHUNKED + b"Content-Length: 4\r\n", b"5c\r\n" + HIDDEN),
    (HOST + b"Content-Length: 0\r\nContent-Length: 42\r\n", HIDDEN),
    (HOST + b"Content-Length: 42\r\nContent-Length: 0\r\n", HIDDEN),
    (HOST + b"Content-Length: 0, 42\r\n", HIDDEN),
    (HOST + b"Content-Length: +0\r\n", HIDDEN),
    (HOST + b"Content-Length : 42\r\n", HIDDEN),
    (HOST + b"Content-Length:\x0b42\r\n", HIDDEN),
    (HOST + b"X: y\nContent-Length: 42\r\n", HIDDEN),
    (HOST + b"X: y\rContent-Length: 42\r\n", HIDDEN),
    (HOST + b"X: y\r\n Content-Length: 42\r\n", HIDDEN),
    (HOST + b"Content_Length: 42\r\n", b""),
    (HOST + b"Transfer_Encoding: chunked\r\nContent-Length: 5\r\n", b"0\r\n\r\n"),
    (HOST + b"Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n" + HIDDEN),
    (HOST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n", b"0\r\n\r\n" + HIDDEN),
    (HOST + b"Transfer-Encoding:\x0bchunked\r\n", b"0\r\n\r\n" + HIDDEN),
    (HOST + b"Transfer-Encoding\t: chunked\r\n", b"0\r\n\r\n" + HIDDEN),
    (HOST + b" Transfer-Encoding: chunked\r\n", b"0\r\n\r\n" + HIDDEN),
    (HOST + b"Transfer-Encoding: identity, chunked\r\n", b"0\r\n\r\n" + HIDDEN),
    (HOST + CHUNKED, b"5\r\nhello\r\n0\r\n\r\n"),
    (HOST + CHUNKED, b"2c;\n" + HIDDEN + b"\r\n0\r\n\r\n"),
    (HOST + CHUNKED, b"0;\n\r\n" + HIDDEN),
    (HOST + CHUNKED, b"00000000000000000\r\n\r\n" + HIDDEN),
    (HOST + CHUNKED, b"0 \r\n\r\n" + HIDDEN),
    (HOST + CHUNKED, b"1\r\nZZZ0\r\n\r\n" + HIDDEN),
    (HOST + CHUNKED, b"FFFFFFFFFFFFFFFF1\r\nx\r\n0\r\n\r\n" + HIDDEN),
    (HOST + CHUNKED, b"0\r\nX: y\r\nContent-Length: 42\r\n\r\n"),
    (HOST + CHUNKED, b"0\r\n" + HIDDEN),
    (HOST + CHUNKED, b"0\n\n" + HIDDEN),
    (HOST + b"Connection: content-length\r\nContent-Length: 42\r\n", HIDDEN),
    (HOST + b"Connection: transfer-encoding\r\n" + CHUNKED, b"0\r\n\r\n"),
    (HOST + b"Expect: 100-continue\r\nContent-Length: 42\r\n", HIDDEN),
    (HOST + b"Connection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 42\r\n", HIDDEN),
    (HOST + b"Upgrade: websocket\r\nConnection: upgrade\r\nContent-Length: 42\r\n", HIDDEN),
    (HOST + HOST, b""),
    (b"Host: h\r\nHost : other\r\n", b""),
    (b"Content-Length: 42\r\n", HIDDEN),
]


class Server:
    """A real server that writes the target of each request into a file.

    Attributes:
        port: Where it listens.
        log: That file, a line for each request.
    """

    def __init__(self, port: int, log: Path) -> None:
        """Take its port, and its file, which need not be there yet."""
        self.port = port
        self.log = log
        self._read = 0
        self._arrived: list[str] = []

    def arrived(self) -> list[str]:
        """Return the targets of all requests that have arrived, in their order."""
        if self.log.exists():
            with self.log.open("rb") as file:
                file.seek(self._read)
                lines = file.read()
            lines = lines[: lines.rfind(b"\n") + 1]
            self._read += len(lines)
            self._arrived += lines.decode("latin-1").split("\n")[:-1]
        return self._arrived


@contextlib.asynccontextmanager
async def tornado(folder: Path) -> AsyncIterator[Server]:
    """Run what JupyterHub and Jupyter run on."""
    with (folder / "tornado.log").open("wb", buffering=0) as log:

        def answer(request: HTTPServerRequest) -> None:
            log.write((request.uri or "").encode("latin-1") + b"\n")
            assert request.connection is not None
            head = HTTPHeaders({"Content-Length": "0"})
            request.connection.write_headers(ResponseStartLine("HTTP/1.1", 200, "OK"), head)
            request.connection.finish()

        server = HTTPServer(answer)
        [listening] = bind_sockets(0, "127.0.0.1")
        server.add_socket(listening)
        yield Server(listening.getsockname()[1], Path(log.name))
        server.stop()
        await server.close_all_connections()


_NGINX = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log /dev/null;
events {{}}
http {{
    # Of a request that it refuses before the target, like one with an odd method, it knows none.
    map $request_uri $known {{ '' 0; default 1; }}
    log_format target escape=none '$request_uri'; access_log {folder}/nginx.log target if=$known;
    underscores_in_headers on; client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
    uwsgi_temp_path {folder}; scgi_temp_path {folder};
    server {{ listen 127.0.0.1:{port}; location / {{ return 200; }} }}
}}
"""


@contextlib.asynccontextmanager
async def nginx(folder: Path) -> AsyncIterator[Server]:
    """Run nginx, which reads HTTP in its own way."""
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin:/bin")
    if program is None:
        pytest.skip("nginx is not installed")
    port = free_port()
    config = folder / "nginx.conf"
    config.write_text(_NGINX.format(folder=folder, port=port))
    process = await asyncio.create_subprocess_exec(program, "-c", str(config), "-e", "/dev/null")

    async def listens() -> bool:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return True
        return False

    try:
        await eventually(listens, within=20)
        yield Server(port, folder / "nginx.log")
    finally:
        process.terminate()
        await process.wait()


def understood(text: bytes) -> list[str]:
    """Return the targets of the requests that the proxy sees, also of one whose body it refuses later."""
    reader, targets = RequestReader(), []
    reader.receive(text)
    with contextlib.suppress(BrokenRequest):
        while (event := reader.read()) is not Mark.MORE:
            if isinstance(event, Request):
                targets.append(event.target.decode("latin-1"))
                if event.upgrade:
                    return targets
            elif event is Mark.END:
                reader.next_request()
    return targets


async def send(public_url: str, text: bytes) -> None:
    """Send it as a client that sends nothing more, and take all answers."""
    async with Connection(public_url) as connection:
        with contextlib.suppress(ConnectionError, TimeoutError):
            await connection.send(text)
            connection.writer.write_eof()
            await within(5 * PATIENCE, connection.reader.read())


async def ask(public_url: str, target: str) -> tuple[int, bytes]:
    """Return the status and the body of an answer that another client gets."""
    async with Connection(public_url) as connection:
        answer = await within(20, connection.request("GET", target))
    return answer.status, answer.body
