"""Has an engine serve the connections to sockets that listen. Does I/O."""

from __future__ import annotations

import functools
import socket
import ssl
from collections.abc import Callable

from .accepting import AcceptingListener
from .engine import Engine


async def serve(
    engine: Engine, sockets: list[socket.socket], context: Callable[[], ssl.SSLContext] | None, port: int | None
) -> None:
    """Accept connections from now on, on the loop that runs; the engine closes the sockets in the end.

    Args:
        engine: Serves them.
        sockets: They listen.
        context: Returns the TLS for the next connection; None for plain http.
        port: The port to which all are sent for https; None to serve them here.
    """
    make = functools.partial(engine.make_client, is_tls=context is not None, port=port)
    for one in sockets:
        engine.add_listener(AcceptingListener(one, context, make, engine.clients))
