"""Cases of websockets (RFC 6455), which Jupyter uses for kernels and terminals. Does I/O through the stage."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from collections.abc import AsyncIterator, Callable

from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application
from tornado.websocket import WebSocketClientConnection, WebSocketHandler, websocket_connect

from ..case import Failed, Group, Level, expect, expect_equal
from ..client import Connection, unverified
from ..stage import Stage

GROUP = Group("websockets")
_R, _E, _B = Level.REQUIRED, Level.EXPECTED, Level.BEYOND

_MIB = 2**20
_BIGGEST = 20 * _MIB


class _Echo(WebSocketHandler):
    """Sends every message back, except for commands.

    ``close CODE REASON`` closes the socket. ``request`` asks for the target and the extensions that arrived, and ``host``
    for the Host and Origin headers.
    """

    def check_origin(self, origin: str) -> bool:  # noqa: ARG002 - the proxy may change the Host
        return True

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        return next((name for name in subprotocols if name == "v1.kernel.websocket.jupyter.org"), None)

    def get_compression_options(self) -> dict[str, object]:
        return {}

    def prepare(self) -> None:
        if "refuse" in self.request.uri:
            self.send_error(403)

    def on_message(self, message: str | bytes) -> None:
        if isinstance(message, str) and message.startswith("close "):
            _, code, reason = message.split(" ", 2)
            self.close(int(code), reason)
        elif message == "request":
            self.write_message(f"{self.request.uri} {self.request.headers.get('Sec-WebSocket-Extensions', '')}")
        elif message == "host":
            self.write_message(f"{self.request.headers['Host']} {self.request.headers.get('Origin')}")
        else:
            self.write_message(message, binary=isinstance(message, bytes))

    def on_close(self) -> None:
        self.application.settings["closed"].append((self.close_code, self.close_reason))


class EchoServer:
    """A backend for websockets; an asynchronous context manager.

    Attributes:
        url: Its target.
        closed: The code and reason of each socket that was closed.
    """

    def __init__(self) -> None:
        self.closed: list[tuple[int | None, str | None]] = []
        self.url = ""

    async def __aenter__(self) -> EchoServer:
        application = Application(
            [(r"/.*", _Echo)], closed=self.closed, websocket_max_message_size=_BIGGEST, websocket_ping_interval=0
        )
        self._server = HTTPServer(application)
        sockets = bind_sockets(0, "127.0.0.1")
        self._server.add_sockets(sockets)
        self.url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.stop()
        await self._server.close_all_connections()


@contextlib.asynccontextmanager
async def echoing(stage: Stage, routespec: str = "/user/ada/") -> AsyncIterator[EchoServer]:
    """Run an echo server, with a route to it."""
    async with EchoServer() as server:
        await stage.add(routespec, server.url)
        yield server


@contextlib.asynccontextmanager
async def connected(
    stage: Stage, target: str, *, compressed: bool = False, subprotocols: list[str] | None = None
) -> AsyncIterator[WebSocketClientConnection]:
    """Open a websocket to ``target`` at the public URL, and close it afterwards."""
    tls: ssl.SSLContext | None = unverified() if stage.options.tls else None
    request = HTTPRequest(f"ws{stage.url.removeprefix('http')}{target}", ssl_options=tls, request_timeout=20)
    socket = await websocket_connect(
        request,
        max_message_size=_BIGGEST,
        compression_options={} if compressed else None,
        subprotocols=subprotocols,
    )
    try:
        yield socket
    finally:
        socket.close()
        closed = asyncio.ensure_future(_until_closed(socket))
        await asyncio.wait([closed], timeout=5)
        closed.cancel()


async def _until_closed(socket: WebSocketClientConnection) -> None:
    while await socket.read_message() is not None:
        pass


async def _echo_of(socket: WebSocketClientConnection, message: str | bytes) -> str | bytes | None:
    await socket.write_message(message, binary=isinstance(message, bytes))
    return await socket.read_message()


@GROUP.case("text", _R, "RFC 6455; configurable-http-proxy test/proxy_spec.js: 'basic WebSocket request'")
async def _text(stage: Stage) -> None:
    """A websocket is opened through the proxy, and text passes in both directions."""
    async with echoing(stage), connected(stage, "/user/ada/ws") as socket:
        for text in ("hello", "ü 秀樹 \x00", ""):
            expect_equal(await _echo_of(socket, text), text, "the echo")


@GROUP.case("binary", _E, "kernels send buffers as binary messages")
async def _binary(stage: Stage) -> None:
    """Binary messages pass in both directions byte for byte."""
    async with echoing(stage), connected(stage, "/user/ada/ws") as socket:
        for size in (0, 1, 125, 126, 65_535, 65_536):
            data = os.urandom(size)
            expect(await _echo_of(socket, data) == data, f"a message of {size} bytes came back changed")


@GROUP.case("target", _E, "the session of a kernel is in the query of its websocket")
async def _target(stage: Stage) -> None:
    """The path, the query and the Host header of a websocket reach the backend unchanged."""
    target = "/user/ada/api/kernels/a%2Fb//c?session_id=x%20y&z"
    async with echoing(stage), connected(stage, target) as socket:
        expect_equal(str(await _echo_of(socket, "request")).split(" ")[0], target, "the target that arrived")
        host = str(await _echo_of(socket, "host")).split(" ")[0]
        expect_equal(host, stage.url.split("//")[1], "the Host that arrived")


async def _open_raw(connection: Connection) -> None:
    """Open a websocket on a plain connection (RFC 6455 section 4.1)."""
    headers = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ]
    await connection.send_head("GET", "/user/ada/ws", headers)
    head = await connection.head()
    expect(" 101" in head.first, f"the response to the handshake is {head.first}")


@GROUP.case("ping", _E, "RFC 6455 section 5.5.2")
async def _ping(stage: Stage) -> None:
    """A ping is answered with a pong that has the same payload."""
    async with echoing(stage), stage.connect() as connection:
        await _open_raw(connection)
        # A final ping frame, masked with zeros. The pong in response is not masked (section 5.2).
        await connection.send(b"\x89\x83\0\0\0\0abc")
        frame = await asyncio.wait_for(connection.reader.readexactly(5), 5)  # noqa: TID251 - not cancelled
        expect_equal(frame, b"\x8a\x03abc", "the frame that came")


@GROUP.case("server-closes", _E, "RFC 6455 section 7.4: the code tells Jupyter why a kernel is gone")
async def _server_closes(stage: Stage) -> None:
    """The code and reason with which the backend closes a websocket reach the client."""
    async with echoing(stage), connected(stage, "/user/ada/ws") as socket:
        expect_equal(await _echo_of(socket, "close 4321 the kernel is gone"), None, "what came after closing")
        expect_equal((socket.close_code, socket.close_reason), (4321, "the kernel is gone"), "code and reason")


@GROUP.case("client-closes", _E, "RFC 6455 section 7.4")
async def _client_closes(stage: Stage) -> None:
    """The code and reason with which the client closes a websocket reach the backend."""
    async with echoing(stage) as server, connected(stage, "/user/ada/ws") as socket:
        await _echo_of(socket, "hello")
        socket.close(4000, "I have to go")
        await _until(lambda: bool(server.closed))
        expect_equal(server.closed, [(4000, "I have to go")], "code and reason")


@GROUP.case("client-vanishes", _E, "laptops are closed")
async def _client_vanishes(stage: Stage) -> None:
    """When the client's connection breaks, the backend's is closed."""
    async with echoing(stage) as server:
        async with stage.connect() as connection:
            await _open_raw(connection)
        await _until(lambda: bool(server.closed))


async def _until(condition: Callable[[], bool], within: float = 5) -> None:
    end = asyncio.get_running_loop().time() + within
    while not condition():
        if asyncio.get_running_loop().time() > end:
            raise Failed(f"the backend had not noticed after {within:g} seconds")
        await asyncio.sleep(0.02)


@GROUP.case("subprotocol", _E, "jupyter-server speaks v1.kernel.websocket.jupyter.org")
async def _subprotocol(stage: Stage) -> None:
    """The subprotocols that a client offers reach the backend, and the backend's choice reaches the client."""
    offered = ["v2.unknown", "v1.kernel.websocket.jupyter.org"]
    async with echoing(stage), connected(stage, "/user/ada/ws", subprotocols=offered) as socket:
        expect_equal(socket.selected_subprotocol, offered[1], "the chosen subprotocol")


