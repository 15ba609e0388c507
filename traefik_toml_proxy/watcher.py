"""RouteWatcher: looks whether the routes are stored and live, and mends what is not. Only async, no I/O."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from typing import Protocol

from .seams import NO_METRICS, Answer, LiveCheck, Metrics, Store
from .standstill import Standstill
from .tasks import LoggedOnce

# How many checks in a row may find the last commit not live before it is committed again: it may still be loading.
_PATIENCE = 5
_LONGEST_PATIENCE = 60
# Seconds to wait whether the routes are live although the place where they are stored was replaced.
_MOMENT = 3.0

# Restarts a proxy that answers, but loads no commit any more. It is given the cause, or "" if that is not known, and for how
# many seconds the proxy has served the same revision: what it could not load before that does not matter any more.
Restart = Callable[[str, float], Awaitable[object]]


class Watched(Protocol):
    """What is watched: a publisher."""

    @property
    def revision(self) -> int:
        """The revision of the last commit."""

    @property
    def is_committing(self) -> bool:
        """Whether a commit is under way."""

    async def repair_store(self) -> bool:
        """Commit again if the stored snapshot may differ from the last commit; return whether it is the last commit now.

        Does not raise; logs it once.
        """

    async def commit_once_more(self) -> None:
        """Commit the current table under a new revision. Does not raise if it cannot be written; logs it once."""


class RouteWatcher:
    """Repairs the store when others change it, and commits again if the last commit is not live.

    Each problem is logged once, and once more when all is well.
    """

    def __init__(
        self,
        watched: Watched,
        store: Store,
        live_check: LiveCheck,
        log: logging.Logger,
        restart: Restart | None = None,
        *,
        metrics: Metrics = NO_METRICS,
    ) -> None:
        """Set what to watch; nothing is done before :meth:`run`.

        Args:
            watched: Commits to the store.
            store: Where the routes are stored.
            live_check: Tells which revision is live.
            log: Where problems are logged.
            restart: Restarts the proxy; None if that is not done here.
            metrics: Is told which revision is live.
        """
        self._metrics = metrics
        self._watched = watched
        self._store = store
        self._live_check = live_check
        self._log = log
        self._restart = restart
        self._standstill = Standstill()
        self._moves = store.moves
        # How often in a row the last commit was not live, and how often it may be; and there was no answer.
        self._missed = 0
        self._patience = _PATIENCE
        self._silent = 0
        # The last revision that was not live.
        self._missed_revision = -1
        # The revision that is served, and since when, on the clock of the event loop.
        self._served: int | None = None
        self._served_since = -math.inf
        # Whether the log says that the routes are not live.
        self._reported = False

    async def run(self, interval: float) -> None:
        """Look again and again. Never returns.

        Args:
            interval: Seconds between two looks.
        """
        errors = LoggedOnce("Checking the routes", self._log)
        while True:
            await asyncio.sleep(interval)
            with errors:
                is_stored = await self._watched.repair_store()
                # Until something is stored in the new place, nothing can be live there.
                if is_stored and self._store.moves != self._moves:
                    self._moves = self._store.moves
                    await self._follow_the_move()
                await self.look()

    async def look(self) -> None:
        """Ask once whether the last commit is live, and do what is due if it was not, several times in a row.

        Nothing is due during a commit, nor while the proxy does not answer (restarting it is not done here). It starts over
        for each revision, since the last of several changes is often still loading.
        """
        revision = self._watched.revision
        answer = self._noted(await self._live_check.ask())
        if self._standstill.found(answer, revision) and self._restart is not None:
            await self._restart("", self._seconds_served())
            return
        if not answer.answered:
            self._note_silence(answer)
            return
        self._silent = 0
        if answer.revision is not None:
            self._metrics.live(answer.revision)
        if self._watched.is_committing or revision != self._watched.revision:
            return
        if answer.serves(revision):
            self._note_health(revision)
            return
        if self._missed_revision != revision:
            self._missed_revision, self._missed = revision, 0
        self._missed += 1
        if self._missed > self._patience:
            # The file event was lost, or the version could not be loaded: a new version makes a new event.
            self._report(
                "Revision %d of the routes in %s is not live (%s): writing it again",
                *(revision, self._store.location, answer.description),
            )
            self._missed, self._patience = 0, min(self._patience * 2, _LONGEST_PATIENCE)
            await self._watched.commit_once_more()

    def _noted(self, answer: Answer) -> Answer:
        if answer.revision is not None and answer.revision != self._served:
            self._served, self._served_since = answer.revision, asyncio.get_running_loop().time()
        return answer

    def _seconds_served(self) -> float:
        return asyncio.get_running_loop().time() - self._served_since

    def _note_silence(self, answer: Answer) -> None:
        self._silent += 1
        if self._silent == _PATIENCE:
            self._report("The routes in %s are not served: %s", self._store.location, answer.description)

    def _note_health(self, revision: int) -> None:
        self._missed, self._patience = 0, _PATIENCE
        if self._reported:
            self._reported = False
            self._log.info("Revision %d of the routes in %s is live", revision, self._store.location)

    def _report(self, message: str, *arguments: object) -> None:
        """Say that the routes are not live, unless the log says so already."""
        if not self._reported:
            self._reported = True
            self._log.warning(message, *arguments)

    async def _follow_the_move(self) -> None:
        """Restart a proxy that goes on watching what was there before, or say that it must be restarted."""
        answer = self._noted(await self._live_check.wait(self._watched.revision, _MOMENT))
        if not answer.answered or answer.refused or answer.serves(self._watched.revision):
            return
        cause = f"the folder of {self._store.location} was replaced, and Traefik goes on watching the old one"
        if self._restart is not None:
            await self._restart(cause, self._seconds_served())
        else:
            self._reported = True
            self._log.error("The routes are not live: %s. Restart Traefik", cause)
