"""Reports: logs what the proxy reports, in small portions, so that the Hub can go on. Does I/O: it logs."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import logging

# How many lines are logged before the Hub goes on with something else.
_LINES_AT_ONCE = 50


class Reports:
    """Logs on the event loop of the Hub what it is told there or on the proxy's.

    A Hub that is busy has a limit for what waits: with the servers of a whole class down, there may be many.
    """

    def __init__(self, log: logging.Logger, level: int, most: int) -> None:
        self._hub = asyncio.get_running_loop()
        self._log = log
        self._level = level
        self._waiting: collections.deque[object] = collections.deque(maxlen=most)

    def __call__(self, report: object) -> None:
        """Log it soon. May be called from any thread."""
        self._waiting.append(report)
        if len(self._waiting) == 1:
            with contextlib.suppress(RuntimeError):  # the Hub's loop is closed
                self._hub.call_soon_threadsafe(self._log_some)

    def _log_some(self) -> None:
        for _ in range(min(len(self._waiting), _LINES_AT_ONCE)):
            self._log.log(self._level, "%s", self._waiting.popleft())
        if self._waiting:
            self._hub.call_soon(self._log_some)
