"""Exchange: one request and its answer, between a client's connection and one to a server. Does I/O through both."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from ..routes import Route
from .bodies import LAST_CHUNK, chunk
from .forwarding import Peer, answer_head, interim_head, request_head, switching_head
from .frames import FrameWatcher
from .heads import CHUNKED, UNTIL_CLOSE, Answer, Request
from .pool import Pool, Unreachable
from .server import CLIENT_IS_FULL, ServerConnection
from .sockets import end_writing
from .targets import Target

# RFC 9110 section 9.2.2: these may be sent again if nobody knows whether the first one has arrived.
_IDEMPOTENT = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"))


class Client(Protocol):
    """The connection to a client, as an exchange needs it.

    Attributes:
        peer: Who is there.
    """

    peer: Peer

    @property
    def is_stopping(self) -> bool:
        """Whether the connection is closed after the current answer, because the proxy stops."""

    def write(self, data: bytes) -> None:
        """Send bytes."""

    def hold(self) -> None:
        """Read nothing for now: the server takes no more."""

    def go_on(self) -> None:
        """Go on reading."""

    def on_answered(self, *, keep: bool) -> None:
        """Note that the answer is complete, and whether the connection can take another request."""

    def on_failed(self, exchange: Exchange, reason: str) -> None:
        """Answer a request to a server that has not begun to."""

    def on_switched(self) -> None:
        """Note that the connection is a websocket's from now on."""

    def end_tunnel(self, *, whole: bool) -> None:
        """Note that the server will send nothing more over the websocket; and if ``whole``, take nothing more either."""

    def cut_off(self, *, reset: bool) -> None:
        """Close the connection, as after an answer that breaks off.

        Args:
            reset: Whether only a reset shows that the answer is not complete, since it has no length.
        """


