"""A user's server that tells its users nothing: websockets with and without pings, and short answers.

It runs in the process of a test, or, as ``python -m support.pinging_server``, as a server that JupyterHub starts. It never
reports its own activity to the Hub.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

from tornado.httpserver import HTTPServer
from tornado.ioloop import PeriodicCallback
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketClosedError, WebSocketHandler

PING_SECONDS = 0.2


class PingingServer:
    """Answers below any prefix: ``…/ws`` is a websocket that echoes, all else is how many pongs have arrived.

    Attributes:
        url: Its target.
        pongs: How many pongs have arrived.
    """

    def __init__(self, *, pinged: bool = True) -> None:
        self.pongs = 0
        self.url = ""
        server = self

        class Socket(WebSocketHandler):
            def open(self) -> None:
                # Tornado's own pings close a websocket whose pong is late, as it is on a busy machine.
                self.pinging = PeriodicCallback(self.send_ping, PING_SECONDS * 1000)
                if pinged:
                    self.pinging.start()

            def send_ping(self) -> None:
                with contextlib.suppress(WebSocketClosedError):
                    self.ping()

            def on_close(self) -> None:
                self.pinging.stop()

            def check_origin(self, origin: str) -> bool:  # noqa: ARG002
                return True

            def on_message(self, message: str | bytes) -> None:
                self.write_message(message)

            def on_pong(self, data: bytes) -> None:  # noqa: ARG002
                server.pongs += 1

        class Pongs(RequestHandler):
            def get(self) -> None:
                self.write(str(server.pongs))

        self.application = Application([(r".*/ws", Socket), (r".*", Pongs)])

    @contextlib.asynccontextmanager
    async def listening(
        self, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
    ) -> AsyncIterator[PingingServer]:
        """Listen while the block runs."""
        http = HTTPServer(self.application, ssl_options=tls)
        sockets = bind_sockets(port, host)
        http.add_sockets(sockets)
        name = f"[{host}]" if ":" in host else host
        self.url = f"http{'s' if tls else ''}://{name}:{sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            http.stop()
            await http.close_all_connections()


async def _main() -> None:
    where = urlsplit(os.environ["JUPYTERHUB_SERVICE_URL"])
    assert where.hostname
    async with PingingServer(pinged="pinged" in where.path).listening(where.hostname, where.port or 80):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main())
