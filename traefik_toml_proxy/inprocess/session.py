"""Opens a session with the proxy in the Hub's own process. Does I/O."""

from __future__ import annotations

import asyncio
import functools
import logging
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from ..errors import CommitFailed
from ..publisher import RoutePublisher
from ..routes import Route, RouteTable, Snapshot
from ..runtime.certificate import PairFiles
from ..runtime.transport_files import WatchedTransports
from ..seams import Answer, Event, Metrics
from ..session import CleanupStack, Session, cleanup_on_error
from ..threads import hold_all, in_thread
from .engine import Engine, EngineSettings, Failure
from .listeners import Place, open_sockets, remove_socket, unused_sockets
from .loop import LoopThread, make_loop
from .renewal import PublicTls
from .reports import Reports
from .seen import times_of
from .serving import serve
from .tls import PublicContext, TargetTls

# Seconds until a change is served; it takes less than a millisecond unless something is broken.
LIVE_TIMEOUT = 30.0
# Seconds that answers which are under way may take when the Hub stops.
_GRACE = 2.0
# How many failed requests, and how many requests of any kind, wait to be logged; of more, the oldest are forgotten.
MOST_FAILURES, MOST_ACCESSES = 100, 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class InProcessSettings:
    """The settings of a proxy in the Hub's process.

    Attributes:
        place: Where to listen.
        event_loop: See :func:`~.loop.make_loop`.
        engine: How requests are served.
        certificate: The admin's certificate, for https; None for http.
        redirect: Where plain http is sent to https, and to which port; None for nowhere.
        transports: The certificates for https targets.
        check_route: Raises ValueError for a route that cannot be served.
        metrics: Is told what goes on.
        access_log: Whether each request is logged.
    """

    place: Place
    event_loop: str
    engine: EngineSettings
    certificate: PairFiles | None
    redirect: tuple[Place, int] | None
    transports: WatchedTransports
    check_route: Callable[[Route], object]
    metrics: Metrics
    access_log: bool = False

    @property
    def places(self) -> tuple[tuple[Place, bool, int | None], ...]:
        """Where it listens; for each, whether with TLS, and the port to which all is sent for https, or None."""
        public = (self.place, self.certificate is not None, None)
        if self.redirect is None:
            return (public,)
        place, port = self.redirect
        return (public, (place, False, port))


async def open_in_process(settings: InProcessSettings, log: logging.Logger) -> Session:
    """Start the proxy; return when it listens.

    Raises:
        ConfigurationError: If it cannot; everything started has been stopped again. The message says what to do.
    """
    async with cleanup_on_error(log) as cleanup:
        cleanup.add("the threads", hold_all())
        await in_thread(settings.transports.read)
        thread = LoopThread(make_loop(settings.event_loop))
        cleanup.add("the event loop", thread.stop)
        thread.start()
        tls, failures = TargetTls(), Reports(log, logging.WARNING, MOST_FAILURES)
        accesses = Reports(log, logging.INFO, MOST_ACCESSES) if settings.access_log else None

        def on_failure(failure: Failure) -> None:
            settings.metrics.count(Event.REQUEST_FAILED)
            failures(failure)

        engine = await thread.call(lambda: Engine(settings.engine, tls.current, on_failure, failures, accesses))
        # Ended in reverse order: its file is removed when nobody listens any more.
        cleanup.add("the socket", functools.partial(in_thread, remove_socket, settings.place))
        cleanup.add("the proxy", lambda: thread.run(engine.close(_GRACE)))
        store = EngineStore(thread, engine, tls, settings.transports)
        publisher = RoutePublisher(
            store,
            EngineCheck(engine),
            live_timeout=LIVE_TIMEOUT,
            check_route=settings.check_route,
            log=log,
            metrics=settings.metrics,
        )
        await publisher.begin(await publisher.open())
        await _listen(settings, thread, engine, cleanup, log)
        settings.metrics.traffic(engine.traffic)
        cleanup.add("the metrics", functools.partial(forget_traffic, settings.metrics))
        log.info("The proxy in the Hub's process serves %s, with %s", settings.place, type(thread.loop).__module__)
        session = Session(publisher, cleanup, activity=EngineActivity(engine))
        settings.transports.watch(publisher, cleanup, log, settings.metrics)
        return session


