"""Nothing that a client sends makes a request appear at a real server that the proxy has not seen: tornado, and nginx."""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, Phase, given, settings
from support.http_strategies import messages
from support.in_process import connect
from support.ports import free_port
from support.waiting import PATIENCE, eventually, within
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders, HTTPServerRequest, ResponseStartLine
from tornado.netutil import bind_sockets

from traefik_toml_proxy.inprocess.heads import BrokenRequest, Request
from traefik_toml_proxy.inprocess.readers import Mark, RequestReader
from traefik_toml_proxy.proxies.inprocess import InProcessProxy

pytestmark = pytest.mark.timeout(180)

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
# What never arrives of these, by hand: no fault of the proxy's reader can hide in what it has understood. None of them has a
# second request in it, and RFC 9112 (sections 3.2, 5 and 6) has the head of these refused.
NEVER = {"/user/ada/hidden", *(f"/user/ada/{number}" for number in (*range(11), *range(13, 19), 34, 35, 36))}
ODD = [
    b"\r",
    b"\n",
    b"\r\n",
    b"\0",
    b" ",
    b"\t",
    b"\x0b",
    b":",
    b",",
    b"\xff",
    b"0",
    b";",
    b"\r\n\r\n",
    CHUNKED,
    HIDDEN,
]

Sent = Callable[[], "set[str]"]


@contextlib.asynccontextmanager
async def tornado(folder: Path) -> AsyncIterator[tuple[int, Sent]]:  # noqa: ARG001 - nginx needs it
    """Run what JupyterHub and Jupyter run on; yields its port, and what tells the targets that have arrived."""
    arrived: set[str] = set()

    def answer(request: HTTPServerRequest) -> None:
        arrived.add(request.uri or "")
        assert request.connection is not None
        request.connection.write_headers(ResponseStartLine("HTTP/1.1", 200, "OK"), HTTPHeaders({"Content-Length": "0"}))
        request.connection.finish()

    server = HTTPServer(answer)
    [listening] = bind_sockets(0, "127.0.0.1")
    server.add_socket(listening)
    yield listening.getsockname()[1], lambda: arrived
    server.stop()
    await server.close_all_connections()


_NGINX = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log /dev/null;
events {{}}
http {{
    log_format target escape=none '$request_uri'; access_log {folder}/access.log target; client_body_temp_path {folder};
    underscores_in_headers on; proxy_temp_path {folder}; fastcgi_temp_path {folder}; uwsgi_temp_path {folder};
    scgi_temp_path {folder};
    server {{ listen 127.0.0.1:{port}; location / {{ return 200; }} }}
}}
"""


@contextlib.asynccontextmanager
async def nginx(folder: Path) -> AsyncIterator[tuple[int, Sent]]:
    """Run nginx, which reads HTTP in its own way."""
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin:/bin")
    if program is None:
        pytest.skip("nginx is not installed")
    port = free_port()
    config, log = folder / "nginx.conf", folder / "access.log"
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
        yield port, lambda: set(log.read_text().split())
    finally:
        process.terminate()
        await process.wait()


def understood(text: bytes) -> set[str]:
    """Return the targets of the requests that the proxy sees, also of one whose body it refuses later."""
    reader, targets = RequestReader(), set()
    reader.receive(text)
    with contextlib.suppress(BrokenRequest):
        while (event := reader.read()) is not Mark.MORE:
            if isinstance(event, Request):
                targets.add(event.target.decode("latin-1"))
                if event.upgrade:
                    return targets
            elif event is Mark.END:
                reader.next_request()
    return targets


def attacks() -> list[bytes]:
    """Return all attacks, and many that are nearly these; the same ones each time."""
    texts = [fields + b"\r\n" + after for fields, after in ATTACKS]
    dice = random.Random(7230)
    for _ in range(250):
        text = dice.choice(texts[:37])
        at = dice.randrange(len(text))
        texts.append(text[:at] + dice.choice(ODD) + text[at + dice.choice([0, 0, 1]) :])
    return [b"POST /user/ada/%d HTTP/1.1\r\n%b" % (number, text) for number, text in enumerate(texts)]


@pytest_asyncio.fixture(params=[tornado, nginx])
async def server(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[int, Sent]]:
    """A real server."""
    async with request.param(tmp_path) as running:
        yield running


async def send(in_process: InProcessProxy, text: bytes) -> None:
    """Send it as a client that sends nothing more, and take all answers."""
    async with connect(in_process) as connection:
        with contextlib.suppress(ConnectionError, TimeoutError):
            await connection.send(text)
            connection.writer.write_eof()
            await within(5 * PATIENCE, connection.reader.read())


async def test_only_what_was_understood_arrives(in_process: InProcessProxy, server: tuple[int, Sent]) -> None:
    """Over connections to the server that all clients share, one after another; and all that is whole does arrive."""
    texts = attacks()
    expected: set[str] = set()
    port, arrived = server
    await in_process.add_route("/user/ada/", f"http://127.0.0.1:{port}", {})
    for number, text in enumerate(texts):
        expected |= understood(text)
        await send(in_process, text)
        async with connect(in_process) as connection:
            after = await within(20, connection.request("GET", f"/user/ada/after-{number}"))
            assert (after.status, after.body) == (200, b""), text
        if number == len(ATTACKS) - 1:
            await eventually(lambda: f"/user/ada/after-{len(ATTACKS) - 1}" in arrived())
            assert arrived() & NEVER == set()
    expected |= {f"/user/ada/after-{number}" for number in range(len(texts))}
    await eventually(lambda: f"/user/ada/after-{len(texts) - 1}" in arrived())

    assert arrived() - expected == set()
    assert {f"/user/ada/{number}" for number in (11, 19, 26, 29, 30)} <= arrived()


@given(text=messages())
@settings(
    max_examples=150,
    deadline=None,
    phases=(Phase.reuse, Phase.generate),  # each attempt to shrink one may wait for a client that has no answer
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
async def test_only_what_was_understood_arrives_of_any_request(
    in_process: InProcessProxy, server: tuple[int, Sent], text: bytes
) -> None:
    """The request inside another one has a name of its own each time, so that it is not taken for one of before."""
    port, arrived = server
    await in_process.add_route("/", f"http://127.0.0.1:{port}", {})
    before = arrived()
    number = len(before)
    text = text.replace(b"/hidden", b"/%06x" % number)
    await send(in_process, text)
    async with connect(in_process) as connection:
        after = await within(20, connection.request("GET", f"/after-{number}"))
    assert (after.status, after.body) == (200, b"")
    await eventually(lambda: f"/after-{number}" in arrived())

    assert arrived() - before - {f"/after-{number}"} <= understood(text)
