"""Opens a session with the proxy in a process of its own, a child of the Hub. Does I/O."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..errors import CommitFailed, ConfigurationError, ProxyError
from ..publisher import RoutePublisher
from ..routes import Route, RouteTable, Snapshot
from ..runtime.certificate import admins_pair
from ..runtime.state_folder import StateFolder
from ..runtime.transport_files import WatchedTransports
from ..seams import Answer
from ..session import CleanupStack, Session, cleanup_on_error
from ..tasks import LoggedOnce
from ..threads import hold_all, in_thread
from ..traefik.transports import Transports
from .keeper import ANSWER_SECONDS, Keeper
from .link import Link, LinkLost, NoAnswer
from .listeners import remove_socket
from .loop import make_loop
from .messages import BrokenMessage, check_length, pieces_of
from .news import News
from .renewal import PublicTls
from .reports import Reports
from .session import LIVE_TIMEOUT, MOST_ACCESSES, MOST_FAILURES, InProcessSettings, forget_traffic, warn_of_systemd
from .settings import ChildSettings, KeeperSettings

# Seconds in which the process says what it serves.
_CHECK_SECONDS = 2.0
# Seconds between two looks whether the files for the next Hub are there.
_FILES_INTERVAL = 5.0
# How many deleted routes are in a message.
_DELETED_AT_ONCE = 1000


async def open_apart(
    settings: InProcessSettings, folder: Path, ends_with_hub: Callable[[], bool], log: logging.Logger
) -> Session:
    """Start the proxy in a process of its own, or take over the one of the last Hub; return when it listens.

    Args:
        settings: The settings.
        folder: ``c.InProcessProxy.state_dir``.
        ends_with_hub: Returns whether the process ends when the Hub does without having stopped it.
        log: The Hub's.

    Raises:
        ProxyError: If it cannot; everything started has been stopped again. The message says what to do.
    """
    async with cleanup_on_error(log) as cleanup:
        cleanup.add("the threads", hold_all())
        await in_thread(settings.transports.read)
        state = StateFolder(folder, log, "c.InProcessProxy.state_dir", must_be_own=True)
        cleanup.add("the lock of state_dir", state.close)
        await state.open()
        news = News(
            Reports(log, logging.WARNING, MOST_FAILURES),
            Reports(log, logging.INFO, MOST_ACCESSES),
            log,
            settings.metrics,
        )
        keeper = Keeper(_keeper_settings(settings, folder, ends_with_hub), news.take, log, settings.metrics)
        news.ask(keeper)
        cleanup.add("the socket", functools.partial(in_thread, remove_socket, settings.place))
        if settings.certificate is not None:
            # If it cannot be used, nothing is started, and nothing that runs is ended.
            await in_thread(admins_pair, settings.certificate)
        await in_thread(lambda: make_loop(settings.event_loop).close())  # nor if there is no such loop
        await warn_of_systemd(settings, log)
        cleanup.add("the proxy's process", keeper.stop)
        await keeper.open()
        publisher = await _publish(settings, keeper, news, cleanup, log)
        cleanup.add_task(asyncio.create_task(_keep_files(state, keeper, log), name="traefik_toml_proxy files"))
        settings.metrics.traffic(news.traffic)
        cleanup.add("the metrics", functools.partial(forget_traffic, settings.metrics))
        log.info(
            "The proxy in a process of its own (%d) serves %s; routes: %d",
            *(keeper.pid, settings.place, len(publisher.table)),
        )
        session = Session(publisher, cleanup, activity=news)
        settings.transports.watch(publisher, cleanup, log, settings.metrics)
        return session


async def _publish(
    settings: InProcessSettings, keeper: Keeper, news: News, cleanup: CleanupStack, log: logging.Logger
) -> RoutePublisher:
    """Give the process the routes and the certificate, and have it listen, now and whenever it is started again."""
    store = ChildStore(keeper, settings.transports, news)

    def check_route(route: Route) -> None:
        settings.check_route(route)
        check_length(route)

    publisher = RoutePublisher(
        store,
        ChildCheck(keeper, store),
        live_timeout=LIVE_TIMEOUT,
        check_route=check_route,
        log=log,
        metrics=settings.metrics,
    )
    tls = None
    if settings.certificate is not None:
        tls = PublicTls(settings.certificate, keeper.show, log, settings.metrics)
    table = await publisher.open()

    async def tell_all() -> None:
        await publisher.begin(table)
        if tls is not None:
            await tls.open()

    try:
        await tell_all()
    except ConfigurationError:
        raise
    except ProxyError as error:
        # Until the end of the start, nobody else starts one again that has died.
        if keeper.taken is None:
            raise
        await keeper.start_anew(str(error))
        await tell_all()
    if tls is not None:
        cleanup.add_task(asyncio.create_task(tls.watch(), name="traefik_toml_proxy certificate"))
    if keeper.taken is None:
        await keeper.listen()

    async def publish() -> None:
        news.begin_anew()
        await publisher.commit_again()

    keeper.watch(publish)
    return publisher


async def _keep_files(state: StateFolder, keeper: Keeper, log: logging.Logger) -> None:
    """Make files again that others have deleted: the next Hub needs them. Never returns."""
    errors = LoggedOnce("Looking at the files of the proxy", log)
    while True:
        await asyncio.sleep(_FILES_INTERVAL)
        with errors:
            await state.repair()
            await keeper.mend_files()


def _keeper_settings(settings: InProcessSettings, folder: Path, ends_with_hub: Callable[[], bool]) -> KeeperSettings:
    return KeeperSettings(
        folder=folder,
        event_loop=settings.event_loop,
        child=ChildSettings(engine=settings.engine, access_log=settings.access_log),
        places=settings.places,
        ends_with_hub=ends_with_hub,
    )


class ChildStore:
    """Has the process serve each snapshot; see :class:`~traefik_toml_proxy.seams.Store`. It is sent what has changed."""

    def __init__(self, keeper: Keeper, transports: WatchedTransports, news: News) -> None:
        """Set the process.

        Args:
            keeper: Has the connection to it.
            transports: The certificates for https targets.
            news: Is told which routes are no more.
        """
        self.revision = 0
        self._keeper = keeper
        self._transports = transports
        self._news = news
        # What the process at this connection has; nothing is known of any other one.
        self._link: Link | None = None
        self._held = Snapshot(0, RouteTable())
        self._told: Transports | None = None
        self._is_certain = True

    @property
    def location(self) -> str:
        """See :class:`~traefik_toml_proxy.seams.Store`."""
        return f"the proxy's process {self._keeper.pid or ''}".rstrip()

    @property
    def moves(self) -> int:
        """See :class:`~traefik_toml_proxy.seams.Store`."""
        return 0

    async def open(self) -> Snapshot:
        """See :class:`~traefik_toml_proxy.seams.Store`. The routes of the last Hub are those that its process has."""
        self._link = self._keeper.link
        if self._keeper.taken is not None:
            revision, routes = self._keeper.taken
            self._held = Snapshot(revision, RouteTable(routes))
            self.revision = revision
        return self._held

    async def commit(self, snapshot: Snapshot) -> None:
        """See :class:`~traefik_toml_proxy.seams.Store`. It is live when this returns."""
        was_certain, self._is_certain = self._is_certain, False
        transports = self._transports.current()
        loop = asyncio.get_running_loop()
        end = loop.time() + ANSWER_SECONDS
        while True:
            try:
                link = await self._keeper.connected(end - loop.time())
                answer = await self._tell(link, snapshot, transports, is_known=was_certain and link is self._link)
                break
            except LinkLost as error:
                # What the process was told has ended with it. The next one is told everything.
                if loop.time() >= end:
                    raise CommitFailed(self.location, str(error)) from error
            except (NoAnswer, BrokenMessage) as error:
                raise CommitFailed(self.location, str(error)) from error
        if "error" in answer:
            raise CommitFailed(self.location, str(answer["error"]))
        before, self._held = self._held, snapshot
        self._link, self._told, self._is_certain = link, transports, True
        self.revision = snapshot.revision
        self._news.forget(
            change.routespec for change in snapshot.table.changes_since(before.table) if change.route is None
        )

    async def _tell(self, link: Link, snapshot: Snapshot, transports: Transports, *, is_known: bool) -> dict[str, Any]:
        """Tell the process what to serve, and return its answer; ``is_known`` says whether it is known what it serves."""
        changed = await _send_changes(link, self._held if is_known else Snapshot(0, RouteTable()), snapshot)
        message: dict[str, Any] = {"commit": snapshot.revision, "changed": changed}
        if link is not self._link or transports != self._told:
            message["transports"] = {
                name: list(asdict(one).values()) if one else None
                for name, one in (("internal", transports.internal), ("extra", transports.extra))
            }
        return await link.ask(message, ANSWER_SECONDS)

    async def damage(self) -> str | None:
        """See :class:`~traefik_toml_proxy.seams.Store`."""
        return None if self._is_certain else "may not have the last change"

    async def close(self) -> None:
        """See :class:`~traefik_toml_proxy.seams.Store`."""


async def _send_changes(link: Link, before: Snapshot, after: Snapshot) -> int:
    """Send what has changed; return how many changes that are."""
    changes = after.table.changes_since(before.table)
    deleted = [change.routespec for change in changes if change.route is None]
    await link.settled(ANSWER_SECONDS)
    link.send({"changes": before.revision})
    for start in range(0, len(deleted), _DELETED_AT_ONCE):
        link.send({"changes": None, "deleted": deleted[start : start + _DELETED_AT_ONCE]})
    for piece in pieces_of(change.route for change in changes if change.route is not None):
        link.send({"changes": None, "routes": piece})
        await asyncio.sleep(0)
        await link.settled(ANSWER_SECONDS)
    return len(changes)


class ChildCheck:
    """Knows what the process serves; see :class:`~traefik_toml_proxy.seams.LiveCheck`."""

    def __init__(self, keeper: Keeper, store: ChildStore) -> None:
        """Set the process, and what was committed to it."""
        self._keeper = keeper
        self._store = store

    async def ask(self) -> Answer:
        """See :class:`~traefik_toml_proxy.seams.LiveCheck`."""
        try:
            link = await self._keeper.connected(0)
            revision = int((await link.ask({"ping": True}, _CHECK_SECONDS)).get("revision", 0))
        except (LinkLost, NoAnswer) as error:
            return Answer(None, answered=False, description=f"the proxy's process: {error}")
        return Answer(revision, answered=True, description=f"the proxy serves revision {revision}")

    async def wait(self, revision: int, timeout: float, *, if_refused: float | None = None) -> Answer:  # noqa: ARG002
        """See :class:`~traefik_toml_proxy.seams.LiveCheck`. What the process has acknowledged is served already."""
        served = self._store.revision
        return Answer(served, answered=True, description=f"the proxy serves revision {served}")

    async def close(self) -> None:
        """See :class:`~traefik_toml_proxy.seams.LiveCheck`."""
