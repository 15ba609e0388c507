"""InProcessProxy and servers that are hard to reach, or that answer early and leave."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from prometheus_client import REGISTRY
from support.in_process import InProcessMaker, ServerMaker, connect
from support.waiting import PATIENCE, eventually, within

from traefik_toml_proxy.inprocess import names
from traefik_toml_proxy.inprocess.sockets import reset_when_closed
from traefik_toml_proxy.proxies.inprocess import InProcessProxy

pytestmark = pytest.mark.timeout(120)

NAME = "traefik_toml_proxy_requests_total"
TOO_LARGE = b"HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbig\n"


def url_of(path: Path) -> str:
    """Return the target of a unix socket."""
    return f"http+unix://{quote(str(path), safe='')}"


class SlowNames:
    """Look-ups of names that end in ``.slow`` take until they are released, and then fail.

    Attributes:
        asked: Those that were looked up.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.released = threading.Event()
        self._look_up = socket.getaddrinfo

    def __call__(self, host: Any, *others: Any, **more: Any) -> Any:
        """See socket.getaddrinfo."""
        if not str(host).endswith(".slow"):
            return self._look_up(host, *others, **more)
        self.asked.append(host)
        self.released.wait(60)
        raise socket.gaierror(socket.EAI_AGAIN, "no answer")


@pytest.fixture
def slow_names(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowNames]:
    """As if a name server did not answer."""
    found = SlowNames()
    monkeypatch.setattr(socket, "getaddrinfo", found)
    yield found
    found.released.set()


async def add_named(proxy: InProcessProxy, serve: ServerMaker, routespec: str) -> None:
    """Add a route to a server by its name."""
    server = await serve(proxy, routespec)
    await proxy.add_route(routespec, server.url.replace("127.0.0.1", "localhost"), {})


async def test_a_name_that_takes_long_holds_up_nobody_else(
    make_in_process: InProcessMaker, serve: ServerMaker, slow_names: SlowNames, caplog: pytest.LogCaptureFixture
) -> None:
    """It is looked up once for all who ask; the stop waits for nothing, and nothing is logged but the failed requests."""
    proxy = make_in_process()
    await proxy.start()
    await proxy.add_route("/user/ada/", "http://hub.slow:80", {})
    await add_named(proxy, serve, "/user/bob/")
    async with contextlib.AsyncExitStack() as stack:
        crowd = [await stack.enter_async_context(connect(proxy)) for _ in range(40)]
        for one in crowd[:-1]:
            await one.send_head("GET", "/user/ada/")
        await eventually(lambda: bool(slow_names.asked))
        began = time.monotonic()
        assert (await within(20, crowd[-1].request("GET", "/user/bob/"))).status == 200
        assert time.monotonic() - began < 5 * PATIENCE
        slow_names.released.set()
        assert {(await within(20, one.response())).status for one in crowd[:-1]} == {503}
        assert slow_names.asked == ["hub.slow"]

        slow_names.released.clear()
        for one in crowd[:-1]:
            await one.send_head("GET", "/user/ada/")
        await eventually(lambda: len(slow_names.asked) == 2)
        began = time.monotonic()
        await proxy.stop()
        assert time.monotonic() - began < 10 * PATIENCE
    failed = [line for line in caplog.messages if "its name cannot be resolved" in line]
    assert len(failed) == 39
    assert [line for line in caplog.messages if line not in failed] == []


