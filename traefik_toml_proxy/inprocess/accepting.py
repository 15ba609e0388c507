"""AcceptingListener: accepts connections, no more than there is room for, and loses none when it is closed. Does I/O."""

from __future__ import annotations

import asyncio
import functools
import socket
import ssl
import sys
from collections.abc import Callable
from typing import Protocol

from . import limits
from .client import ClientConnection

# Seconds for a handshake.
HANDSHAKE_SECONDS = 20.0
# Seconds for the end of TLS, with all that is still to be sent.
_SHUTDOWN_SECONDS = 2 * limits.STALLED_SECONDS
# How many connections are accepted before others get their turn.
_AT_ONCE = 32
# Seconds until the next attempt if the process has no descriptor left.
_PAUSE = 0.5


class Admission(Protocol):
    """Counts clients, and knows how many there can be."""

    def admit(self, client: ClientConnection, leave: Callable[[], object]) -> bool:
        """Whether there is room for a client. If so, it counts from now on, until it is forgotten.

        Args:
            client: The client.
            leave: Closes its connection before that is made, so while its handshake is going on.
        """

    def give_up(self, client: ClientConnection) -> None:
        """Note that a client does not come. If its handshake has ended at the last moment, close its connection."""

    def on_accept_failed(self, problem: str) -> None:
        """Note why no connection can be accepted now."""


class AcceptingListener:
    """Accepts connections on a socket.

    asyncio's own server would tell nobody of those whose handshake never ends, and leave one open for ever that it has
    accepted just before it is closed. With no descriptor left, it would try a thousand times at once, and log each of them.
    """

    def __init__(
        self,
        listening: socket.socket,
        context: Callable[[], ssl.SSLContext] | None,
        make: Callable[[object], ClientConnection],
        admission: Admission,
    ) -> None:
        """Accept connections from now on.

        Args:
            listening: The socket. It is closed with the listener.
            context: Returns the TLS for the next connection; None for plain http.
            make: Makes the protocol of a connection from an address.
            admission: Is asked whether there is room.
        """
        self._loop = asyncio.get_running_loop()
        self._listening = listening
        self._context = context
        self._make = make
        self._admission = admission
        self._welcoming: dict[ClientConnection, asyncio.Task[None]] = {}
        self._pausing: asyncio.TimerHandle | None = None
        # A client has its own deadline before that, which is longer while it takes something. Python 3.10 has no other.
        has_one = sys.version_info >= (3, 11) or not isinstance(self._loop, asyncio.BaseEventLoop)
        self._shutdown_timeout = {"ssl_shutdown_timeout": _SHUTDOWN_SECONDS} if has_one else {}
        listening.setblocking(False)
        self._go_on()

    def _go_on(self) -> None:
        self._pausing = None
        self._loop.add_reader(self._listening, self._accept)

    def _accept(self) -> None:
        """Accept what waits. If that was not all, the loop calls this again after others had their turn."""
        for _ in range(_AT_ONCE):
            try:
                connection, address = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._loop.remove_reader(self._listening)
                self._pausing = self._loop.call_later(_PAUSE, self._go_on)
                self._admission.on_accept_failed(error.strerror or str(error))
                return
            client = self._make(address)
            if self._admission.admit(client, functools.partial(self._dismiss, client)):
                self._welcoming[client] = self._loop.create_task(self._welcome(connection, client))
            else:
                connection.close()

    def _dismiss(self, client: ClientConnection) -> None:
        # Not at once: a task that has not begun would close nothing.
        self._loop.call_soon(self._welcoming[client].cancel)

    async def _welcome(self, connection: socket.socket, client: ClientConnection) -> None:
        try:
            if self._context is None:
                await self._loop.connect_accepted_socket(lambda: client, connection)
            else:
                await self._loop.connect_accepted_socket(
                    lambda: client,
                    connection,
                    ssl=self._context(),
                    ssl_handshake_timeout=HANDSHAKE_SECONDS,
                    **self._shutdown_timeout,
                )
        except OSError:
            connection.close()  # the client speaks no TLS, or has gone
            self._admission.give_up(client)
        except BaseException:
            self._admission.give_up(client)
            raise
        finally:
            del self._welcoming[client]

    async def close(self) -> None:
        """Accept nothing more, and end the handshakes that are going on. Then, all that are accepted know of it.

        May be called twice.
        """
        if self._pausing is not None:
            self._pausing.cancel()
        if self._listening.fileno() >= 0:
            # First, or asyncio could take another file with the same number for it.
            self._loop.remove_reader(self._listening)
            self._listening.close()
        await asyncio.sleep(0)  # what has only just been accepted is welcomed first: nobody else would close it
        if self._context is not None:
            for task in self._welcoming.values():
                task.cancel()
        if self._welcoming:
            await asyncio.wait(self._welcoming.values())
