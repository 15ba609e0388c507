"""Has an engine serve the connections to sockets that listen. Does I/O."""

from __future__ import annotations

import asyncio
import socket
import ssl

from .accepting import PlainListener, TlsListener
from .engine import Engine
from .listeners import BACKLOG


async def serve(engine: Engine, sockets: list[socket.socket], context: ssl.SSLContext | None, port: int | None) -> None:
    """Accept connections from now on, on the loop that runs; the engine closes the sockets in the end.

    Args:
        engine: Serves them.
        sockets: They listen, and do not block.
        context: The TLS; None for plain http.
        port: The port to which all are sent for https; None to serve them here.
    """
    loop = asyncio.get_running_loop()

    def make() -> asyncio.Protocol:
        return engine.make_client() if port is None else engine.make_redirected(port)

    for one in sockets:
        if context is not None:
            engine.add_listener(TlsListener(one, context, make, engine.has_room_besides))
            continue
        listen = loop.create_unix_server if one.family == socket.AF_UNIX else loop.create_server
        engine.add_listener(PlainListener(await listen(make, sock=one, backlog=BACKLOG), one))
