"""examples/in-process with its proxy in a process of its own: a real Hub is killed and started again, and nobody notices."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path

import pytest
from e2e.apart import PROXY_STAYS, end_proxy, proxy_of
from support.examples import install
from support.hub import RealHub
from support.ports import free_port
from support.processes import alive
from support.waiting import eventually, meanwhile, within
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application
from tornado.websocket import WebSocketHandler, websocket_connect

pytestmark = pytest.mark.timeout(180)

MORE = """
c.Proxy.extra_routes = {{"/echo": {echo!r}}}
"""


class Echo(WebSocketHandler):
    """Sends every message back."""

    def on_message(self, message: str | bytes) -> None:
        """Send it back."""
        self.write_message(message)

    def check_origin(self, origin: str) -> bool:  # noqa: ARG002 - it is behind a proxy
        """Accept all."""
        return True


async def knock(url: str) -> None:
    """Open connections, and close them, one after another; raises when one is refused."""
    host, port = url.removeprefix("http://").split(":")
    while True:
        _, writer = await asyncio.open_connection(host, int(port))
        writer.close()
        await asyncio.sleep(0.01)


async def test_nobody_notices_that_the_hub_is_killed_and_started_again(tmp_path: Path) -> None:
    """Requests, one that takes long, and a websocket: none fails. After that, the proxy itself is killed."""
    url = f"http://127.0.0.1:{free_port()}"
    config = install("in-process/jupyterhub_config.py", tmp_path / "config.py", changes={"http://127.0.0.1:8000": url})
    (listening,) = bind_sockets(0, "127.0.0.1")
    echo = HTTPServer(Application([("/echo/ws", Echo)]))
    echo.add_sockets([listening])
    more = PROXY_STAYS + MORE.format(echo=f"http://127.0.0.1:{listening.getsockname()[1]}")
    try:
        async with contextlib.AsyncExitStack() as stack, RealHub(tmp_path, config, url, more=more) as hub:
            server = await hub.start_server("ada")
            process = proxy_of(tmp_path)
            # When there is no Hub any more that would start it again. It is not marked as started by the Hub.
            stack.push_async_callback(end_proxy, tmp_path)
            socket = await websocket_connect(f"{url.replace('http', 'ws')}/echo/ws")
            answers: list[int] = []
            slow: list[int] = []

            async def ask() -> None:
                while True:
                    answers.append(await hub.server_of("ada"))

            async def ask_slowly() -> None:
                while True:
                    slow.append(await hub.server_of("ada", "x?seconds=2"))

            async with meanwhile(ask(), ask(), ask_slowly()):
                for kill in (hub.kill_alone, hub.stop):
                    await eventually(lambda: len(answers) > 20)
                    await kill()
                    asked = len(answers)
                    await eventually(lambda: len(answers) > asked + 20)  # noqa: B023 - called at once
                    await hub.start()
                    await hub.start_server("bob")
                    await socket.write_message("still there?")
                    assert await within(20, socket.read_message()) == "still there?"
                    await hub.stop_server("bob")
                    asked_slowly = len(slow)
                    await eventually(lambda: len(slow) > asked_slowly + 1, within=20)  # noqa: B023 - called at once
            assert {*answers, *slow} == {server}
            assert proxy_of(tmp_path) == process
            assert hub.log.count("Taking over the proxy's process of the last Hub") == 2

            # The port stays open, although this Hub has not opened it: it was handed the socket.
            async with meanwhile(knock(url)):
                os.kill(process, signal.SIGKILL)
                await eventually(lambda: not alive(process))
                assert await within(30, hub.server_of("ada")) == server
            assert "it has ended (it was started by an earlier Hub" in hub.log
            socket.close()
    finally:
        echo.stop()
