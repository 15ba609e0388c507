"""PlainListener and TlsListener: accept connections, and lose none when they are closed. Do I/O."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable

# Seconds for a handshake.
HANDSHAKE_SECONDS = 20.0
# How many connections are accepted before others get their turn.
_AT_ONCE = 32
# Seconds until the next attempt if the process has no descriptor left.
_PAUSE = 0.5


# How many steps of the event loop it takes until asyncio has told a protocol of a connection that it has just accepted.
_STEPS = 4


class PlainListener:
    """Accepts connections by a server of asyncio."""

    def __init__(self, server: asyncio.AbstractServer, listening: socket.socket) -> None:
        """Set the server, and its socket."""
        self._server = server
        self._listening = listening

    async def close(self) -> None:
        """Accept nothing more. Returns when the protocols of all connections that were accepted know of them.

        asyncio's server would leave one open for ever that it has accepted just before it is closed.
        """
        asyncio.get_running_loop().remove_reader(self._listening)
        for _ in range(_STEPS):
            await asyncio.sleep(0)
        self._server.close()


class TlsListener:
    """Accepts connections on a socket. asyncio's own server would tell nobody of those whose handshake never ends.

    Attributes:
        pending: How many handshakes are going on.
    """

    def __init__(
        self,
        listening: socket.socket,
        context: ssl.SSLContext,
        make: Callable[[], asyncio.Protocol],
        has_room: Callable[[int], bool],
    ) -> None:
        """Accept connections from now on.

        Args:
            listening: The socket, which does not block. It is closed with the listener.
            context: The TLS.
            make: Makes the protocol of a connection.
            has_room: Tells whether there is room for one more besides so many handshakes.
        """
        self.pending = 0
        self._listening = listening
        self._context = context
        self._make = make
        self._has_room = has_room
        self._welcoming: set[asyncio.Task[None]] = set()
        self._accepting = asyncio.get_running_loop().create_task(self._accept())

    async def _accept(self) -> None:
        try:
            await self._accept_all()
        finally:
            # Not before asyncio has forgotten it, or it could take another file with the same number for it.
            self._listening.close()

    async def _accept_all(self) -> None:
        loop = asyncio.get_running_loop()
        accepted = 0
        while True:
            try:
                connection, _ = await loop.sock_accept(self._listening)
            except OSError:
                await asyncio.sleep(_PAUSE)
                continue
            accepted += 1
            if self._has_room(self.pending):
                self.pending += 1
                task = loop.create_task(self._welcome(connection))
                self._welcoming.add(task)
                task.add_done_callback(self._welcoming.discard)
            else:
                connection.close()
            if accepted % _AT_ONCE == 0:
                await asyncio.sleep(0)

    async def _welcome(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            connection.setblocking(False)
            await loop.connect_accepted_socket(
                self._make, connection, ssl=self._context, ssl_handshake_timeout=HANDSHAKE_SECONDS
            )
        except OSError:
            connection.close()  # the client speaks no TLS, or has gone
        finally:
            self.pending -= 1

    async def close(self) -> None:
        """Accept nothing more, and end the handshakes that are going on."""
        self._accepting.cancel()
        await asyncio.wait([self._accepting])
        for task in self._welcoming:
            task.cancel()
        if self._welcoming:
            await asyncio.wait(self._welcoming)
