"""Engine: what all connections share, on one event loop: routes, settings, listeners, limits. Does I/O."""

from __future__ import annotations

import asyncio
import functools
import itertools
import random
import re
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from ..errors import quoted
from ..routes import Change, Route, RouteTable
from ..seams import Traffic
from .client import ClientConnection, Making
from .clients import Clients
from .exchange import Exchange
from .forwarding import Network, Peer, is_in
from .frames import FrameWatcher
from .heads import Request
from .hub_pages import HubPages
from .pages import HEALTH_PATH, healthy, page, plain, redirect, wants_page
from .pool import Pool
from .targets import KINDS, Address, Target, kind_of, target_of

# Seconds between two looks at deadlines.
_TICK = 1.0
# How many steps of the event loop closing connections may take.
_LAST_STEPS = 100
# How many clients are remembered, by their addresses: reading an address takes longer than all else about a new connection.
_MOST_PEERS = 1_024
# How many matches and targets are remembered.
_MOST_REMEMBERED = 8_192
# The longest host and target that are, together.
_LONGEST_REMEMBERED = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """How requests are served.

    Attributes:
        trusted: The networks of the proxies in front, whose X-Forwarded-* fields are believed.
        most_clients: How many connections from clients there can be.
        hub_url: Where the Hub's pages for errors are, with a slash at the end; "" to do without.
        ignored: Matches the paths of requests by which nobody is seen; None if there are none.
        ignores_pongs: Whether nobody is seen by pings and pongs over a websocket either.
    """

    trusted: tuple[Network, ...]
    most_clients: int
    hub_url: str
    ignored: re.Pattern[str] | None = None
    ignores_pongs: bool = False


@dataclass(frozen=True, slots=True)
class Failure:
    """A request that got no answer from a server.

    Attributes:
        client: The address of the client.
        method: The method.
        path: The path, without the query, which may have secrets.
        routespec: The route.
        target: The target of the route.
        reason: What went wrong.
    """

    client: str
    method: str
    path: str
    routespec: str
    target: str
    reason: str

    def __str__(self) -> str:
        what = f"{self.method} {quoted(self.path)} from {self.client}"
        return f"{what} to {quoted(self.target)} (route {quoted(self.routespec)}) failed: {self.reason}"


@dataclass(frozen=True, slots=True)
class Access:
    """A request that is over.

    Attributes:
        client: The address of the client.
        method: The method.
        path: The path, without the query, which may have secrets.
        routespec: The route; "" if there is none.
        status: The status of the answer; 0 if the client has left before there was one, or the server has given none.
        seconds: How long it took; a websocket, how long it was open.
    """

    client: str
    method: str
    path: str
    routespec: str
    status: int
    seconds: float

    def __str__(self) -> str:
        status, route = self.status or "no answer", self.routespec and f" (route {quoted(self.routespec)})"
        return f"{self.client} {self.method} {quoted(self.path)}{route}: {status}, {1000 * self.seconds:.1f} ms"


class _Match(NamedTuple):
    """What is needed for a request: its route, the target of that, and where the answers are counted."""

    route: Route
    target: Target
    counts: list[int]


class Listener(Protocol):
    """Accepts connections."""

    async def close(self) -> None:
        """Accept no more; return when all that was accepted is known to the engine."""