@GROUP.case("compression", _E, "RFC 7692: permessage-deflate")
async def _compression(stage: Stage) -> None:
    """Client and backend can negotiate compression, and compressed messages pass."""
    async with echoing(stage), connected(stage, "/user/ada/ws", compressed=True) as socket:
        text = "compress me " * 10_000
        expect_equal(await _echo_of(socket, text), text, "the echo")
        extensions = str(await _echo_of(socket, "request"))
        expect("permessage-deflate" in extensions, "the offer of permessage-deflate did not arrive")


@GROUP.case("large", _E, "plots and data frames are large messages", seconds=60)
async def _large(stage: Stage) -> None:
    """Messages of 16 MiB pass in both directions."""
    async with echoing(stage), connected(stage, "/user/ada/ws") as socket:
        data = os.urandom(16 * _MIB)
        expect(await _echo_of(socket, data) == data, "it came back changed, or not at all")


@GROUP.case("idle", _E, "people pause to think, and long computations print nothing", seconds=60)
async def _idle(stage: Stage) -> None:
    """A websocket without messages for 12 seconds stays open."""
    async with echoing(stage), connected(stage, "/user/ada/ws") as socket:
        await _echo_of(socket, "before")
        await asyncio.sleep(12)
        expect_equal(await _echo_of(socket, "after"), "after", "the echo")


@GROUP.case("refused", _E, "JupyterHub responds with 403 to a websocket of another user")
async def _refused(stage: Stage) -> None:
    """When the backend refuses a websocket, the client gets its status."""
    async with echoing(stage):
        try:
            async with connected(stage, "/user/ada/refuse"):
                raise Failed("it was opened")
        except HTTPClientError as error:
            expect_equal(error.code, 403, "the status")


@GROUP.case("many", _E, "each open notebook has one or more", seconds=60)
async def _many(stage: Stage) -> None:
    """A hundred websockets are open at the same time, and each gets its own messages."""
    async with echoing(stage), contextlib.AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(connected(stage, f"/user/ada/{number}")) for number in range(100)]
        echoes = await asyncio.gather(*(_echo_of(socket, str(number)) for number, socket in enumerate(sockets)))
        expect_equal(echoes, [str(number) for number in range(100)], "the echoes")