async def _listen(
    settings: InProcessSettings, thread: LoopThread, engine: Engine, cleanup: CleanupStack, log: logging.Logger
) -> None:
    context = None
    if settings.certificate is not None:
        shown = PublicContext()
        tls = PublicTls(settings.certificate, functools.partial(in_thread, shown.use), log, settings.metrics)
        await tls.open()
        context = shown.context
        cleanup.add_task(asyncio.create_task(tls.watch(), name="traefik_toml_proxy certificate"))
    await warn_of_systemd(settings, log)
    for place, is_tls, port in settings.places:
        await thread.run(serve(engine, await in_thread(open_sockets, place), context if is_tls else None, port))
    await thread.call(engine.begin)


async def warn_of_systemd(settings: InProcessSettings, log: logging.Logger) -> None:
    """Log which sockets systemd has opened for nothing. To be called before others are opened: that may fail for this."""
    for unused in await in_thread(unused_sockets, [place for place, *_ in settings.places]):
        log.warning("%s", unused)


async def forget_traffic(metrics: Metrics) -> None:
    """Have the metrics of traffic end."""
    metrics.traffic(None)


class EngineStore:
    """Has an engine serve each snapshot; see :class:`~traefik_toml_proxy.seams.Store`. Nothing is kept for the next Hub."""

    def __init__(self, thread: LoopThread, engine: Engine, tls: TargetTls, transports: WatchedTransports) -> None:
        self._thread = thread
        self._engine = engine
        self._tls = tls
        self._transports = transports

    @property
    def location(self) -> str:
        """See :class:`~traefik_toml_proxy.seams.Store`."""
        return "the Hub's memory"

    @property
    def moves(self) -> int:
        """See :class:`~traefik_toml_proxy.seams.Store`."""
        return 0

    async def open(self) -> Snapshot:
        """See :class:`~traefik_toml_proxy.seams.Store`."""
        return Snapshot(0, RouteTable())

    async def commit(self, snapshot: Snapshot) -> None:
        """See :class:`~traefik_toml_proxy.seams.Store`."""
        transports = self._transports.current()
        try:
            if not self._tls.is_of(transports):  # a thread takes longer to start than all the rest of this
                await in_thread(self._tls.update, transports)
        except ssl.SSLError as error:
            raise CommitFailed(self.location, f"a certificate for https targets cannot be used ({error})") from error
        await self._thread.call(lambda: self._engine.use(snapshot.table, snapshot.revision))

    async def damage(self) -> str | None:
        """See :class:`~traefik_toml_proxy.seams.Store`."""
        return None

    async def close(self) -> None:
        """See :class:`~traefik_toml_proxy.seams.Store`."""


class EngineCheck:
    """Knows what an engine serves; see :class:`~traefik_toml_proxy.seams.LiveCheck`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def ask(self) -> Answer:
        """See :class:`~traefik_toml_proxy.seams.LiveCheck`."""
        revision = self._engine.revision
        return Answer(revision, answered=True, description=f"the proxy serves revision {revision}")

    async def wait(self, revision: int, timeout: float, *, if_refused: float | None = None) -> Answer:  # noqa: ARG002
        """See :class:`~traefik_toml_proxy.seams.LiveCheck`. What was committed is served already."""
        return await self.ask()

    async def close(self) -> None:
        """See :class:`~traefik_toml_proxy.seams.LiveCheck`."""


class EngineActivity:
    """Knows when each route was last used; see :class:`~traefik_toml_proxy.seams.Activity`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def last_seen(self) -> Mapping[str, datetime]:
        """See :class:`~traefik_toml_proxy.seams.Activity`."""
        return await times_of(self._engine.seen.copy())  # whole, since no other thread runs meanwhile
