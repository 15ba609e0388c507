"""Reporter: tells the Hub what a proxy in a process of its own has done: failures, activity, traffic. Does I/O."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import itertools
import logging
from typing import Any

from .engine import Access, Engine, Failure
from .link import Link

# How many lines wait for a Hub that is frozen or away; of more, the oldest are forgotten.
_MOST_FAILURES, _MOST_ACCESSES, _MOST_LINES = 100, 10_000, 100
# How many lines, and how many times of routes, are in a message.
_LINES_AT_ONCE, _TIMES_AT_ONCE = 200, 1000
# Seconds in which lines are collected, until a Hub that is frozen is tried again, and between two reports of activity.
_SOON, _LATER, _INTERVAL = 0.02, 0.5, 1.0
_LONGEST_LINE = 4000


class Reporter(logging.Handler):
    """Collects reports, and sends them when there is a Hub that takes them.

    Attributes:
        link: The connection to the Hub; None while there is none.
    """

    link: Link | None = None

    def __init__(self) -> None:
        """Set up; the loop must run."""
        super().__init__(logging.WARNING)
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[str, collections.deque[list[Any]]] = {
            "failures": collections.deque(maxlen=_MOST_FAILURES),
            "accesses": collections.deque(maxlen=_MOST_ACCESSES),
            "lines": collections.deque(maxlen=_MOST_LINES),
        }
        self._failed = 0
        self._flushing: asyncio.TimerHandle | None = None
        # What the Hub knows.
        self._seen: dict[str, float] = {}
        self._traffic: dict[str, Any] = {}

    def use(self, link: Link | None) -> None:
        """Report to this Hub from now on; it knows nothing yet."""
        self.link = link
        self._seen, self._traffic = {}, {}
        self._flush_soon()

    # What is reported.

    def on_failure(self, failure: Failure) -> None:
        """Report a request that got no answer."""
        self._failed += 1
        self._add("failures", list(dataclasses.astuple(failure)))

    def on_access(self, access: Access) -> None:
        """Report a request that is over."""
        self._add("accesses", list(dataclasses.astuple(access)))

    def emit(self, record: logging.LogRecord) -> None:
        """Report a line of the log: see :class:`logging.Handler`. May be called from any thread."""
        text = self.format(record)[:_LONGEST_LINE]
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._add, "lines", [record.levelno, text])

    def _add(self, kind: str, row: list[Any]) -> None:
        self._waiting[kind].append(row)
        if self._flushing is None:
            self._flush_soon()

    def _flush_soon(self, seconds: float = _SOON) -> None:
        if self._flushing is not None:
            self._flushing.cancel()
        self._flushing = self._loop.call_later(seconds, self._flush)

    def _flush(self) -> None:
        self._flushing = None
        link = self.link
        if link is None:
            return
        for kind, waiting in self._waiting.items():
            if waiting and not link.is_full:
                rows = [waiting.popleft() for _ in range(min(len(waiting), _LINES_AT_ONCE))]
                link.send({"reports": kind, "rows": rows, "failed": self._failed})
                self._failed = 0
        if any(self._waiting.values()):
            self._flush_soon(_LATER if link.is_full else _SOON)

    # What the Hub asks for, and is told regularly.

    def tell_seen(self, engine: Engine) -> bool:
        """Send when routes were last used, as far as the Hub does not know; return whether it has all of it now."""
        link = self.link
        if link is None:
            return True
        told = self._seen
        for routespec in [routespec for routespec in told if routespec not in engine.seen]:
            del told[routespec]
        news = iter([(routespec, when) for routespec, when in engine.seen.items() if told.get(routespec, 0.0) != when])
        while piece := dict(itertools.islice(news, _TIMES_AT_ONCE)):
            if link.is_full:
                return False
            link.send({"seen": piece})
            told.update(piece)
        return True

    def tell_traffic(self, engine: Engine) -> None:
        """Send how many requests there were, if the Hub does not know."""
        traffic = engine.traffic()
        found = {
            "requests": [[kind, digit, count] for (kind, digit), count in traffic.requests.items()],
            "connections": traffic.connections,
            "websockets": traffic.websockets,
        }
        if self.link is not None and not self.link.is_full and found != self._traffic:
            self._traffic = found
            self.link.send({"traffic": found})

    async def run(self, engine: Engine) -> None:
        """Tell it regularly. Never returns."""
        while True:
            await asyncio.sleep(_INTERVAL)
            self.tell_seen(engine)
            self.tell_traffic(engine)
