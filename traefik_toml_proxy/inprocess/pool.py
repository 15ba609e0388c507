"""Pool: opens connections to servers, and keeps those at rest. Does I/O."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import OrderedDict
from collections.abc import Callable, Mapping

from .names import Names
from .opening import open_connection
from .server import ServerConnection
from .targets import Address

# Seconds for opening a connection.
_CONNECT_SECONDS = 30.0
# Seconds for which a connection rests in the pool, and how many do for one server.
_REST_SECONDS = 30.0
_MOST_AT_REST = 200


class Unreachable(Exception):
    """A server to which no connection can be opened; the message says why."""


def _give_up(opening: asyncio.Future[ServerConnection]) -> None:
    """Cancel the opening of a connection, which may be open at this very moment."""

    def abort(opened: asyncio.Future[ServerConnection]) -> None:
        if not opened.cancelled() and opened.exception() is None:
            opened.result().abort()

    opening.add_done_callback(abort)
    opening.cancel()


class Pool:
    """Opens connections to servers, and keeps those that can be used again.

    A connection serves all clients, one after another. It rests only after an answer that was complete beyond doubt.
    """

    def __init__(
        self, tls: Callable[[], Mapping[str, ssl.SSLContext]], most: int, now: Callable[[Address], Address | None]
    ) -> None:
        """Set up.

        Args:
            tls: Returns the certificates for https, by the ``tls`` of an address.
            most: How many connections there can be, as long as one of them can be closed instead, because it rests, or is
                being closed.
            now: Returns where the route that an address is for leads by now; None if it is gone.
        """
        self._tls = tls
        self._most = most
        self._now = now
        self._names = Names()
        # Those at rest: of each address, and all, each from the one that has rested longest.
        self._resting: dict[Address, dict[ServerConnection, None]] = {}
        self._oldest: OrderedDict[ServerConnection, None] = OrderedDict()
        self._opened: set[ServerConnection] = set()
        self._opening = 0

    @property
    def is_used(self) -> bool:
        """Whether any connection is open, resting or not, or is being opened."""
        return bool(self._opened) or self._opening > 0

    def take(self, address: Address) -> ServerConnection | None:
        """Return a connection that rests, the one that was used last; None if there is none."""
        resting = self._resting.get(address)
        while resting:
            connection, _ = resting.popitem()
            del self._oldest[connection]
            if connection.is_usable:
                return connection
        return None

    def give_back(self, connection: ServerConnection) -> None:
        """Keep a connection, or close it if its last answer does not allow that, or there are too many."""
        resting = self._resting.setdefault(connection.address, {})
        has_room = len(resting) < _MOST_AT_REST and len(self._opened) + self._opening <= self._most
        if has_room and connection.can_stay and connection.is_usable:
            connection.rest(asyncio.get_running_loop().time())
            resting[connection] = self._oldest[connection] = None
        else:
            connection.close()

    def _make_room(self) -> None:
        """Close a connection that nobody needs, if there is no room for one more beside it."""
        while len(self._opened) + self._opening >= self._most and (connection := self._unneeded()):
            self._opened.discard(connection)  # asyncio closes it before another one is opened
            connection.abort()

    def _unneeded(self) -> ServerConnection | None:
        """Return the connection that has rested longest, or else one that is being closed."""
        if self._oldest:
            connection, _ = self._oldest.popitem(last=False)
            del self._resting[connection.address][connection]
            return connection
        return next((each for each in self._opened if each.owner is None and each.transport.is_closing()), None)

    async def connect(self, address: Address) -> ServerConnection:
        """Return a new connection, to where the route leads when it is open: somebody else may have the address by then.

        Raises:
            Unreachable: If there is none within 30 seconds, or the route is gone by then.
        """
        while (now := self._now(address)) is not None:
            opened = await self._connect(now)
            if self._now(address) == now:
                return opened
            opened.abort()
        raise Unreachable("its route was deleted while it waited for a connection")

    async def _connect(self, address: Address) -> ServerConnection:
        self._make_room()
        self._opening += 1
        opening = asyncio.ensure_future(self._open(address))
        opening.add_done_callback(self._note_opened)
        try:
            await asyncio.wait([opening], timeout=_CONNECT_SECONDS)
        except asyncio.CancelledError:
            _give_up(opening)
            raise
        if not opening.done():
            _give_up(opening)
            raise Unreachable(f"no connection within {_CONNECT_SECONDS:g} seconds")
        try:
            opened = opening.result()
        except ssl.SSLCertVerificationError as error:
            raise Unreachable(f"its certificate is not trusted ({error.verify_message})") from error
        except ssl.SSLError as error:
            raise Unreachable(f"no TLS connection ({error.reason or 'it is closed'})") from error
        except (socket.gaierror, UnicodeError) as error:  # a label of the name may be empty, or too long
            raise Unreachable("its name cannot be resolved") from error
        except OSError as error:
            raise Unreachable(error.strerror or str(error) or type(error).__name__) from error
        if not opened.is_usable:  # nobody would be told of its end any more
            raise Unreachable("it has closed the connection")
        return opened

    def _note_opened(self, _: object) -> None:
        self._opening -= 1

    async def _open(self, address: Address) -> ServerConnection:
        context = self._tls()[address.tls] if address.tls else None
        made = ServerConnection(address, self._opened)
        try:
            await open_connection(lambda: made, address, context, self._names)
        except BaseException:
            if made in self._opened:  # cancelled at the last moment, of which uvloop tells nobody
                self._opened.discard(made)
                made.abort()
            raise
        return made

    def close_old(self, now: float) -> None:
        """Close those that have rested for too long."""
        for address, resting in list(self._resting.items()):
            for connection in list(resting):
                if not connection.is_usable or now - connection.rests_since >= _REST_SECONDS:
                    del resting[connection], self._oldest[connection]
                    connection.close()
            if not resting:
                del self._resting[address]

    def close(self) -> None:
        """Close all at once, also those that are being closed: over TLS, that may take long."""
        for connection in list(self._opened):
            connection.abort()
        self._resting.clear()
        self._oldest.clear()
