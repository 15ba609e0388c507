"""Connections to servers: one that carries requests and answers, and the pool of those at rest. Does I/O."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Protocol, cast

from .heads import Answer, BrokenAnswer, Request
from .readers import AnswerReader, Mark
from .targets import Address

# Bytes that wait to be sent before the other side is asked to pause, and below which it goes on.
HIGH_WATER, LOW_WATER = 65_536, 16_384
# Seconds for opening a connection.
_CONNECT_SECONDS = 30.0
# Seconds for what was sent to go out of a connection that is closed: a server that takes no more would keep it for ever.
_CLOSE_SECONDS = 30.0
# Seconds for which a connection rests in the pool, and how many do for one server.
_REST_SECONDS = 30.0
_MOST_AT_REST = 200


_MORE, _END = Mark.MORE, Mark.END


class Unreachable(Exception):
    """A server to which no connection can be opened; the message says why."""


class Owner(Protocol):
    """Who has sent a request over a connection, and is told what comes back."""

    def on_interim(self, answer: Answer) -> None:
        """Take an interim answer (1xx)."""

    def on_head(self, answer: Answer) -> None:
        """Take the head of the final answer."""

    def on_body(self, piece: bytes) -> None:
        """Take a piece of its body."""

    def on_pause(self) -> None:
        """Note that this was all for now: what was kept to be sent at once must be sent."""

    def on_end(self) -> None:
        """Note that the answer is complete. The connection is the owner's until it gives it back or closes it."""

    def on_switched(self, answer: Answer, rest: bytes) -> None:
        """Note that the connection is a websocket's from now on; ``rest`` has come over it already."""

    def on_tunnel(self, data: bytes) -> None:
        """Take what has come over the websocket."""

    def on_tunnel_end(self) -> None:
        """Note that nothing more will come over the websocket."""

    def on_lost(self, reason: str) -> None:
        """Note that the connection is lost, with or without an answer."""

    def on_full(self) -> None:
        """Send no more for now."""

    def on_drained(self) -> None:
        """Go on sending."""


class ServerConnection(asyncio.Protocol):
    """A connection to a server.

    Attributes:
        address: What it is connected to.
        owner: Who uses it; None while it rests.
        rests_since: Since when it rests, on the clock of the event loop.
        can_stay: Whether the answer leaves it in a state in which it can be used again.
    """

    __slots__ = (
        "_is_answered",
        "_is_lost",
        "_is_tunnel",
        "_opened",
        "_reader",
        "_takes_upgrade",
        "address",
        "can_stay",
        "owner",
        "rests_since",
        "transport",
    )

    def __init__(self, address: Address, opened: set[ServerConnection]) -> None:
        """Set where it goes; it is in ``opened`` while it is open."""
        self.address = address
        self._opened = opened
        self.owner: Owner | None = None
        self.rests_since = 0.0
        self.can_stay = False
        self.transport: asyncio.Transport
        self._reader = AnswerReader(b"GET")
        self._takes_upgrade = False
        self._is_tunnel = False
        self._is_answered = False
        self._is_lost = False

    @property
    def is_usable(self) -> bool:
        """Whether a request can be sent over it."""
        return not self._is_lost and not self.transport.is_closing()

    @property
    def has_begun(self) -> bool:
        """Whether anything of an answer to the current request has come."""
        return self._reader.has_begun

    def begin(self, owner: Owner, request: Request, head: bytes) -> None:
        """Send the head of a request."""
        self.owner = owner
        self.can_stay = self._is_answered = False
        self._reader = AnswerReader(request.method)
        self._takes_upgrade = request.upgrade
        self.transport.write(head)

    def close(self) -> None:
        """Close it; what was sent still goes out, for half a minute, but the owner is told nothing more."""
        self.owner = None
        self.transport.close()
        if self.transport.get_write_buffer_size():
            asyncio.get_running_loop().call_later(_CLOSE_SECONDS, self.transport.abort)

    def abort(self) -> None:
        """Close it at once; the owner is told nothing more."""
        self.owner = None
        self.transport.abort()

    def rest(self, now: float) -> None:
        """Have no owner for a while."""
        self.owner = None
        self.rests_since = now
        self.transport.resume_reading()

    # Called by asyncio.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Set it up."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=HIGH_WATER, low=LOW_WATER)
        keep_alive(transport.get_extra_info("socket"))
        self._opened.add(self)

    def data_received(self, data: bytes) -> None:
        """Tell the owner what has come."""
        owner = self.owner
        if owner is None:
            # Nobody has asked for it: it must never be taken for the answer to somebody else's request.
            self.transport.abort()
        elif self._is_tunnel:
            owner.on_tunnel(data)
        elif self._is_answered:
            self._lose("it sends more than the answer")
        else:
            self._reader.receive(data)
            try:
                self._read(owner)
            except BrokenAnswer as error:
                self._lose(f"its answer cannot be used: {error}")

    def _read(self, owner: Owner) -> None:
        while self.owner is owner and not self._is_tunnel:
            event = self._reader.read()
            if event.__class__ is bytes:
                owner.on_body(event)
            elif event is _MORE:
                owner.on_pause()
                return
            elif event is _END:
                self._end(owner)
                return
            else:
                self._take(owner, cast("Answer", event))

    def _take(self, owner: Owner, answer: Answer) -> None:
        if answer.status == 101:
            upgrades = [value.lower() for key, _, value in answer.fields if key == b"upgrade"]
            if not self._takes_upgrade or upgrades != [b"websocket"] or b"upgrade" not in answer.connection:
                raise BrokenAnswer("it switches to another protocol, which nobody has asked for")
            self._is_tunnel = True
            owner.on_switched(answer, self._reader.take_rest())
        elif answer.status < 200:
            owner.on_interim(answer)
        else:
            self.can_stay = answer.keep
            owner.on_head(answer)

    def _end(self, owner: Owner) -> None:
        self._is_answered = True
        self.can_stay = self.can_stay and self._reader.is_clean
        owner.on_end()

    def eof_received(self) -> bool:
        """Note that the server sends nothing more."""
        owner = self.owner
        if owner is None:
            self.close()
            return False
        if self._is_tunnel:
            owner.on_tunnel_end()
            return not self.address.tls
        if not self._is_answered:
            try:
                self._reader.end_of_input()
            except BrokenAnswer as error:
                self._lose(f"its answer cannot be used: {error}")
            else:
                self.can_stay = False
                self._end(owner)
        else:
            self._lose("it has closed the connection")
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """Tell the owner, if it does not know yet."""
        self._opened.discard(self)
        self._is_lost = True
        self.transport.abort()  # for TLS in Python 3.10: it takes the transport for open, and warns of that
        owner, self.owner = self.owner, None
        if owner is not None:
            reason = f"the connection broke ({type(error).__name__})" if error else "it has closed the connection"
            owner.on_lost(reason)

    def _lose(self, reason: str) -> None:
        owner, self.owner = self.owner, None
        self.transport.abort()
        if owner is not None:
            owner.on_lost(reason)

    def pause_writing(self) -> None:
        """Have the owner wait: the server takes no more."""
        if self.owner is not None:
            self.owner.on_full()

    def resume_writing(self) -> None:
        """Have the owner go on."""
        if self.owner is not None:
            self.owner.on_drained()


