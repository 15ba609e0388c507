"""ServerConnection: sends requests to a server, one after another, and reads the answers. Does I/O."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from typing import Protocol, cast

from . import limits
from .heads import Answer, BrokenAnswer, Request
from .readers import AnswerReader, Mark
from .sockets import is_gone, keep_alive, takes_nothing, unread, was_closed, was_reset
from .targets import Address

# Bytes that wait to be sent before the other side is asked to pause, and below which it goes on.
HIGH_WATER, LOW_WATER = 65_536, 16_384
# Seconds for what was sent to go out of a connection that is closed: a server that takes no more would keep it for ever.
_CLOSE_SECONDS = 30.0
# How many bytes of an answer are read that a server has sent before it broke the connection: each may be a chunk.
_MOST_LAST = 2**20

# Why nothing is read from the server.
CLIENT_IS_FULL, _OTHERS_WAIT = 1, 2

_MORE, _END = Mark.MORE, Mark.END


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
        "_closing",
        "_held",
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
        self._held = 0
        self._closing: asyncio.TimerHandle | None = None

    @property
    def is_usable(self) -> bool:
        """Whether a request can be sent over it."""
        return not self._is_lost and not self.transport.is_closing()

    @property
    def has_begun(self) -> bool:
        """Whether anything of an answer to the current request has come."""
        return self._reader.has_begun

    def begin(self, owner: Owner, request: Request, data: bytes) -> None:
        """Send the head of a request, and what has come of its body."""
        self.owner = owner
        self.can_stay = self._is_answered = False
        self._reader = AnswerReader(request.method)
        self._takes_upgrade = request.upgrade
        self.transport.write(data)

    def send(self, data: bytes) -> None:
        """Send more, unless the connection is being closed: asyncio would log each piece."""
        if takes_nothing(self.transport):
            self.transport.abort()
        elif not self.transport.is_closing():
            self.transport.write(data)

    def close(self) -> None:
        """Close it; what was sent still goes out, for half a minute, but the owner is told nothing more."""
        self.owner = None
        if self.is_usable:
            # Over TLS, Python 3.10 waits for the server to close it as well, for ever.
            takes_time = self.address.tls or self.transport.get_write_buffer_size()
            self.transport.close()
            if takes_time:
                self._closing = asyncio.get_running_loop().call_later(_CLOSE_SECONDS, self.transport.abort)

    def abort(self) -> None:
        """Close it at once; the owner is told nothing more."""
        self.owner = None
        self.transport.abort()

    def rest(self, now: float) -> None:
        """Have no owner for a while."""
        self.owner = None
        self.rests_since = now
        self.release(self._held)

    def hold(self, why: int) -> None:
        """Read nothing for now."""
        if not self._held and not is_gone(self.transport):
            self.transport.pause_reading()
        self._held |= why

    def release(self, why: int) -> None:
        """Go on reading, unless there is another reason not to."""
        if self._held:
            self._held &= ~why
            if not self._held and not is_gone(self.transport) and self.is_usable:
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
            if not self._held & _OTHERS_WAIT:
                self._read(owner)

    def _read(self, owner: Owner, most: int = limits.AT_ONCE) -> None:
        """Read what has been received; of thousands of small chunks, a few at a time, since others wait."""
        try:
            if not self._read_some(owner, most):
                self.hold(_OTHERS_WAIT)
                asyncio.get_running_loop().call_soon(self._read_on, owner)
        except BrokenAnswer as error:
            self._lose(f"its answer cannot be used: {error}")

    def _read_on(self, owner: Owner) -> None:
        if self.owner is owner and self._held & _OTHERS_WAIT and not is_gone(self.transport):
            self.release(_OTHERS_WAIT)
            self._read(owner)

    def _read_some(self, owner: Owner, most: int) -> bool:
        """Read heads and pieces of a body, but not too many; return whether that was all."""
        for _ in range(most):
            if self.owner is not owner or self._is_tunnel:
                return True
            event = self._reader.read()
            if event.__class__ is bytes:
                owner.on_body(event)
            elif event is _MORE:
                owner.on_pause()
                return True
            elif event is _END:
                self._end(owner)
                return True
            else:
                self._take(owner, cast("Answer", event))
        owner.on_pause()
        return False

    def _read_rest(self) -> None:
        """Read all that has been received, because nothing more will be."""
        if self._held & _OTHERS_WAIT and self.owner is not None:
            self._held &= ~_OTHERS_WAIT
            self._read(self.owner, sys.maxsize)

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
        self._read_rest()
        owner = self.owner
        if owner is None:
            self.close()
            return False
        if was_reset(self.transport):
            self._lose("the connection broke")
        elif self._is_tunnel:
            owner.on_tunnel_end()
            return not self.address.tls
        else:
            self._end_of_input(owner)
        return False

    def _end_of_input(self, owner: Owner) -> None:
        if self._is_answered:
            self._lose("it has closed the connection")
        elif not was_closed(self.transport):
            self._lose("it has broken off the connection")
        else:
            try:
                self._reader.end_of_input()
            except BrokenAnswer as error:
                self._lose(f"its answer cannot be used: {error}")
            else:
                self.can_stay = False
                self._end(owner)

    def connection_lost(self, error: Exception | None) -> None:
        """Tell the owner, if it does not know yet."""
        self._opened.discard(self)
        self._is_lost = True
        if self._closing is not None:
            self._closing.cancel()
        self._read_rest()
        # A retry is better than what a server has sent over a connection that has rested: it may be from before the request.
        has_been_told = isinstance(error, (BrokenPipeError, ConnectionResetError)) and not self.rests_since
        if (has_been_told or self._is_tunnel) and not self.address.tls:
            self._read_last()
        if self.address.tls:
            self.transport.abort()  # for Python 3.10: it takes the transport for open, and warns of that
        if self.owner is not None and self.address.tls and not error and not self._is_tunnel:
            self._end_of_input(self.owner)  # Python 3.10 tells of an end over TLS only here
        owner, self.owner = self.owner, None
        if owner is not None:
            reason = f"the connection broke ({type(error).__name__})" if error else "it has closed the connection"
            owner.on_lost(reason)

    def _read_last(self) -> None:
        """Read what came before the server closed: nobody has, if the loop has noticed that by sending."""
        with contextlib.suppress(OSError):
            left = unread(self.transport)  # a server at a unix socket may send more and more, although it takes nothing
            left = left if self._is_tunnel else min(left, _MOST_LAST)
            while left > 0 and self.owner is not None and not self._is_answered:
                # Not recv: uvloop's socket has none. It does not block.
                data = os.read(self.transport.get_extra_info("socket").fileno(), min(left, HIGH_WATER))
                if not data:
                    break
                left -= len(data)
                if self._is_tunnel:
                    self.owner.on_tunnel(data)
                else:
                    self._reader.receive(data)
                    self._read(self.owner, sys.maxsize)

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
