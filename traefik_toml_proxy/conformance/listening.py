"""A server on loopback that is one function, called for each connection, and leaves no connection open. I/O: sockets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def answering(
    answer: Answer, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> AsyncIterator[str]:
    """Listen on loopback while the block runs, and answer each connection; yields the URL.

    A connection is closed when ``answer`` returns or its client has gone, and at the end of the block, however far it has
    come: with asyncio's own servers, one that was just accepted, or that is in its TLS handshake, would stay open.

    Args:
        answer: Is cancelled at the end of the block, which raises what it has raised.
        host: The address to listen at.
        tls: Speak TLS.
    """
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()
    transports: set[asyncio.WriteTransport] = set()

    def accept() -> None:
        with contextlib.suppress(BlockingIOError, ConnectionError):  # its client has gone already
            connection, _ = listener.accept()
            tasks.add(loop.create_task(serve(connection)))

    async def serve(connection: socket.socket) -> None:
        task = asyncio.current_task()
        assert task is not None
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        with contextlib.suppress(asyncio.IncompleteReadError, OSError, asyncio.CancelledError):
            transport, _ = await loop.connect_accepted_socket(lambda: protocol, connection, ssl=tls)
            transports.add(transport)
            writer = asyncio.StreamWriter(transport, protocol, reader, loop)
            try:
                await answer(reader, writer)
            finally:
                writer.close()
        tasks.discard(task)  # unless answer has failed: that is raised at the end

    with socket.create_server((host, 0), backlog=100) as listener:
        listener.setblocking(False)
        loop.add_reader(listener, accept)
        try:
            yield f"{'https' if tls else 'http'}://{host}:{listener.getsockname()[1]}"
        finally:
            loop.remove_reader(listener)
            # A task that is cancelled before its first step would never close its connection.
            await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks)
            for transport in transports:
                transport.abort()
            # What was aborted is closed in the next steps of the loop; with TLS, there are two transports.
            for _ in range(3):
                await asyncio.sleep(0)
