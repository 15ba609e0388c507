"""RoutePublisher: the route table and its lock; batches changes, commits them, waits until they are live.

Does no I/O itself: its store and its probe do. Everything here runs on one event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Protocol

from .errors import InvalidRoute, ProxyError, StoreError
from .routes import Change, Route, RouteTable, Snapshot
from .stores import Store

# How long others may be kept from running, in seconds.
_LONGEST_TURN = 0.003
# How often in a row Traefik may be seen without the last commit, as it may just be loading it, before it is told again.
_PATIENCE = 5
_LONGEST_PATIENCE = 60


class Answer(Protocol):
    """What a probe learned (see traefik/probe.py)."""

    @property
    def revision(self) -> int | None:
        """The revision that is live, or None if it is not serving our routes."""

    @property
    def answered(self) -> bool:
        """Whether anybody answered at all."""

    @property
    def told(self) -> str:
        """The answer in words."""


class Probe(Protocol):
    """Knows which revision is live (see traefik/probe.py for the real one)."""

    async def ask(self) -> Answer:
        """Ask once; does not raise."""

    async def wait_live(self, revision: int, timeout: float, *, where: str) -> None:
        """Return when ``revision`` or a later one is live.

        Raises:
            RouteNotLive: If it is not within ``timeout`` seconds.
        """


@dataclass(slots=True, eq=False)
class _Request:
    """One waiting call: what it wants, and where it hears of the outcome."""

    routespec: str
    make_route: Callable[[], Route] | None
    done: asyncio.Future[bool]
    change: Change | None = None
    changed: bool = False

    def plan(self) -> None:
        """Check what is wanted; a route that cannot be served is refused here."""
        try:
            self.change = Change(self.routespec, self.make_route and self.make_route())
        except Exception as refusal:  # noqa: BLE001 - also what is not even text: the others of the batch are not to hear of it
            self.settle(refusal)

    def settle(self, error: Exception | None) -> None:
        """Tell the caller, if it is still there (a cancelled one does not cancel the shared write)."""
        if self.done.done():
            return
        if error is None:
            self.done.set_result(self.changed)
        else:
            self.done.set_exception(error)


async def _with_pauses(batch: list[_Request]) -> AsyncIterator[_Request]:
    """Go through a batch, and let others run now and then: the Hub may change thousands of routes at once."""
    loop = asyncio.get_running_loop()
    paused = loop.time()
    for request in batch:
        yield request
        if loop.time() - paused > _LONGEST_TURN:
            await asyncio.sleep(0)
            paused = loop.time()


class RoutePublisher:
    """Keeps the table in memory, in the store and in Traefik the same.

    One writer at a time takes all changes that wait, commits them as one snapshot, waits until it is live, tells the
    callers, and takes what has come in meanwhile. When nothing waits, a change goes out at once. The table moves forward
    only after its store did.
    """

    def __init__(self, store: Store, probe: Probe, *, live_timeout: float, log: logging.Logger) -> None:
        """Args:
        store: An opened store; this publisher is its only writer.
        probe: Asks what is live.
        live_timeout: Seconds to wait for a written snapshot to be live.
        log: Where repairs are told.
        """
        self._store = store
        self._probe = probe
        self._live_timeout = live_timeout
        self._log = log
        # Guards the store and the two that follow it: one commit at a time, and the table moves with it.
        self._lock = asyncio.Lock()
        self._committed = Snapshot(0, RouteTable())
        self._revision = 0
        self._live_revision = -1
        # Changed only between two awaits, so they need no lock.
        self._waiting: list[_Request] = []
        self._writer: asyncio.Task[None] | None = None
        self._closed = False
        # What the log has been told of the present trouble, so that it is told once.
        self._told: str | None = None
        # The revision that the watcher counts how often it was not live.
        self._missed_revision = -1

    @property
    def table(self) -> RouteTable:
        """The routes of the last commit."""
        return self._committed.table

    @property
    def revision(self) -> int:
        """The revision of the last commit."""
        return self._committed.revision

    async def begin(self, table: RouteTable, *, after_revision: int) -> None:
        """Commit a first snapshot, so that there is something to be live; does not wait for it.

        Args:
            table: The routes to begin with.
            after_revision: The last revision that the store has seen.

        Raises:
            CommitFailed: If it could not be written.
        """
        self._revision = after_revision
        await self._commit(table)

    async def wait_live(self, timeout: float) -> None:
        """Wait until the last commit is live.

        Raises:
            RouteNotLive: If it is not within ``timeout`` seconds.
        """
        revision = self.revision
        if self._live_revision < revision:
            await self._probe.wait_live(revision, timeout, where=self._store.location)
            self._live_revision = max(self._live_revision, revision)

    async def add(self, routespec: str, target: str, data: object) -> None:
        """Have this route in the table, instead of another one with its routespec; return when it is live.

        Raises:
            InvalidRoute: If it cannot be served exactly, or its place is routed under another spelling.
            CommitFailed: If it could not be written; nothing has changed.
            RouteNotLive: If it is written, and stays so, but is not live in time.
        """
        await self._submit(routespec, lambda: Route.checked(routespec, target, data))

    async def delete(self, routespec: str) -> bool:
        """Have no route under ``routespec``; return when none is live.

        Returns:
            Whether there was one.

        Raises:
            CommitFailed: If it could not be written; nothing has changed.
            RouteNotLive: If it is written, and stays so, but Traefik still serves the old table after the time is over.
        """
        return await self._submit(routespec, None)

    async def _submit(self, routespec: str, make_route: Callable[[], Route] | None) -> bool:
        if self._closed:
            raise StoreError("The proxy has been stopped; its routes cannot be changed.")
        request = _Request(routespec, make_route, asyncio.get_running_loop().create_future())
        self._waiting.append(request)
        if self._writer is None or self._writer.done():  # done, where somebody has cancelled all tasks
            self._writer = asyncio.create_task(self._write_all(), name="traefik_toml_proxy writer")
        return await request.done

    async def _write_all(self) -> None:
        """Take and commit batch after batch, until nothing waits."""
        while self._waiting:
            batch, self._waiting = self._waiting, []
            failure: Exception | None = StoreError("The proxy was stopped before the change was live.")
            try:
                await self._write(batch)
                failure = None
            except ProxyError as error:
                failure = error
            except Exception as error:  # noqa: BLE001 - a fault of ours: logged whole, and the callers get it
                failure = error
                self._log.exception("Writing the routes failed in an unexpected way")
            finally:
                # Whatever happens to a batch, no caller waits for ever.
                for request in batch:
                    request.settle(failure)
        self._writer = None

    async def _write(self, batch: list[_Request]) -> None:
        """Commit one batch; callers with an outcome of their own are told here, all others by the caller of this.

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
            # Only who asked for something that is not so has failed.
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
        # A revision is used once, also when its commit fails half-way.
        self._revision += 1
        snapshot = Snapshot(self._revision, table)
        await self._store.commit(snapshot)
        self._committed = snapshot

    async def mend_store(self) -> None:
        """Put right what somebody else did to the store, if anything. Does not raise; the log is told once."""
        async with self._lock:
            damage = await self._store.damage()
            if damage is None:
                self._told = None
                return
            if self._told is None:
                self._told = damage
                self._log.warning("%s %s by somebody else: writing it again", self._store.location, damage)
            await self._write_again()

    async def _write_again(self) -> None:
        """Commit the table there is under a new revision; the lock is held."""
        try:
            await self._commit_locked(self.table)
        except StoreError as error:
            if self._told != str(error):
                self._told = str(error)
                self._log.error("The routes could not be put right, and it is tried again: %s", error)

    async def watch(self, interval: float) -> None:
        """Put right, for ever, what others do to the store, and what Traefik has missed of it.

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
                    # A lost file event, or a version that Traefik could not read: a new version is a new event.
                    missed, patience = 0, min(patience * 2, _LONGEST_PATIENCE)
                    async with self._lock:
                        await self._write_again()
                elif missed == 0:
                    patience = _PATIENCE
            except Exception:  # noqa: BLE001 - a fault of ours: logged whole; the next look may go better
                self._log.exception("Looking after the routes failed in an unexpected way; it goes on")

    async def _count_missed(self, missed: int, patience: int) -> int:
        """Ask once whether the last commit is live.

        Args:
            missed: How often in a row it was not.
            patience: How often that is left at that; the log is told when it ends.

        Returns:
            The new number; the same, if it is being written just now, or if Traefik is down (for others to put right).
            Each revision is counted for itself: where one change follows the other, the last is often just on its way.
        """
        revision = self.revision
        answer = await self._probe.ask()
        if not answer.answered or self._lock.locked() or revision != self.revision:
            return missed
        if answer.revision is not None and answer.revision >= revision:
            return 0
        if self._missed_revision != revision:
            self._missed_revision, missed = revision, 0
        if missed == patience:
            self._log.warning(
                "Traefik does not serve revision %d of %s (%s): writing it again",
                revision,
                self._store.location,
                answer.told,
            )
        return missed + 1

    async def close(self) -> None:
        """Stop writing; callers that still wait are told. May be called twice."""
        self._closed = True
        waiting, self._waiting = self._waiting, []
        for request in waiting:
            request.settle(StoreError("The proxy was stopped before the change was written."))
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.wait([self._writer])
