"""RoutePublisher: holds the routes, commits changes in batches, and waits until they are live. Only async, no I/O.

Its store and its live check do the I/O. Everything here runs on one event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass

from .errors import InvalidRoute, ProxyError, RouteNotLive, StoreError, quoted
from .routes import Change, Route, RouteTable, Snapshot
from .seams import LiveCheck, Store

# How long the event loop may be held at a time, in seconds.
_LONGEST_TURN = 0.003
# How many looks in a row may find that the last commit is not live before it is committed again: it may just be loading.
_PATIENCE = 5
_LONGEST_PATIENCE = 60


@dataclass(slots=True, eq=False)
class _Request:
    """One waiting call: the change it wants, and the future that gets the outcome."""

    routespec: str
    make_route: Callable[[], Route] | None
    done: asyncio.Future[bool]
    change: Change | None = None
    changed: bool = False

    def plan(self) -> None:
        """Check the route; one that cannot be served is refused here."""
        try:
            self.change = Change(self.routespec, self.make_route and self.make_route())
        except Exception as refusal:  # noqa: BLE001 - arguments of a wrong type, too: they must not fail the whole batch
            self.settle(refusal)

    def settle(self, error: Exception | None) -> None:
        """Give the caller the outcome, if it still waits (a cancelled caller does not cancel the shared commit)."""
        if self.done.done():
            return
        if error is None:
            self.done.set_result(self.changed)
        else:
            self.done.set_exception(error)


async def _with_pauses(batch: list[_Request]) -> AsyncIterator[_Request]:
    """Iterate over a batch and let other tasks run now and then: the Hub may change thousands of routes at once."""
    loop = asyncio.get_running_loop()
    paused = loop.time()
    for request in batch:
        yield request
        if loop.time() - paused > _LONGEST_TURN:
            await asyncio.sleep(0)
            paused = loop.time()


class RoutePublisher:
    """Keeps the table in memory, the store, and what users are served the same.

    One writer at a time takes all waiting changes, commits them as one snapshot, waits until it is live, answers the
    callers, and takes what has arrived meanwhile. When nothing waits, a change is committed at once. The table moves
    forward only after its store did.
    """

    def __init__(
        self,
        store: Store,
        live_check: LiveCheck,
        *,
        live_timeout: float,
        check_route: Callable[[Route], object],
        log: logging.Logger,
    ) -> None:
        """Prepare to publish routes; call :meth:`open` and :meth:`begin` before anything else.

        Args:
            store: Where the routes are kept; not opened. This publisher is its only user, but does not close it.
            live_check: Tells what is live.
            live_timeout: Seconds to wait for a commit to be live.
            check_route: Raises ValueError for a route that this proxy cannot serve.
            log: Where repairs are reported.
        """
        self._store = store
        self._live_check = live_check
        self._live_timeout = live_timeout
        self._check_route = check_route
        self._log = log
        # Guards the store and the two attributes that follow it: one commit at a time, and the table moves with it.
        self._lock = asyncio.Lock()
        self._committed = Snapshot(0, RouteTable())
        self._revision = 0
        self._live_revision = -1
        # Changed only between two awaits, so they need no lock.
        self._waiting: list[_Request] = []
        self._writer: asyncio.Task[None] | None = None
        self._closed = False
        # The last problem that was logged, to avoid repeats.
        self._logged: str | None = None
        # The revision that the watcher has found not to be live.
        self._missed_revision = -1

    @property
    def table(self) -> RouteTable:
        """The routes of the last commit."""
        return self._committed.table

    @property
    def revision(self) -> int:
        """The revision of the last commit."""
        return self._committed.revision

    async def open(self) -> RouteTable:
        """Open the store.

        Returns:
            The routes that were committed last, by whichever process; without those that this proxy cannot serve.

        Raises:
            StoreLocked: If another process uses the store.
            StoreError: If it cannot be used.
        """
        snapshot = await self._store.open()
        self._revision = snapshot.revision
        return RouteTable(self._servable(snapshot.table))

    def _servable(self, routes: Iterable[Route]) -> Iterable[Route]:
        """Return the routes that pass the check: settings may have changed since the others were added."""
        for route in routes:
            try:
                self._check_route(route)
            except ValueError as error:
                self._log.debug("Leaving out the stored route %s: %s", quoted(route.routespec), error)
            else:
                yield route

    async def begin(self, table: RouteTable) -> None:
        """Commit the first table, so that there is something to be live; does not wait until it is.

        Raises:
            CommitFailed: If it could not be written.
        """
        await self._commit(table)

    async def wait_live(self, timeout: float) -> None:
        """Wait until the last commit is live.

        Raises:
            RouteNotLive: If it is not within ``timeout`` seconds.
        """
        revision = self.revision
        if self._live_revision >= revision:
            return
        loop = asyncio.get_running_loop()
        began = loop.time()
        answer = await self._live_check.wait(revision, timeout)
        if not answer.serves(revision):
            waited = loop.time() - began
            raise RouteNotLive(revision, self._store.location, waited, answer.description, answer.advice)
        self._live_revision = max(self._live_revision, revision)

    async def add(self, routespec: str, target: str, data: object) -> None:
        """Add a route, or replace the one with this routespec; return when it is live.

        Raises:
            InvalidRoute: If it cannot be served exactly, or its place is routed under another spelling.
            CommitFailed: If it could not be written; it is not in the table.
            RouteNotLive: If it is written, and stays so, but is not live in time.
        """

        def make_route() -> Route:
            route = Route.checked(routespec, target, data)
            self._check_route(route)
            return route

        await self._submit(routespec, make_route)

    async def delete(self, routespec: str) -> bool:
        """Delete the route with this routespec; return when it is not served any more.

        Returns:
            Whether there was one.

        Raises:
            CommitFailed: If it could not be written; the route is still in the table.
            RouteNotLive: If it is written, and stays so, but the old table is still served when the time is up.
        """
        return await self._submit(routespec, None)

    async def _submit(self, routespec: str, make_route: Callable[[], Route] | None) -> bool:
        if self._closed:
            raise StoreError("The proxy has been stopped; its routes cannot be changed.")
        request = _Request(routespec, make_route, asyncio.get_running_loop().create_future())
        self._waiting.append(request)
        if self._writer is None or self._writer.done():  # done: somebody has cancelled all tasks
            self._writer = asyncio.create_task(self._write_all(), name="traefik_toml_proxy writer")
        return await request.done

    async def _write_all(self) -> None:
        """Commit batch after batch, until nothing waits."""
        while self._waiting:
            batch, self._waiting = self._waiting, []
            failure: Exception | None = StoreError("The proxy was stopped before the change was live.")
            try:
                await self._write(batch)
                failure = None
            except ProxyError as error:
                failure = error
            except Exception as error:  # noqa: BLE001 - a bug: logged with its traceback, and the callers get it
                failure = error
                self._log.exception("Writing the routes failed unexpectedly")
            finally:
                # Whatever happens to a batch, no caller waits for ever.
                for request in batch:
                    request.settle(failure)
        self._writer = None

    async def _write(self, batch: list[_Request]) -> None:
        """Commit one batch and settle the requests with an outcome of their own; the caller settles all others.

        Raises:
            RouteNotLive: If it is written, but not live in time.
        """
        async for request in _with_pauses(batch):
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
                await self._commit(after)
        except StoreError as error:
            # A request whose wish was already fulfilled by the old table has not failed.
            for request in planned:
                if request.change and before.get(request.routespec) != request.change.route:
                    request.settle(error)
        if any(not request.done.done() for request in batch):
            await self.wait_live(self._live_timeout)
        async for request in _with_pauses(batch):
            request.settle(None)

    async def _commit(self, table: RouteTable) -> None:
        async with self._lock:
            await self._commit_locked(table)

    async def _commit_locked(self, table: RouteTable) -> None:
        # A revision is used only once, even when its commit fails: it may have been written all the same.
        self._revision += 1
        snapshot = Snapshot(self._revision, table)
        await self._store.commit(snapshot)
        self._committed = snapshot

    async def mend_store(self) -> None:
        """Commit again if what the store holds may differ from the last commit. Does not raise; logs it once."""
        async with self._lock:
            damage = await self._store.damage()
            if damage is None:
                self._logged = None
                return
            if self._logged is None:
                self._logged = damage
                self._log.warning("%s %s: writing it again", self._store.location, damage)
            await self._commit_again()

    async def _commit_again(self) -> None:
        """Commit the current table under a new revision. Call only while holding the lock."""
        try:
            await self._commit_locked(self.table)
        except StoreError as error:
            if self._logged != str(error):
                self._logged = str(error)
                self._log.error("The routes could not be put right; will try again: %s", error)

    async def watch(self, interval: float) -> None:
        """Put right, for ever, what others do to the store, and commit again what is not live.

        Args:
            interval: Seconds between two looks.
        """
        missed, patience = 0, _PATIENCE
        while True:
            await asyncio.sleep(interval)
            try:
                await self.mend_store()
                missed = await self._count_missed(missed, patience)
                if missed > patience:
                    # A lost file event, or a version that the proxy could not read: a new version is a new event.
                    missed, patience = 0, min(patience * 2, _LONGEST_PATIENCE)
                    async with self._lock:
                        await self._commit_again()
                elif missed == 0:
                    patience = _PATIENCE
            except Exception:  # noqa: BLE001 - a bug: logged with its traceback; the next look may go better
                self._log.exception("Checking the routes failed unexpectedly; will go on")

    async def _count_missed(self, missed: int, patience: int) -> int:
        """Ask once whether the last commit is live.

        Args:
            missed: How often in a row it was not.
            patience: How often in a row it may not be before that is logged.

        Returns:
            The new number. The same number while a commit is under way, or while nobody answers (starting the proxy again
            is not done here). Each revision is counted anew: when changes follow one another, the last one is often
            just being loaded.
        """
        revision = self.revision
        answer = await self._live_check.ask()
        if not answer.answered or self._lock.locked() or revision != self.revision:
            return missed
        if answer.serves(revision):
            return 0
        if self._missed_revision != revision:
            self._missed_revision, missed = revision, 0
        if missed == patience:
            self._log.warning(
                "Revision %d of the routes in %s is not live (%s): writing it again",
                revision,
                self._store.location,
                answer.description,
            )
        return missed + 1

    async def close(self) -> None:
        """Stop writing; callers that still wait get an error. May be called twice."""
        self._closed = True
        waiting, self._waiting = self._waiting, []
        for request in waiting:
            request.settle(StoreError("The proxy was stopped before the change was written."))
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.wait([self._writer])