class Engine:
    """Serves requests by a table of routes; see :class:`~.client.Engine`. All of it runs on one event loop.

    Attributes:
        revision: The revision of the table.
        seen: By routespec, for each route, when it was last used, in seconds since 1970; 0 if it never was.
        clients: Who is connected; for listeners.
        is_stopping: Whether each connection is closed after the current answer.
    """

    def __init__(
        self,
        settings: EngineSettings,
        tls: Callable[[], Mapping[str, ssl.SSLContext]],
        on_failure: Callable[[Failure], object],
        warn: Callable[[str], object],
        on_access: Callable[[Access], object] | None = None,
    ) -> None:
        """Set up; nothing is served before :meth:`listen`.

        Args:
            settings: The settings.
            tls: Returns the certificates for https targets, by the ``tls`` of an address.
            on_failure: Is told of each request that got no answer.
            warn: Is told of what an admin should know, in a few words and not often.
            on_access: Is told of each request when it is over.
        """
        self.revision = 0
        self.seen: dict[str, float] = {}
        self.is_stopping = False
        self._settings = settings
        self._on_failure = on_failure
        self._on_access = on_access
        self._table = RouteTable()
        self._pool = Pool(tls, settings.most_clients, self._address_now)
        self._pages = HubPages(settings.hub_url, self._pool) if settings.hub_url else None
        self.clients = Clients(settings.most_clients, warn)
        self.remember, self.forget = self.clients.remember, self.clients.forget
        self._servers: list[Listener] = []
        self._ticking: asyncio.TimerHandle | None = None
        self._matches: dict[tuple[bytes, bytes], _Match | None] = {}
        self._known: dict[str, _Match] = {}
        # The numbers of all routes so far, and where those that are known lead.
        self._owners = itertools.count(1)
        self._addresses: dict[int, Address] = {}
        # By the kind of route and the first digit of the status, how many requests were answered; and open websockets.
        self._counts = {kind: [0] * 10 for kind in (*KINDS, "other", "none")}
        self._websockets = 0
        self._peer_at = functools.lru_cache(maxsize=_MOST_PEERS)(functools.partial(_peer_at, settings.trusted))

    # For the session.

    def use(self, table: RouteTable, revision: int) -> None:
        """Serve these routes from now on. Requests and websockets that are under way go on."""
        for change in table.changes_since(self._table):
            self._change(change)
        self._matches.clear()
        self._table, self.revision = table, revision

    def _change(self, change: Change) -> None:
        if change.route is None:
            self.seen.pop(change.routespec, None)
        else:
            self.seen.setdefault(change.routespec, 0.0)
        known = self._known.pop(change.routespec, None)
        if known is not None:
            owner = known.target.address.owner
            del self._addresses[owner]
            # What waits for a connection goes where the route leads now, unless it would need another path there.
            if change.route is not None and target_of(change.route).prefix == known.target.prefix:
                self._know(change.route, owner)

    def traffic(self) -> Traffic:
        """Return what users have done. May be called from any thread."""
        counts = {
            (kind, digit): count
            for kind, digits in self._counts.items()
            for digit, count in enumerate(digits)
            if count or digit == 2
        }
        connected = len(self.clients.connected)
        return Traffic(counts, connected, min(self._websockets, connected))

    def add_listener(self, server: Listener) -> None:
        """Have a listener closed at the end."""
        self._servers.append(server)

    def make_client(self, address: object, *, is_tls: bool, port: int | None) -> ClientConnection:
        """Return the protocol of a new connection.

        Args:
            address: Where it comes from, as ``accept`` returns it.
            is_tls: Whether it is https.
            port: The port to which all that comes over it is sent for https; None to serve it.
        """
        # Over a unix socket, the client is a program on this machine.
        peer = self._peer_at(address[0] if isinstance(address, tuple) else "127.0.0.1", is_tls)
        return ClientConnection(self if port is None else _Redirecting(self, port), peer)

    def begin(self) -> None:
        """Look at deadlines from now on."""
        self._ticking = asyncio.get_running_loop().call_later(_TICK, self._tick)

    async def close(self, grace: float) -> None:
        """Stop listening, let answers that are under way end, and close all connections.

        Args:
            grace: For how many seconds they may take.
        """
        self.is_stopping = True
        for server in self._servers:
            await server.close()
        loop = asyncio.get_running_loop()
        end = loop.time() + grace
        clients = self.clients.connected
        while self.clients.end_idle() and loop.time() <= end:
            await asyncio.sleep(0.02)
        if self._ticking is not None:
            self._ticking.cancel()
        for client in list(clients):
            client.close()
        self._pool.close()
        for _ in range(_LAST_STEPS):
            if clients or self._pool.is_used:
                await asyncio.sleep(0)

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        # First, so that it goes on whatever goes wrong below; asyncio logs that.
        self._ticking = loop.call_later(_TICK, self._tick)
        now = loop.time()
        for client in self.clients.connected:
            if client.deadline < now:
                loop.call_soon(client.on_deadline)
        self._websockets = sum(client.is_tunnel for client in self.clients.connected)
        self._pool.close_old(now)
        self.clients.report()

    # For connections.

    def answer(self, client: ClientConnection, request: Request) -> bytes | Exchange | Making:
        """See :class:`~.client.Engine`."""
        close = _closes_after(request) or self.is_stopping
        if request.target == HEALTH_PATH:
            return healthy(close=close, head_only=request.method == b"HEAD")
        found = self._match(request)
        if found is not None:
            settings = self._settings
            is_ignored = settings.ignored is not None and settings.ignored.fullmatch(request.path)
            seen = {} if is_ignored else self.seen
            watcher = FrameWatcher() if settings.ignores_pongs and request.upgrade else None
            exchange = Exchange(client, request, found.route, found.target, self._pool, seen, found.counts, watcher)
            if self._on_access is not None:
                exchange.on_over = functools.partial(self._note, client, asyncio.get_running_loop().time())
            return exchange
        if self._on_access is not None:
            status = 404 if len(self._table) else 503
            self._on_access(Access(client.peer.address.decode(), request.method.decode(), request.path, "", status, 0))
        # Before the Hub has added its routes, a page may exist all the same.
        if not len(self._table):
            self._counts["none"][5] += 1
            return self._own_answer(503, request, close=close)
        self._counts["none"][4] += 1
        return functools.partial(self._make, 404, request, close=close)

    def _note(self, client: ClientConnection, began: float, exchange: Exchange) -> None:
        request, seconds = exchange.request, asyncio.get_running_loop().time() - began
        address, method = client.peer.address.decode(), request.method.decode()
        if self._on_access is not None:
            self._on_access(Access(address, method, request.path, exchange.route.routespec, exchange.status, seconds))

    def _match(self, request: Request) -> _Match | None:
        """Return the route of a request; most are asked for again and again."""
        key = request.host, request.target.partition(b"?")[0]
        try:
            return self._matches[key]
        except KeyError:
            route = self._table.match(request.host.decode("latin-1"), request.path)
        found = None if route is None else self._of(route)
        if len(request.host) + len(request.target) <= _LONGEST_REMEMBERED:
            if len(self._matches) >= _MOST_REMEMBERED:
                self._matches.clear()
            self._matches[key] = found
        return found

    def _of(self, route: Route) -> _Match:
        return self._known.get(route.routespec) or self._know(route, next(self._owners))

    def _know(self, route: Route, owner: int) -> _Match:
        # Nothing goes to a route that is gone, over a connection from before or a new one, if another has its address now.
        target = target_of(route)
        address = target.address._replace(owner=owner)
        known = _Match(route, target._replace(address=address), self._counts[kind_of(route)])
        self._known[route.routespec] = known
        self._addresses[owner] = address
        return known

    def _address_now(self, address: Address) -> Address | None:
        return self._addresses.get(address.owner) if address.owner else address

    def _own_answer(self, status: int, request: Request, *, close: bool) -> bytes:
        if wants_page(request):
            # Not all browsers at the same time.
            again = random.randint(4, 9) if status == 503 else 0  # noqa: S311 - no secret
            return page(status, close=close, again=again)
        words = "No server can be reached here now." if status == 503 else "There is nothing here."
        return plain(status, words, close=close, head_only=request.method == b"HEAD")

    def failed(self, client: ClientConnection, exchange: Exchange, reason: str, *, close: bool) -> Making:
        """See :class:`~.client.Engine`."""
        request, route, address = exchange.request, exchange.route, client.peer.address.decode()
        self._on_failure(Failure(address, request.method.decode(), request.path, route.routespec, route.target, reason))
        return functools.partial(self._make, 503, request, close=close)

    async def _make(self, status: int, request: Request, *, close: bool) -> bytes:
        if self._pages is not None and wants_page(request):
            found = await self._pages.page(status, request, close=close)
            if found:
                return found
        return self._own_answer(status, request, close=close)


def _peer_at(trusted: Sequence[Network], address: str, is_tls: bool) -> Peer:
    address = address.removeprefix("::ffff:") if "." in address else address
    return Peer(address.encode("ascii", "replace"), is_in(address, trusted), is_tls)


def _closes_after(request: Request) -> bool:
    """Whether the connection is closed after an answer of the proxy itself."""
    # After an upgrade that is refused, the client may have sent frames already.
    return not request.keep or request.upgrade or request.length != 0


class _Redirecting:
    """Sends all requests to https; see :class:`~.client.Engine`."""

    def __init__(self, engine: Engine, port: int) -> None:
        self._engine = engine
        self._port = port
        self.remember, self.forget, self.failed = engine.remember, engine.forget, engine.failed

    @property
    def is_stopping(self) -> bool:
        """See :class:`~.client.Engine`."""
        return self._engine.is_stopping

    def answer(self, client: ClientConnection, request: Request) -> bytes | Exchange:  # noqa: ARG002
        """See :class:`~.client.Engine`."""
        return redirect(request, self._port, close=_closes_after(request) or self.is_stopping)