class Exchange:
    """One request and its answer. The owner of a connection to a server; see :class:`~.server.Owner`.

    Attributes:
        request: The request.
        route: Its route.
        is_complete: Whether the whole request has been received.
        is_tunnel: Whether it has become a websocket.
        on_over: Is told when it is over, however it has ended; None if nobody wants to know.
    """

    __slots__ = (
        "_answer",
        "_client",
        "_closes",
        "_counts",
        "_has_begun",
        "_is_answered",
        "_is_over",
        "_length",
        "_may_retry",
        "_opening",
        "_pool",
        "_seen",
        "_server",
        "_target",
        "_unsent",
        "_waiting",
        "_watcher",
        "is_complete",
        "is_tunnel",
        "on_over",
        "request",
        "route",
    )

    def __init__(
        self,
        client: Client,
        request: Request,
        route: Route,
        target: Target,
        pool: Pool,
        seen: dict[str, float],
        counts: list[int],
        watcher: FrameWatcher | None = None,
    ) -> None:
        """Set up; nothing is sent before :meth:`begin`.

        Args:
            client: Where the request comes from.
            request: Its head.
            route: Its route.
            target: That of the route.
            pool: Has connections to servers.
            seen: Is told when the route was last used, in seconds since 1970, as long as it knows the route.
            counts: Has the number of answers to such requests, by the first digit of the status.
            watcher: Tells which data over a websocket count for that; None if all do.
        """
        self.request = request
        self.route = route
        self.is_complete = False
        self.is_tunnel = False
        self.on_over: Callable[[Exchange], object] | None = None
        self._client = client
        self._target = target
        self._pool = pool
        self._seen = seen
        self._counts = counts
        self._watcher = watcher
        self._server: ServerConnection | None = None
        self._opening: asyncio.Task[None] | None = None
        # What the server is to get as soon as there is a connection.
        self._waiting: list[bytes] = []
        # Whether the request can be sent once more, because it went over a connection that had rested.
        self._may_retry = False
        self._answer: Answer | None = None
        self._has_begun = False
        # How long the body is that the client gets, and whether its connection is closed after it.
        self._length = 0
        self._closes = False
        # What has come of the answer at once, and is sent at once.
        self._unsent: list[bytes] = []
        self._is_answered = False
        self._is_over = False

    @property
    def has_begun(self) -> bool:
        """Whether the client has got the head of an answer."""
        return self._has_begun

    @property
    def status(self) -> int:
        """The status of the answer; 0 before that."""
        return 0 if self._answer is None else self._answer.status

    def _end(self) -> None:
        if not self._is_over:
            self._is_over = True
            if self.on_over is not None:
                self.on_over(self)

    def begin(self) -> None:
        """Send the request on."""
        request, target = self.request, self._target
        head = request_head(request, self._client.peer, prefix=target.prefix, authority=target.authority)
        # Only what could be sent again goes over a connection that the server may be closing at this moment.
        if request.length == 0 and not request.upgrade and request.method in _IDEMPOTENT:
            resting = self._pool.take(target.address)
            if resting is not None:
                self._may_retry = True
                self._waiting = [head]
                self._server = resting
                resting.begin(self, request, head)
                return
        self._waiting.append(head)
        self._open()

    def _open(self) -> None:
        self._client.hold()
        self._opening = asyncio.get_running_loop().create_task(self._connect())

    async def _connect(self) -> None:
        try:
            server = await self._pool.connect(self._target.address)
        except Unreachable as error:
            self._opening = None
            self._fail(str(error))
            return
        except Exception:  # a bug: asyncio logs it, but the client must not wait for ever
            self._opening = None
            self._fail("no connection can be opened")
            raise
        self._opening = None
        if self._is_over:
            server.abort()
            return
        self._server = server
        waiting, self._waiting = self._waiting, []
        self._client.go_on()  # before the server may say that it takes no more
        # At once: a server that answers after the head and closes would break what is sent next.
        server.begin(self, self.request, b"".join(waiting))

    # From the client.

    def send_body(self, piece: bytes) -> None:
        """Send a piece of the request's body on."""
        self._see()
        self._send(chunk(piece) if self.request.length == CHUNKED else piece)

    def _see(self) -> None:
        if self.route.routespec in self._seen:
            self._seen[self.route.routespec] = time.time()

    def _send(self, data: bytes) -> None:
        if self._server is not None:
            self._server.send(data)
        elif not self._is_over:
            self._waiting.append(data)

    def complete(self) -> None:
        """Note that the whole request has been received."""
        if self.request.length == CHUNKED:
            self._send(LAST_CHUNK)
        self.is_complete = True
        if self._is_answered:
            self._finish()

    def send_tunnel(self, data: bytes) -> None:
        """Send on what has come over a websocket."""
        if self._watcher is None or self._watcher.has_message(data):
            self._see()
        if self._server is not None:
            self._server.send(data)

    def end_tunnel(self) -> None:
        """Note that the client will send nothing more over the websocket."""
        if self._server is not None:
            end_writing(self._server.transport)

    def drop(self) -> None:
        """Forget it: the client is gone, or gets another answer."""
        self._end()
        if self._opening is not None:
            self._opening.cancel()
        server, self._server = self._server, None
        if server is not None:
            if self.is_tunnel:
                server.close()
            else:
                server.abort()

    def hold_server(self) -> None:
        """Have the server wait: the client takes no more."""
        if self._server is not None:
            self._server.hold(CLIENT_IS_FULL)

    def release_server(self) -> None:
        """Have the server go on."""
        if self._server is not None:
            self._server.release(CLIENT_IS_FULL)

    # From the server.

    def on_interim(self, answer: Answer) -> None:
        """See :class:`~.server.Owner`."""
        if not self.request.is_old:
            self._unsent.append(interim_head(answer))

    def on_head(self, answer: Answer) -> None:
        """See :class:`~.server.Owner`."""
        self._answer = answer
        self._counts[answer.status // 100] += 1
        request = self.request
        # If the server does not read the whole body, or the client need not send it, nobody knows where the next request
        # would begin (RFC 9110 section 10.1.1). After a refused upgrade, the client may have sent frames already.
        cut = not self.is_complete and (not answer.keep or request.expects)
        self._closes = cut or not request.keep or request.upgrade or self._client.is_stopping
        head, self._length = answer_head(answer, request, close=self._closes)
        self._unsent.append(head)

    def on_body(self, piece: bytes) -> None:
        """See :class:`~.server.Owner`."""
        self._unsent.append(chunk(piece) if self._length == CHUNKED else piece)

    def on_pause(self) -> None:
        """See :class:`~.server.Owner`."""
        unsent = self._unsent
        if unsent:
            self._has_begun = self._answer is not None
            self._client.write(unsent[0] if len(unsent) == 1 else b"".join(unsent))
            self._unsent = []

    def on_end(self) -> None:
        """See :class:`~.server.Owner`."""
        if self._length == CHUNKED:
            self._unsent.append(LAST_CHUNK)
        self.on_pause()
        self._is_answered = True
        answer = self._answer
        if answer is not None and answer.status < 300:
            self._see()
        if self.is_complete or self._closes:
            self._finish()

    def _finish(self) -> None:
        """Note that there is nothing more to send, in either direction."""
        self._end()
        server, self._server = self._server, None
        if server is not None:
            if self.is_complete:
                self._pool.give_back(server)
            else:
                server.close()
        self._client.on_answered(keep=self.is_complete and not self._closes and self._length != UNTIL_CLOSE)

    def on_switched(self, answer: Answer, rest: bytes) -> None:
        """See :class:`~.server.Owner`."""
        self._answer = answer
        self._has_begun = self.is_tunnel = True
        self._counts[1] += 1
        self._client.write(b"".join((*self._unsent, switching_head(answer), rest)))
        self._unsent = []
        self._client.on_switched()

    def on_tunnel(self, data: bytes) -> None:
        """See :class:`~.server.Owner`."""
        self._client.write(data)

    def on_tunnel_end(self) -> None:
        """See :class:`~.server.Owner`."""
        self._client.end_tunnel(whole=False)

    def on_lost(self, reason: str) -> None:
        """See :class:`~.server.Owner`."""
        server, self._server = self._server, None
        if self._is_over:
            return
        if self.is_tunnel:
            self._end()
            self._client.end_tunnel(whole=True)
        elif self._is_answered:
            self._finish()
        elif self._may_retry and server is not None and not server.has_begun:
            # It was closing the connection when the request was sent (RFC 9112 section 9.3.1).
            self._may_retry = False
            self._open()
        else:
            self._fail(reason)

    def _fail(self, reason: str) -> None:
        if self._is_over:
            return
        if self._answer is not None and not self.has_begun:  # nothing of it has been sent
            self._counts[self._answer.status // 100] -= 1
            self._answer = None
        self._end()
        if self.has_begun:
            self._client.cut_off(reset=self._length == UNTIL_CLOSE)
        else:
            self._counts[5] += 1
            self._client.on_failed(self, reason)

    def on_full(self) -> None:
        """See :class:`~.server.Owner`."""
        self._client.hold()

    def on_drained(self) -> None:
        """See :class:`~.server.Owner`."""
        self._client.go_on()
