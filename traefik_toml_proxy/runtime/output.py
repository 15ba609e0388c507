"""Copies Traefik's output from a file to the Hub's log. Does I/O, never on the event loop.

Traefik writes to a file, not to a pipe. A pipe would break when the Hub is killed, and a Go program exits when it writes to
a broken standard output.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from ..threads import in_thread

# 2026-11-22T22:40:36Z ERR message key=value
_LINE = re.compile(r"\d{4}-\d\d-\d\dT\S+ (TRC|DBG|INF|WRN|ERR|FTL|PNC) (.*)")
_LEVELS = {
    "TRC": logging.DEBUG,
    "DBG": logging.DEBUG,
    "INF": logging.INFO,
    "WRN": logging.WARNING,
    "ERR": logging.ERROR,
    "FTL": logging.CRITICAL,
    "PNC": logging.CRITICAL,
}
_LAST_LINES = 20
# How many lines to log before yielding to the event loop; they take a few milliseconds.
_LINES_AT_ONCE = 100
_LONGEST_LINE = 4000
_LARGEST_FILE = 4 * 2**20
_ONE_READ = 2**18


class FollowedOutput:
    """Copies Traefik's standard output and error to the Hub's log, line by line."""

    def __init__(self, path: Path, log: logging.Logger, *, is_taken: Callable[[str], bool] | None = None) -> None:
        """Set the file and the logger; nothing is opened yet.

        Args:
            path: The file with the output; :meth:`open_for_child` creates it, readable only by this user.
            log: Gets the lines, each at the level that Traefik gave it.
            is_taken: Called with each line; returns whether it has dealt with it, so that it is not logged. None to log
                every line.
        """
        self.path = path
        self._log = log
        self._is_taken = is_taken
        # Two threads may read at once, or one may read while another opens the file for a new child.
        self._lock = threading.Lock()
        # Kept open, so that Traefik's lines are still read when others have deleted or renamed the file.
        self._descriptor: int | None = None
        self._position = 0
        self._unfinished = b""
        # With the time when each was read, in seconds on the monotonic clock.
        self._last: deque[tuple[float, str]] = deque(maxlen=_LAST_LINES)

    @property
    def last_lines(self) -> list[str]:
        """The last lines that were logged."""
        return [line for _, line in self._last]

    def lines_of_the_last(self, seconds: float) -> list[str]:
        """Return those of the last lines that were logged within that time."""
        return [line for read, line in self._last if time.monotonic() - read <= seconds]

    def open_for_child(self) -> int:
        """Empty the file, and return a descriptor of it for the output of a new child. Blocks."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        with self._lock:
            descriptor = os.open(self.path, flags, 0o600)
            self._close()
            self._position, self._unfinished = 0, b""
            self._last.clear()
            return descriptor

    def skip_to_end(self) -> None:
        """Skip the output so far, which an adopted Traefik wrote before. Blocks."""
        with self._lock:
            self._position = self.path.stat().st_size if self.path.exists() else 0

    async def follow(self, interval: float) -> None:
        """Log new output every ``interval`` seconds. Never returns."""
        while True:
            await self.catch_up()
            await asyncio.sleep(interval)

    async def catch_up(self) -> None:
        """Log all complete lines written so far."""
        while lines := await in_thread(self._read_lines):
            for number, line in enumerate(lines, start=1):
                self._log_line(line)
                if number % _LINES_AT_ONCE == 0:
                    await asyncio.sleep(0)

    async def finish(self) -> None:
        """Log the rest of the output after the child has exited, including an unfinished last line."""
        await self.catch_up()
        for line in await in_thread(self._take_unfinished):
            self._log_line(line)

    def close(self) -> None:
        """Close the file. May be called twice. Blocks."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _take_unfinished(self) -> list[str]:
        with self._lock:
            line, self._unfinished = self._unfinished, b""
        return [_printable(line)] if line.strip() else []

    def _log_line(self, line: str) -> None:
        if self._is_taken is not None and self._is_taken(line):
            return
        self._last.append((time.monotonic(), line))
        match = _LINE.match(line)
        level, message = (_LEVELS[match[1]], match[2]) if match else (logging.INFO, line)
        self._log.log(level, "Traefik: %s", message)

    def _read_lines(self) -> list[str]:
        with self._lock, contextlib.suppress(OSError):
            data = self._read()
            *lines, self._unfinished = (self._unfinished + data).split(b"\n")
            self._unfinished = self._unfinished[:_LONGEST_LINE]
            return [_printable(line) for line in lines if line.strip()]
        return []

    def _read(self) -> bytes:
        if self._descriptor is None:
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        if os.fstat(self._descriptor).st_size < self._position:
            self._position = 0  # the file was truncated
        data = os.pread(self._descriptor, _ONE_READ, self._position)
        self._position += len(data)
        if self._position > _LARGEST_FILE and len(data) < _ONE_READ:
            # Traefik continues at the new end, since it appends. A line written just before the truncation may be lost.
            os.ftruncate(self._descriptor, 0)
            self._position = 0
        return data


def _printable(line: bytes) -> str:
    """Return the line without control sequences: it may contain text from requests, so all unprintable text is escaped."""
    text = line[:_LONGEST_LINE].decode(errors="backslashreplace").rstrip()
    return "".join(c if c.isprintable() or c == "\t" else ascii(c)[1:-1] for c in text)