async def test_more_slow_names_than_are_looked_up_at_once_wait_for_each_other(
    make_in_process: InProcessMaker, slow_names: SlowNames, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is a limit to the threads."""
    monkeypatch.setattr(names, "_MOST_AT_ONCE", 3)
    proxy = make_in_process()
    await proxy.start()
    async with contextlib.AsyncExitStack() as stack:
        for number in range(5):
            await proxy.add_route(f"/user/{number}/", f"http://hub{number}.slow:80", {})
            one = await stack.enter_async_context(connect(proxy))
            await one.send_head("GET", f"/user/{number}/")
            stack.push_async_callback(one.response)
        await eventually(lambda: len(slow_names.asked) == 3)
        slow_names.released.set()
        await eventually(lambda: len(slow_names.asked) == 5)


async def test_whatever_goes_wrong_with_a_look_up_the_client_is_answered(
    make_in_process: InProcessMaker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """There may be too many threads, or no memory left; the next look-up is another one."""
    real = socket.getaddrinfo

    def fail(host: Any, *others: Any, **more: Any) -> Any:
        if host == "hub.example":
            raise MemoryError("no memory")
        return real(host, *others, **more)

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    proxy = make_in_process()
    await proxy.start()
    await proxy.add_route("/user/ada/", "http://hub.example:80", {})

    class NoThread(threading.Thread):
        def start(self) -> None:
            raise RuntimeError("can't start new thread")

    async with connect(proxy) as connection:
        for _ in range(2):
            assert (await within(20, connection.request("GET", "/user/ada/"))).status == 503
        monkeypatch.setattr(threading, "Thread", NoThread)
        assert (await within(20, connection.request("GET", "/user/ada/"))).status == 503
        monkeypatch.undo()
    assert [line.partition(" failed: ")[2] for line in caplog.messages] == [
        "it cannot be looked up (MemoryError: no memory)",
        "it cannot be looked up (MemoryError: no memory)",
        "can't start new thread",
    ]


async def test_a_name_with_several_addresses(
    make_in_process: InProcessMaker, serve: ServerMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are tried one after another; the last failure is the reason."""
    dead = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]
    real = socket.getaddrinfo
    with socket.socket() as taken:
        taken.bind(("127.0.0.2", 0))  # nobody listens there

        def look_up(host: Any, *others: Any, **more: Any) -> Any:
            if host != "hub.example":
                return real(host, *others, **more)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.2", 0)), *dead]

        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        proxy = make_in_process()
        await proxy.start()
        server = await serve(proxy)
        await proxy.add_route("/user/ada/", server.url.replace("127.0.0.1", "hub.example"), {})
        await proxy.add_route("/user/bob/", f"http://hub.example:{taken.getsockname()[1]}", {})
        async with connect(proxy) as connection:
            assert (await within(20, connection.request("GET", "/user/ada/"))).status == 200
            assert (await within(20, connection.request("GET", "/user/bob/"))).status == 503