def keep_alive(connection: Any) -> None:
    """Have the system ask from time to time whether the other side is still there: it may be a laptop that was closed."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if connection.family != socket.AF_UNIX:
        for option, seconds in ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 20), (socket.TCP_KEEPCNT, 3)):
            connection.setsockopt(socket.IPPROTO_TCP, option, seconds)


def end_writing(transport: asyncio.Transport) -> None:
    """Send nothing more, but go on receiving, where that can be: not over TLS, which is closed."""
    if transport.is_closing():
        return
    if transport.can_write_eof():
        transport.write_eof()
    else:
        transport.close()


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

    def __init__(self, tls: Callable[[], Mapping[str, ssl.SSLContext]], most: int) -> None:
        """Set up.

        Args:
            tls: Returns the certificates for https, by the ``tls`` of an address.
            most: How many connections there can be, as long as one of them rests and can be closed instead.
        """
        self._tls = tls
        self._most = most
        # Those at rest: of each address, and all, each from the one that has rested longest.
        self._resting: dict[Address, dict[ServerConnection, None]] = {}
        self._oldest: OrderedDict[ServerConnection, None] = OrderedDict()
        self._opened: set[ServerConnection] = set()
        self._opening = 0

    @property
    def has_opened(self) -> bool:
        """Whether any connection is open, resting or not."""
        return bool(self._opened)

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
        """Close the connection that has rested longest, if there is no room for one more beside it."""
        while self._oldest and len(self._opened) + self._opening >= self._most:
            connection, _ = self._oldest.popitem(last=False)
            del self._resting[connection.address][connection]
            self._opened.discard(connection)  # asyncio closes it before another one is opened
            connection.abort()

    async def connect(self, address: Address) -> ServerConnection:
        """Return a new connection.

        Raises:
            Unreachable: If there is none within 30 seconds.
        """
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
            return opening.result()
        except ssl.SSLCertVerificationError as error:
            raise Unreachable(f"its certificate is not trusted ({error.verify_message})") from error
        except ssl.SSLError as error:
            raise Unreachable(f"no TLS connection ({error.reason or 'it is closed'})") from error
        except (socket.gaierror, UnicodeError) as error:  # a label of the name may be empty, or too long
            raise Unreachable("its name cannot be resolved") from error
        except OSError as error:
            raise Unreachable(error.strerror or type(error).__name__) from error

    def _note_opened(self, _: object) -> None:
        self._opening -= 1

    async def _open(self, address: Address) -> ServerConnection:
        loop = asyncio.get_running_loop()
        context = self._tls()[address.tls] if address.tls else None
        if address.socket:
            _, made = await loop.create_unix_connection(self._make(address), address.socket)
        else:
            _, made = await loop.create_connection(self._make(address), address.host, address.port, ssl=context)
        return made

    def _make(self, address: Address) -> Callable[[], ServerConnection]:
        return lambda: ServerConnection(address, self._opened)

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
