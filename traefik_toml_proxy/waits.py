"""The calls that wait until their change is live, and what each of them is told. Only async, no I/O."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .errors import ProxyError, RouteNotLive, StoreError
from .routes import Change, Route
from .seams import NO_METRICS, Event, LiveCheck, Metrics
from .tasks import with_pauses

# Seconds for which later changes wait for an earlier one to be live, or twice as long as the last one took; but it may have
# taken so long because Traefik was down, so at most this part of the time-out.
_SHORTEST_TURN_OF_A_BATCH = 2.0
_LARGEST_PART_OF_THE_TIMEOUT = 1 / 3


@dataclass(slots=True, eq=False)
class Request:
    """One waiting call: the change it asks for, and the future that gets the outcome.

    Attributes:
        since: When the call came, in seconds on the clock of the event loop.
    """

    routespec: str
    make_route: Callable[[], Route] | None
    done: asyncio.Future[bool]
    since: float
    change: Change | None = None
    changed: bool = False

    def plan(self) -> None:
        """Make the change; if the route cannot be served, the caller gets the error."""
        try:
            self.change = Change(self.routespec, self.make_route and self.make_route())
        except Exception as error:  # noqa: BLE001 - such as a TypeError, which must not fail the whole batch
            self.settle(error)

    def settle(self, error: Exception | None) -> None:
        """Give the caller the outcome, if it is still waiting: a cancelled caller does not cancel the shared commit."""
        if self.done.done():
            return
        if error is None:
            self.done.set_result(self.changed)
        else:
            self.done.set_exception(error)


@dataclass(frozen=True, slots=True, eq=False)
class _Batch:
    """The calls that are told their outcome together: at the latest at the deadline, on the clock of the event loop."""

    revision: int
    deadline: float
    requests: Sequence[Request]


class LiveWaits:
    """Asks until revisions are live. A later revision has all changes of an earlier one, so it serves for both."""

    def __init__(
        self,
        live_check: LiveCheck,
        location: Callable[[], str],
        log: logging.Logger,
        metrics: Metrics = NO_METRICS,
    ) -> None:
        """Set whom to ask.

        Args:
            live_check: Tells which revision is live.
            location: Returns where the routes are stored, for messages.
            log: Where bugs are reported.
            metrics: Is told how long the calls took.
        """
        self._metrics = metrics
        self._live_check = live_check
        self._location = location
        self._log = log
        self._live_revision = -1
        # In the order of their revisions, and so of their deadlines.
        self._batches: deque[_Batch] = deque()
        self._task: asyncio.Task[None] | None = None
        # How many seconds the last wait took that was not in vain.
        self._took = 0.0

    async def until_live(self, revision: int, timeout: float, *, if_refused: float | None = None) -> None:
        """Wait until a revision is live.

        Args:
            revision: The revision.
            timeout: The maximum number of seconds to wait.
            if_refused: The maximum number of seconds to wait when all answers are refusals; None is ``timeout``.

        Raises:
            RouteNotLive: If it is not live in time.
        """
        if self._live_revision >= revision:
            return
        loop = asyncio.get_running_loop()
        began = loop.time()
        answer = await self._live_check.wait(revision, timeout, if_refused=if_refused)
        waited = loop.time() - began
        if not answer.serves(revision):
            raise RouteNotLive(revision, self._location(), waited, answer.description, answer.advice)
        self._took = waited
        self._live_revision = max(self._live_revision, revision, answer.revision or 0)
        self._metrics.live(self._live_revision)

    def add(self, revision: int, timeout: float, requests: Sequence[Request]) -> None:
        """Tell these calls that they have succeeded when a revision is live, or that it is not live in time.

        Args:
            revision: The revision, which is not lower than that of an earlier call.
            timeout: The maximum number of seconds to wait.
            requests: The calls; those that know their outcome already are left out.
        """
        loop = asyncio.get_running_loop()
        self._batches.append(_Batch(revision, loop.time() + timeout, requests))
        if self._task is None or self._task.done():  # done, if all tasks were cancelled
            self._task = asyncio.create_task(self._settle_all(), name="traefik_toml_proxy waits")

    async def take_turns(self, timeout: float) -> None:
        """Wait until all calls know their outcome, but not for long: later changes must not wait for a time-out.

        One that is not live by now may never be, or may be as soon as Traefik is back; and then, so are the later ones.

        Args:
            timeout: The maximum number of seconds that a call waits.
        """
        if self._task is not None:
            longest = max(_SHORTEST_TURN_OF_A_BATCH, _LARGEST_PART_OF_THE_TIMEOUT * timeout)
            await asyncio.wait([self._task], timeout=min(max(_SHORTEST_TURN_OF_A_BATCH, 2 * self._took), longest))

    async def _settle_all(self) -> None:
        try:
            while self._batches:
                await self._settle_first(self._batches[0])
        finally:
            self._settle_rest()

    async def _settle_first(self, first: _Batch) -> None:
        failure: Exception | None = None
        try:
            if any(not request.done.done() for request in first.requests):
                await self.until_live(first.revision, first.deadline - asyncio.get_running_loop().time())
        except ProxyError as error:
            failure = error
        except Exception as error:  # noqa: BLE001 - a bug: log the traceback, and raise it in the callers
            failure = error
            self._log.exception("Waiting for the routes to be live failed unexpectedly")
        now = asyncio.get_running_loop().time()
        async for request in with_pauses(first.requests):
            if request.changed and not request.done.done():
                self._measure(now - request.since, failure)
            request.settle(failure)
        self._batches.popleft()

    def _measure(self, seconds: float, failure: Exception | None) -> None:
        if failure is None:
            self._metrics.took(seconds)
        else:
            self._metrics.count(Event.NOT_LIVE)

    def _settle_rest(self) -> None:
        while self._batches:
            for request in self._batches.popleft().requests:
                request.settle(StoreError("The proxy was stopped before the change was live."))

    async def close(self) -> None:
        """Stop asking; calls that are still waiting get an error. May be called twice."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        self._settle_rest()  # the task may have been cancelled before it began
