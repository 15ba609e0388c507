"""RoutePublisher: holds the routes, commits changes in batches, and waits until they are live. Only async, no I/O.

Its store and its live check do the I/O. Everything here runs on one event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from .errors import InvalidRoute, ProxyError, StoreError, quoted
from .routes import Change, Route, RouteTable, Snapshot
from .seams import NO_METRICS, Event, LiveCheck, Metrics, Store
from .tasks import with_pauses
from .waits import LiveWaits, Request
from .watcher import Restart, RouteWatcher


class RoutePublisher:
    """Keeps the table in memory, the store, and the routes that users are served in agreement.

    A single writer task takes all waiting changes, commits them as one snapshot, and waits until it is live; then it takes
    the changes that have arrived in the meantime. An idle writer commits a change at once. The table in memory changes only
    after a successful commit.

    If a commit is not live soon, the later changes are committed all the same: they are live as soon as the fault is over,
    and if it lasts, each caller waits for ``live_timeout`` only, and not for the time-outs of those before it as well.
    """

    def __init__(
        self,
        store: Store,
        live_check: LiveCheck,
        *,
        live_timeout: float,
        check_route: Callable[[Route], object],
        log: logging.Logger,
        metrics: Metrics = NO_METRICS,
    ) -> None:
        """Set up without any I/O; call :meth:`open` and :meth:`begin` before anything else.

        Args:
            store: Where the routes are stored; not opened yet. Only this publisher uses it, but whoever made it closes it.
            live_check: Tells which revision is live.
            live_timeout: Seconds to wait for a commit to be live.
            check_route: Raises ValueError for a route that this proxy cannot serve.
            log: Where repairs are reported.
            metrics: Is told of each commit, and what comes of it.
        """
        self._store = store
        self._live_check = live_check
        self._live_timeout = live_timeout
        self._check_route = check_route
        self._log = log
        # Guards the store, _committed and _revision, so that commits happen one at a time.
        self._lock = asyncio.Lock()
        self._committed = Snapshot(0, RouteTable())
        self._revision = 0
        self._metrics = metrics
        self._waits = LiveWaits(live_check, lambda: store.location, log, metrics)
        # No change of these spans an await, so they need no lock.
        self._waiting: list[Request] = []
        self._writer: asyncio.Task[None] | None = None
        self._closed = False
        # Whether a commit was cancelled, or failed unexpectedly: unlike after a StoreError, its store may not know.
        self._interrupted = False
        # The damage that was logged last, and why it could not be repaired, to avoid repeats; "" if all is well.
        self._logged_damage = ""
        self._logged_failure = ""

    @property
    def table(self) -> RouteTable:
        """The routes of the last commit."""
        return self._committed.table

    @property
    def revision(self) -> int:
        """The revision of the last commit."""
        return self._committed.revision

    @property
    def is_committing(self) -> bool:
        """Whether a commit is under way."""
        return self._lock.locked()

    async def open(self) -> RouteTable:
        """Open the store.

        Returns:
            The routes of the last commit, whichever process made it, without those that this proxy cannot serve.

        Raises:
            StoreLocked: If another process owns the store.
            StoreError: If the store cannot be used.
        """
        snapshot = await self._store.open()
        self._revision = snapshot.revision
        # The settings of the proxy may have changed since the routes were stored.
        unservable: list[Change] = []
        async for route in with_pauses(snapshot.table):
            try:
                self._check_route(route)
            except ValueError as error:
                self._log.debug("Leaving out the stored route %s: %s", quoted(route.routespec), error)
                unservable.append(Change(route.routespec, None))
        table, _ = snapshot.table.with_changes(unservable)
        return table

    async def begin(self, table: RouteTable) -> None:
        """Commit the first table; does not wait until it is live.

        Raises:
            CommitFailed: If the table could not be written.
        """
        await self._commit(table)

    async def commit_again(self) -> None:
        """Commit the same routes under a new revision, because something else that the store writes has changed.

        Does not wait until it is live.

        Raises:
            CommitFailed: If it could not be written.
        """
        async with self._lock:
            await self._commit_locked(self.table)

    async def wait_live(self, timeout: float, *, if_refused: float | None = None) -> None:
        """Wait until the last commit is live.

        Args:
            timeout: The maximum number of seconds to wait.
            if_refused: The maximum number of seconds to wait when all answers are refusals; None is ``timeout``.

        Raises:
            RouteNotLive: If it is not live in time.
        """
        await self._waits.until_live(self.revision, timeout, if_refused=if_refused)

    async def add(self, routespec: str, target: str, data: object) -> None:
        """Add a route, or replace the one with this routespec; return when it is live.

        Raises:
            InvalidRoute: If it cannot be served exactly, or the same place already has a route in another spelling.
            CommitFailed: If it could not be written; it is not in the table.
            RouteNotLive: If it was written but did not become live in time; it stays written.
        """

        def make_route() -> Route:
            route = Route.checked(routespec, target, data)
            self._check_route(route)
            return route

        await self._submit(routespec, make_route)

    async def delete(self, routespec: str) -> bool:
        """Delete the route with this routespec; return when it is no longer served.

        Returns:
            Whether there was one.

        Raises:
            CommitFailed: If the change could not be written; the route is still in the table.
            RouteNotLive: If the change was written but did not become live in time; it stays written.
        """
        return await self._submit(routespec, None)

    async def _submit(self, routespec: str, make_route: Callable[[], Route] | None) -> bool:
        if self._closed:
            raise StoreError("The proxy has been stopped; its routes cannot be changed.")
        loop = asyncio.get_running_loop()
        request = Request(routespec, make_route, loop.create_future(), loop.time())
        self._waiting.append(request)
        if self._writer is None or self._writer.done():  # done, if all tasks were cancelled
            self._writer = asyncio.create_task(self._write_all(), name="traefik_toml_proxy writer")
        return await request.done

    async def _write_all(self) -> None:
        """Commit batch after batch, until nothing is waiting."""
        while self._waiting:
            batch, self._waiting = self._waiting, []
            failure: Exception | None = StoreError("The proxy was stopped before the change was written.")
            try:
                await self._write(batch)
                failure = None
            except ProxyError as error:
                failure = error
            except Exception as error:  # noqa: BLE001 - a bug: log the traceback, and raise it in the callers
                failure = error
                self._log.exception("Writing the routes failed unexpectedly")
            finally:
                # Whatever happens, no caller is left waiting.
                if failure is not None:
                    for request in batch:
                        request.settle(failure)
            self._waits.add(self.revision, self._live_timeout, batch)
            await self._waits.take_turns(self._live_timeout)
        self._writer = None

    async def _write(self, batch: list[Request]) -> None:
        """Commit one batch. If this raises, the caller settles the requests that have no outcome yet."""
        async for request in with_pauses(batch):
            request.plan()
        before = self.table
        planned = [request for request in batch if request.change is not None]
        after, outcomes = before.with_changes([request.change for request in planned if request.change is not None])
        for request, outcome in zip(planned, outcomes, strict=True):
            if isinstance(outcome, InvalidRoute):
                request.settle(outcome)
            else:
                request.changed = outcome
        try:
            if after is not before:
                await self._commit(after, sum(request.changed for request in planned))
        except StoreError as error:
            # A request for what the old table already has did not fail.
            for request in planned:
                if request.change and before.get(request.routespec) != request.change.route:
                    request.settle(error)

    async def _commit(self, table: RouteTable, changes: int = 0) -> None:
        async with self._lock:
            await self._commit_locked(table, changes)

    async def _commit_locked(self, table: RouteTable, changes: int = 0) -> None:
        # Never reuse a revision, even if its commit fails: it may have been written anyway.
        self._revision += 1
        snapshot = Snapshot(self._revision, table)
        self._interrupted = True
        try:
            await self._store.commit(snapshot)
        except StoreError:
            self._interrupted = False
            self._metrics.count(Event.COMMIT_FAILED)
            raise
        self._interrupted = False
        self._logged_failure = ""
        self._committed = snapshot
        self._metrics.committed(snapshot.revision, len(table), changes)

    async def repair_store(self) -> bool:
        """Commit again if the stored snapshot may differ from the last commit; return whether it is the last commit now.

        Does not raise; logs it once.
        """
        async with self._lock:
            damage = await self._store.damage()
            if damage is None and self._interrupted:
                damage = "may hold a change that was interrupted"
            if damage is None:
                if self._logged_damage:
                    self._logged_damage = ""
                    self._log.info("%s is as it should be again", self._store.location)
                return True
            if not self._logged_damage:
                self._logged_damage = damage
                self._log.warning("%s %s: writing it again", self._store.location, damage)
                self._metrics.count(Event.REPAIR)
            return await self._commit_again()

    async def commit_once_more(self) -> None:
        """Commit the current table under a new revision. Does not raise if it cannot be written; logs it once."""
        self._metrics.count(Event.REPAIR)
        async with self._lock:
            await self._commit_again()

    async def _commit_again(self) -> bool:
        """Commit the current table under a new revision; return whether that worked. Call only while holding the lock."""
        try:
            await self._commit_locked(self.table)
        except StoreError as error:
            if self._logged_failure != str(error):
                self._logged_failure = str(error)
                self._log.error("The routes could not be written again; will retry: %s", error)
            return False
        return True

    async def watch(self, interval: float, restart: Restart | None = None) -> None:
        """Repair the store when others change it, and commit again if the last commit is not live. Never returns.

        Args:
            interval: Seconds between two checks.
            restart: Restarts a proxy that answers, but loads no commit any more; None if that is not done here.
        """
        watcher = RouteWatcher(self, self._store, self._live_check, self._log, restart, metrics=self._metrics)
        await watcher.run(interval)

    async def close(self) -> None:
        """Stop writing; callers that are still waiting get an error. May be called twice."""
        self._closed = True
        waiting, self._waiting = self._waiting, []
        for request in waiting:
            request.settle(StoreError("The proxy was stopped before the change was written."))
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.wait([self._writer])
        await self._waits.close()
