"""A server that is one function, called for each connection, and leaves no connection open. I/O: sockets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import cast

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def answering(
    answer: Answer,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    tls: ssl.SSLContext | None = None,
    limit: int = 2**16,
) -> AsyncIterator[str]:
    """Listen while the block runs, and answer each connection; yields the URL.

    A connection is closed when ``answer`` returns or its client has gone, and at the end of the block, however far it has
    come: with asyncio's own servers, one that was just accepted, or that is in its TLS handshake, would stay open.

    Args:
        answer: Is cancelled at the end of the block. What it raises is told to the event loop.
        host: The address to listen at, on loopback.
        port: The port; 0 is any.
        tls: Speak TLS.
        limit: As that of asyncio.StreamReader.
    """
    loop = asyncio.get_running_loop()
    served = _Served(answer, tls, limit)
    with socket.create_server((host, port), backlog=100) as listener:
        listener.setblocking(False)
        loop.add_reader(listener, served.accept, listener)
        try:
            yield f"{'https' if tls else 'http'}://{host}:{listener.getsockname()[1]}"
        finally:
            loop.remove_reader(listener)
            await served.close()


class _NotingProtocol(asyncio.StreamReaderProtocol):
    """Takes note of its transport: a handshake that is cancelled may end all the same."""

    def __init__(self, reader: asyncio.StreamReader, made: set[asyncio.WriteTransport]) -> None:
        super().__init__(reader)
        self._made = made

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._noted = cast("asyncio.WriteTransport", transport)
        self._made.add(self._noted)

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        # One that was closed before all was sent can no longer be aborted then. One over TLS can, and must with Python 3.10.
        if self._noted.get_extra_info("sslcontext") is None:
            self._made.discard(self._noted)


class _Served:
    """The connections of one server."""

    def __init__(self, answer: Answer, tls: ssl.SSLContext | None, limit: int) -> None:
        self._answer, self._tls, self._limit = answer, tls, limit
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._transports: set[asyncio.WriteTransport] = set()

    def accept(self, listener: socket.socket) -> None:
        """Accept a connection, and answer it in a task of its own."""
        with contextlib.suppress(BlockingIOError, ConnectionError):  # its client has gone already
            connection, _ = listener.accept()
            # As asyncio does for its own: else the second of two pieces waits 40 ms for the acknowledgement of the first.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            task = self._loop.create_task(self._serve(connection))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _serve(self, connection: socket.socket) -> None:
        reader = asyncio.StreamReader(self._limit)
        protocol = _NotingProtocol(reader, self._transports)
        try:
            transport, _ = await self._loop.connect_accepted_socket(lambda: protocol, connection, ssl=self._tls)
            writer = asyncio.StreamWriter(transport, protocol, reader, self._loop)
            try:
                await self._answer(reader, writer)
            finally:
                if not transport.is_closing():  # closed twice, one over TLS could no longer be aborted
                    writer.close()
        except (asyncio.IncompleteReadError, OSError, asyncio.CancelledError):
            pass
        except Exception as error:  # noqa: BLE001 - a bug of whoever listens, which asyncio's own servers report like this
            self._loop.call_exception_handler({"message": "An answer has failed", "exception": error})

    async def close(self) -> None:
        """Close all of them."""
        # A task that is cancelled before its first step would never close its connection.
        await asyncio.sleep(0)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks)
        for transport in self._transports:
            transport.abort()
        # What was aborted is closed in the next steps of the loop; with TLS, there are two transports.
        for _ in range(3):
            await asyncio.sleep(0)
