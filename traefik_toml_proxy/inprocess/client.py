"""ClientConnection: reads requests from a client, one after another, and has each answered. Does I/O."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, cast

from . import limits, sockets
from .exchange import Exchange
from .forwarding import Peer
from .heads import BrokenRequest, Request
from .pages import plain
from .readers import Mark, RequestReader
from .server import HIGH_WATER, LOW_WATER
from .sockets import close_once, end_writing, is_gone, is_sent, reset_when_closed, takes_nothing, was_reset

_SERVER_IS_FULL, _TOO_MUCH_WAITS, _OTHERS_WAIT = 1, 2, 4  # why nothing is read from the client
Making = Callable[[], Coroutine[Any, Any, bytes]]  # makes a whole answer


class Engine(Protocol):
    """What connections share."""

    @property
    def is_stopping(self) -> bool:
        """Whether each connection is closed after the current answer."""

    def remember(self, client: ClientConnection) -> None:
        """Take note of a new connection."""

    def forget(self, client: ClientConnection) -> None:
        """Take note of the end of a connection."""

    def answer(self, client: ClientConnection, request: Request) -> bytes | Exchange | Making:
        """Return a whole answer to a request, or what gets one from a server, or what makes one."""

    def failed(self, client: ClientConnection, exchange: Exchange, reason: str, *, close: bool) -> Making:
        """Take note of a request whose server has given no answer; return what makes one."""


class ClientConnection(asyncio.Protocol):
    """A connection from a client; see :class:`~.exchange.Client`.

    Attributes:
        peer: Who is there.
        deadline: When :meth:`on_deadline` is called, on the clock of the event loop.
    """

    __slots__ = (
        "_engine", "_exchange", "_has_ended", "_has_turn", "_held", "_is_full", "_is_lingering", "_lingers_until",
        "_loop", "_making", "_reader", "_server_has_ended", "_transport", "deadline", "peer",
    )  # fmt: skip

    def __init__(self, engine: Engine, peer: Peer) -> None:
        """Set who is there, and by whom it is served."""
        self._engine = engine
        self.peer = peer
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._reader = RequestReader()
        self._exchange: Exchange | None = None
        self._making: asyncio.Task[None] | None = None  # makes an answer of the proxy itself
        self._held = 0
        self._has_turn = False  # the rest of what has come is read after others had their turn
        self._is_full = False  # the client takes no more of its answers for now
        self._has_ended = False  # the client sends nothing more
        self._is_lingering = False  # what it sends is dropped
        self._server_has_ended = False  # the server sends nothing more over the websocket
        self._lingers_until = -limits.NEVER  # when it is closed, if all that it gets has been sent
        self.deadline = self._loop.time() + limits.HEAD_SECONDS

    @property
    def waits_for_request(self) -> bool:
        """Whether it waits for a request, or for the rest of its head."""
        return not (self._exchange or self._making or self._is_lingering) and is_sent(self._transport)

    @property
    def is_idle(self) -> bool:
        """Whether it waits for the beginning of a request."""
        return self.waits_for_request and self._reader.is_between

    @property
    def may_leave(self) -> bool:
        """Whether nothing is lost if it is closed while it waits for a request: none has come, and all answers are sent."""
        return sockets.is_settled(self._transport, is_tls=self.peer.is_tls)

    @property
    def is_stopping(self) -> bool:
        """See :class:`~.exchange.Client`."""
        return self._engine.is_stopping

    @property
    def is_tunnel(self) -> bool:
        """Whether it is a websocket."""
        return self._exchange is not None and self._exchange.is_tunnel

    # Called by asyncio.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Set it up."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=HIGH_WATER, low=LOW_WATER)
        self._engine.remember(self)

    def data_received(self, data: bytes) -> None:
        """Read what has come."""
        exchange = self._exchange
        if exchange is not None and exchange.is_tunnel:
            exchange.send_tunnel(data)
        elif self._is_lingering:
            self.deadline = min(self._loop.time() + limits.LINGER_IDLE_SECONDS, self._lingers_until)
        else:
            if exchange is not None and not exchange.is_complete:
                self.deadline = self._loop.time() + limits.STALLED_SECONDS
            elif exchange is None and self._reader.is_between and not self._is_full:
                self.deadline = self._loop.time() + limits.HEAD_SECONDS
            self._reader.receive(data)
            if not self._has_turn:  # asyncio of Python 3.10 goes on at once with what has come over TLS, even if paused
                self._read()
                if len(data) >= limits.MUCH_AT_ONCE and not self._held and not self._is_lingering:
                    self._let_others_go_on()

    def _read(self) -> None:
        """Read what has been received; of many requests in it, a few at a time, since others wait."""
        try:
            for _ in range(limits.AT_ONCE):
                exchange = self._exchange
                if self._is_lingering:
                    return
                # Nothing is begun for a client that takes no answers: they would pile up here.
                if self._making or (exchange.is_complete or exchange.is_tunnel if exchange else self._is_full):
                    self._wait_with_the_rest(exchange)
                    return
                event = self._reader.read()
                if event is Mark.MORE:
                    self._release(_TOO_MUCH_WAITS | _OTHERS_WAIT)
                    return
                if event is Mark.END:
                    self._complete(exchange)
                elif event.__class__ is bytes:
                    if exchange is not None:
                        exchange.send_body(event)
                else:
                    self._begin(cast("Request", event))
                    if self._exchange is None and self._reader.buffered and not self._is_lingering:
                        break  # the client may have gone: asyncio tells of that, over TLS, only in its next step
        except BrokenRequest as error:
            self._refuse(error)
        else:
            self._let_others_go_on()

    def _let_others_go_on(self) -> None:
        self._hold(_OTHERS_WAIT)
        if not self._has_turn:
            self._has_turn = True
            self._loop.call_soon(self._on_turn)

    def _on_turn(self) -> None:
        self._has_turn = False
        self._read_on()

    def _wait_with_the_rest(self, exchange: Exchange | None) -> None:
        if exchange is not None and exchange.is_tunnel:
            self.on_switched()
        elif self._reader.buffered > limits.MOST_WAITING:
            self._hold(_TOO_MUCH_WAITS)
            self.deadline = min(self.deadline, self._patience())
        else:
            self._release(_TOO_MUCH_WAITS | _OTHERS_WAIT)

    def _begin(self, request: Request) -> None:
        answer = self._engine.answer(self, request)
        keep = request.keep and request.length == 0 and not request.upgrade
        if isinstance(answer, Exchange):
            self._exchange = answer
            self.deadline = self._loop.time() + limits.STALLED_SECONDS if request.length else self._patience()
            answer.begin()
        elif isinstance(answer, bytes):
            self.write(answer)
            self._finish(keep=keep)
        else:
            self._make(answer, keep=keep)

    def _complete(self, exchange: Exchange | None) -> None:
        if exchange is not None:
            if not self._held & _SERVER_IS_FULL and not self._is_full:
                self.deadline = self._patience()
            exchange.complete()

    def _refuse(self, error: BrokenRequest) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.drop()
        if exchange is not None and exchange.has_begun:
            self.cut_off(reset=True)
        else:
            self.write(plain(error.status, f"The request is refused: {error.reason}.", close=True))
            self._linger()

    def eof_received(self) -> bool:
        """Note that the client sends nothing more; it may still wait for an answer."""
        if was_reset(self._transport):
            return False
        self._has_ended = True
        if self.peer.is_tls:  # asyncio closes the connection when it has sent what was written until now
            self._is_lingering, self.deadline = True, self._patience()
            return False
        if self._exchange is None and self._making is None:
            self._read_on()  # a request that has come before may still wait for its turn
        exchange = self._exchange
        if self._is_lingering or not (exchange or self._making or self._is_full or self._has_turn):
            return False
        if exchange is not None and exchange.is_tunnel:
            exchange.end_tunnel()
            self.deadline = self._loop.time() + limits.LINGER_SECONDS
            return not self._server_has_ended
        if exchange is not None:
            self.deadline = self._patience()
        return exchange is None or exchange.is_complete

    def _patience(self) -> float:
        """Return until when an answer may take: as long as it likes, except with a client that may have gone unnoticed."""
        if self._has_ended:
            return self._loop.time() + limits.HALF_CLOSED_SECONDS
        return self._loop.time() + limits.STALLED_SECONDS if self._held & _TOO_MUCH_WAITS else limits.NEVER

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - asyncio's
        """End what was going on for the client."""
        self._is_lingering = True
        if self.peer.is_tls:
            self._transport.abort()  # for Python 3.10: it takes the transport for open, and warns of that
        self._engine.forget(self)
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.drop()
        if self._making is not None:
            self._making.cancel()

    def pause_writing(self) -> None:
        """Have the server wait: the client takes no more."""
        self._is_full = True
        self.deadline = self._loop.time() + limits.STALLED_SECONDS
        if self._exchange is not None:
            self._exchange.hold_server()

    def resume_writing(self) -> None:
        """Have the server go on."""
        self._is_full = False
        if self._exchange is not None:
            self._wait_for_more()
            self._exchange.release_server()
        elif self._making is None and not self._is_lingering:
            self._wait_for_request()
            self._loop.call_soon(self._read_on)

    # Called by the exchange.

    def write(self, data: bytes) -> None:
        """See :class:`~.exchange.Client`."""
        if self._has_ended or self._held & _TOO_MUCH_WAITS:
            self.deadline = self._patience()
        if (self._has_ended and self.peer.is_tls) or takes_nothing(self._transport):
            self._transport.abort()
        elif not self._transport.is_closing():  # asyncio would log each piece
            self._transport.write(data)

    def hold(self) -> None:
        """See :class:`~.exchange.Client`."""
        self._hold(_SERVER_IS_FULL)
        self.deadline = self._loop.time() + limits.STALLED_SECONDS  # the client may have gone: nobody reads from it

    def go_on(self) -> None:
        """See :class:`~.exchange.Client`."""
        self._release(_SERVER_IS_FULL)
        self._wait_for_more()

    def _wait_for_more(self) -> None:
        if (exchange := self._exchange) is not None:
            is_stuck = self._is_full or self._held & _SERVER_IS_FULL or self._server_has_ended
            must_move = is_stuck or not exchange.is_complete
            self.deadline = self._loop.time() + limits.STALLED_SECONDS if must_move else self._patience()

    def _hold(self, why: int) -> None:
        if not self._held and not is_gone(self._transport):
            self._transport.pause_reading()
        self._held |= why

    def _release(self, why: int) -> None:
        if self._held:
            too_much, self._held = self._held & why & _TOO_MUCH_WAITS, self._held & ~why
            if too_much:
                self._wait_for_more()
            if not self._held and not is_gone(self._transport) and not self._transport.is_closing():
                self._transport.resume_reading()

    def on_switched(self) -> None:
        """See :class:`~.exchange.Client`."""
        self._release(_SERVER_IS_FULL | _TOO_MUCH_WAITS | _OTHERS_WAIT)
        if (early := self._reader.take_rest()) and self._exchange is not None:
            self._exchange.send_tunnel(early)

    def on_answered(self, *, keep: bool) -> None:
        """See :class:`~.exchange.Client`."""
        exchange, self._exchange = self._exchange, None
        self._finish(keep=keep, is_clean=exchange is not None and exchange.is_complete)
        if self._reader.buffered or self._has_ended:
            self._loop.call_soon(self._read_on)  # not at once: there may be thousands in a row

    def on_failed(self, exchange: Exchange, reason: str) -> None:
        """See :class:`~.exchange.Client`."""
        keep = exchange.request.keep and exchange.is_complete and not exchange.request.upgrade
        self._make(self._engine.failed(self, exchange, reason, close=not keep), keep=keep)

    def _make(self, making: Making, *, keep: bool) -> None:
        self.deadline = limits.NEVER
        self._making = self._loop.create_task(self._answer(making, keep=keep))

    async def _answer(self, making: Making, *, keep: bool) -> None:
        try:
            answer = await making()
        except Exception:  # a bug: asyncio logs it, but the client must not wait for ever
            self.close()
            raise
        self._making = self._exchange = None
        self.write(answer)
        self._finish(keep=keep)
        self._read_on()

    def _finish(self, *, keep: bool, is_clean: bool = False) -> None:
        """Go on with the next request if ``keep``, else close the connection: if ``is_clean``, at once."""
        if keep and not self._engine.is_stopping:
            self._reader.next_request()
            self._release(_SERVER_IS_FULL)
            self._wait_for_request()
        elif is_clean and not self._reader.buffered:
            self.cut_off(reset=False)
        else:
            self._linger()

    def _wait_for_request(self) -> None:
        seconds = limits.IDLE_SECONDS if self._reader.is_between else limits.HEAD_SECONDS
        self.deadline = self._loop.time() + (limits.STALLED_SECONDS if self._is_full else seconds)

    def _read_on(self) -> None:
        """Read what has come meanwhile."""
        if not self._is_lingering and not self._transport.is_closing():
            self._read()
            goes_on = self._exchange or self._making or self._has_turn or self._is_full or self._is_lingering
            if self._has_ended and not goes_on:  # even if another request seems to have begun, as with an empty line
                close_once(self._transport)

    def end_tunnel(self, *, whole: bool) -> None:
        """See :class:`~.exchange.Client`."""
        self._server_has_ended = True
        if whole:
            self._exchange = None
            self._linger()
        else:
            self.deadline = self._lingers_until = self._loop.time() + limits.LINGER_SECONDS
            (close_once if self._has_ended else end_writing)(self._transport)

    def cut_off(self, *, reset: bool) -> None:
        """See :class:`~.exchange.Client`."""
        self._is_lingering, self._exchange = True, None
        self.deadline = self._lingers_until = self._loop.time() + limits.LINGER_SECONDS
        if reset:
            reset_when_closed(self._transport)
            self._transport.abort()
        else:
            close_once(self._transport)

    def _linger(self) -> None:
        """Close it once the client has got the answer: what it still sends would reset it (RFC 9112 section 9.6)."""
        self._is_lingering = True
        self._release(_SERVER_IS_FULL | _TOO_MUCH_WAITS | _OTHERS_WAIT)
        now = self._loop.time()
        self._lingers_until, self.deadline = now + limits.LINGER_SECONDS, now + limits.LINGER_IDLE_SECONDS
        (close_once if self._has_ended else end_writing)(self._transport)

    def on_deadline(self) -> None:
        """Close the connection: its time is over, unless something has come at the last moment."""
        if (now := self._loop.time()) < self.deadline:
            return
        lingers = self._lingers_until > -limits.NEVER  # if not, the system still sends what it has, except over TLS
        look = sockets.is_over if lingers else sockets.has_arrived if self.peer.is_tls else is_sent
        is_all_sent = look(self._transport)
        waits = self._exchange is None and not (self._is_lingering or self._is_full)
        if not is_all_sent and now < self._lingers_until + limits.STALLED_SECONDS:
            self.deadline = now + limits.LINGER_IDLE_SECONDS
        elif waits and not self._reader.is_between:
            self._refuse(BrokenRequest(408, "its head has not come in time"))
        elif waits and not is_all_sent:  # the client may only be slow: it gets the rest of its last answer
            self._linger()
        else:
            self.close()

    def close(self) -> None:
        """Close it at once."""
        self._transport.abort()