async def test_a_unix_socket_with_a_full_backlog_is_waited_for(
    make_in_process: InProcessMaker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A server may be busy for a moment. Linux does not wait there, as it does with TCP."""
    path = tmp_path / "server.sock"
    proxy = make_in_process()
    await proxy.start()
    await proxy.add_route("/user/ada/", url_of(path), {})
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.socket(socket.AF_UNIX))
        listening.bind(str(path))
        listening.listen(0)
        waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
        waiting.connect(str(path))
        with socket.socket(socket.AF_UNIX) as one_more:
            one_more.setblocking(False)
            with pytest.raises(BlockingIOError):
                one_more.connect(str(path))
        async with connect(proxy) as connection:
            await connection.send_head("GET", "/user/ada/")
            await asyncio.sleep(0.2)  # for some attempts
            listening.setblocking(False)
            loop = asyncio.get_running_loop()
            for _ in range(2):
                accepted, _ = await within(20, loop.sock_accept(listening))
                stack.callback(accepted.close)
            await within(20, loop.sock_recv(accepted, 10_000))
            accepted.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            assert (await within(20, connection.response())).body == b"ok"
    assert caplog.messages == []


def answer_early(listening: socket.socket, times: int) -> None:
    """Answer after the head, and close with the rest of the request unread."""
    for _ in range(times):
        connection, _ = listening.accept()
        with connection, contextlib.suppress(OSError):
            connection.settimeout(20)
            head = b""
            while b"\r\n\r\n" not in head:
                head += connection.recv(1000)
            connection.sendall(TOO_LARGE)


@pytest.mark.parametrize("is_unix", [False, True])
@pytest.mark.parametrize("size", [1000, 1_000_000])
async def test_an_answer_before_the_body_reaches_the_client(
    make_in_process: InProcessMaker, tmp_path: Path, size: int, is_unix: bool
) -> None:
    """RFC 9110 section 7.5, RFC 9112 section 9.3: even if sending the rest to the server breaks the connection."""
    listening = socket.socket(socket.AF_UNIX if is_unix else socket.AF_INET)
    path = tmp_path / "server.sock"
    listening.bind(str(path) if is_unix else ("127.0.0.1", 0))
    listening.listen()
    listening.settimeout(20)
    proxy = make_in_process()
    await proxy.start()
    url = url_of(path) if is_unix else f"http://127.0.0.1:{listening.getsockname()[1]}"
    await proxy.add_route("/user/ada/", url, {})
    times = 20
    with listening:
        serving = asyncio.ensure_future(asyncio.to_thread(answer_early, listening, times))
        for _ in range(times):
            async with connect(proxy) as connection:
                await connection.send_head("POST", "/user/ada/", [("Content-Length", str(size))])
                connection.writer.write(b"x" * size)
                assert (await within(20, connection.head())).first.startswith("HTTP/1.1 413 ")
        await within(20, serving)


async def test_no_request_goes_to_whoever_had_the_address_before(in_process: InProcessProxy) -> None:
    """Over a connection that the old server, whose route is gone, has kept open: a process that it has left, say."""
    asked: list[str] = []

    async def start(name: str, port: int) -> asyncio.Server:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while await reader.readuntil(b"\r\n\r\n"):
                asked.append(name)
                writer.write(b"HTTP/1.1 200 Yes\r\nContent-Length: 0\r\n\r\n")

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                await answer(reader, writer)
            writer.close()

        return await asyncio.start_server(serve, "127.0.0.1", port)

    async with connect(in_process) as connection:
        bobs = await start("bob", 0)
        port = bobs.sockets[0].getsockname()[1]
        await in_process.add_route("/user/bob/", f"http://127.0.0.1:{port}", {})
        for _ in range(2):
            assert (await within(20, connection.request("GET", "/user/bob/"))).status == 200
        bobs.close()  # but not its connections
        await in_process.delete_route("/user/bob/")
        adas = await start("ada", port)
        await in_process.add_route("/user/ada/", f"http://127.0.0.1:{port}", {})
        assert (await within(20, connection.request("GET", "/user/ada/"))).status == 200
        adas.close()

    assert asked == ["bob", "bob", "ada"]


@pytest.mark.parametrize(
    ("change", "status", "old", "new"), [("gone", 503, 1, 0), ("data", 200, 2, 0), ("moved", 200, 1, 1)]
)
async def test_no_request_is_sent_again_to_whoever_has_the_address_now(
    in_process: InProcessProxy,
    serve: ServerMaker,
    caplog: pytest.LogCaptureFixture,
    change: str,
    status: int,
    old: int,
    new: int,
) -> None:
    """But to the same server if only the data of its route have changed, and to another one if the route leads there now."""
    asked = list[bytes]()
    at_rest = asyncio.Event()

    async def answer_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            asked.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(b"HTTP/1.1 200 Yes\r\nContent-Length: 0\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n")  # which is not answered, as if it had closed before
            at_rest.set()
            await changed.wait()
        writer.close()

    changed = asyncio.Event()
    another = await serve(in_process, "/another/")
    server = await asyncio.start_server(answer_once, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    await in_process.add_route("/user/bob/", url, {"user": "bob"})
    async with connect(in_process) as connection:
        await within(20, connection.request("GET", "/user/bob/"))
        asking = asyncio.ensure_future(connection.request("GET", "/user/bob/again"))
        await within(20, at_rest.wait())
        if change == "gone":
            await in_process.delete_route("/user/bob/")
            await in_process.add_route("/user/ada/", url, {"user": "ada"})
        elif change == "data":
            await in_process.add_route("/user/bob/", url, {"user": "bob", "more": 1})
        else:
            await in_process.add_route("/user/bob/", another.url, {"user": "bob"})
        changed.set()
        answered = await within(20, asking)
    server.close()

    assert (answered.status, len(asked), len(another.exchanges)) == (status, old, new)
    assert ("its route was deleted while it waited" in caplog.text) == (change == "gone")


async def test_a_websocket_is_over_when_its_server_resets_it(
    make_in_process: InProcessMaker, caplog: pytest.LogCaptureFixture
) -> None:
    """The client is told by the end of the connection, and the access log by a line."""
    caplog.set_level("INFO")
    proxy = make_in_process(access_log=True)
    await proxy.start()

    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 101 Yes\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        await reader.readexactly(5)
        reset_when_closed(writer.transport)  # type: ignore[arg-type]
        writer.transport.abort()

    server = await asyncio.start_server(reset, "127.0.0.1", 0)
    await proxy.add_route("/user/ada/", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", {})
    async with connect(proxy) as connection:
        await connection.send_head("GET", "/user/ada/", [("Connection", "Upgrade"), ("Upgrade", "websocket")])
        assert (await within(20, connection.head())).first.startswith("HTTP/1.1 101 ")
        await connection.send(b"frame")
        assert await within(20, connection.reader.read()) == b""
        await connection.send(b"another")
        await eventually(lambda: "GET '/user/ada/' (route '/user/ada/'): 101, " in caplog.text)
    server.close()


async def test_an_answer_of_which_nothing_was_sent_is_none(
    make_in_process: InProcessMaker, caplog: pytest.LogCaptureFixture
) -> None:
    """It broke off at once: the client is told 503, and that is what is logged and counted."""
    caplog.set_level("INFO")
    proxy = make_in_process(access_log=True)
    await proxy.start()

    async def break_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 Yes\r\nTransfer-Encoding: chunked\r\n\r\nno size\r\n")
        writer.close()

    server = await asyncio.start_server(break_off, "127.0.0.1", 0)
    await proxy.add_route("/user/ada/", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", {"user": "ada"})
    async with connect(proxy) as connection:
        assert (await within(20, connection.request("GET", "/user/ada/"))).status == 503
    server.close()
    await eventually(lambda: "GET '/user/ada/' (route '/user/ada/'): no answer, " in caplog.text)
    counted = {digit: REGISTRY.get_sample_value(NAME, {"route": "user", "status": f"{digit}xx"}) for digit in "25"}

    assert counted == {"2": 0, "5": 1}
