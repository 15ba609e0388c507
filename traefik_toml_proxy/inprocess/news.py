"""News: what a proxy in a process of its own has reported, for the Hub's log, metrics and activity. Does I/O: it logs."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from ..errors import quoted
from ..seams import Event, Metrics, Traffic
from .engine import Access, Failure
from .keeper import Keeper
from .link import LinkLost, NoAnswer
from .reports import Reports
from .seen import times_of

# Seconds that the process may take to say what has happened last; without an answer, what it has said before counts.
_ANSWER_SECONDS = 2.0


class News:
    """Takes what the process reports; see :mod:`.reporter` for the other end. Implements Activity of the seams."""

    def __init__(self, failures: Reports, accesses: Reports, log: logging.Logger, metrics: Metrics) -> None:
        """Set who is told.

        Args:
            failures: Logs requests that failed.
            accesses: Logs all requests.
            log: Gets what else the process reports.
            metrics: Counts requests that failed.
        """
        self._failures, self._accesses = failures, accesses
        self._log = log
        self._metrics = metrics
        self._keeper: Keeper | None = None
        self._seen: dict[str, float] = {}
        self._traffic = Traffic({}, 0, 0)
        # What processes before the current one have counted.
        self._before: dict[tuple[str, int], int] = {}

    def ask(self, keeper: Keeper) -> None:
        """Ask this one for the latest from now on."""
        self._keeper = keeper

    def take(self, message: Mapping[str, Any]) -> None:
        """Take a message."""
        if "seen" in message:
            self._seen.update(message["seen"])
        elif "traffic" in message:
            self._take_traffic(message["traffic"])
        elif "reports" in message:
            self._metrics.count(Event.REQUEST_FAILED, message["failed"])
            self._report(message["reports"], message["rows"])

    def _report(self, kind: str, rows: Iterable[list[Any]]) -> None:
        for row in rows:
            if kind == "failures":
                self._failures(Failure(*row))
            elif kind == "accesses":
                self._accesses(Access(*row))
            else:
                level, text = row
                self._log.log(level, "The proxy's process says: %s", quoted(text, 4000))

    def _take_traffic(self, tree: Mapping[str, Any]) -> None:
        now = {(kind, digit): count for kind, digit, count in tree["requests"]}
        total = {key: now.get(key, 0) + self._before.get(key, 0) for key in {*now, *self._before}}
        self._traffic = Traffic(total, tree["connections"], tree["websockets"])

    def begin_anew(self) -> None:
        """Take note that another process counts from now on, from nothing."""
        self._before = dict(self._traffic.requests)
        self._traffic = Traffic(self._before, 0, 0)

    def traffic(self) -> Traffic:
        """Return what users have done, a second ago. May be called from any thread."""
        return self._traffic

    def forget(self, routespecs: Iterable[str]) -> None:
        """Take note of routes that are no more."""
        for routespec in routespecs:
            self._seen.pop(routespec, None)

    async def last_seen(self) -> Mapping[str, datetime]:
        """See :class:`~traefik_toml_proxy.seams.Activity`."""
        link = self._keeper.link if self._keeper else None
        if link is not None:
            with contextlib.suppress(LinkLost, NoAnswer):
                await link.ask({"look": True}, _ANSWER_SECONDS)
        return await times_of(self._seen.copy())
