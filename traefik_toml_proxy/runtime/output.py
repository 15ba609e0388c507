"""Traefik's output: a file that it appends to, followed into the Hub's log. Does I/O, never on the event loop.

A file and not a pipe: a pipe would break when the Hub is killed, and Traefik with it (a Go program dies when it writes to
a broken standard output).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import threading
from collections import deque
from pathlib import Path

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
# A few milliseconds of logging.
_LINES_AT_ONCE = 100
_LONGEST_LINE = 4000
_LARGEST_FILE = 4 * 2**20
_ONE_READ = 2**18


class FollowedOutput:
    """Traefik's standard output and error, line by line into the Hub's log."""

    def __init__(self, path: Path, log: logging.Logger) -> None:
        """Args:
        path: The file; made by :meth:`open_for_child`, readable by this user alone.
        log: Where the lines go, each with its own level.
        """
        self.path = path
        self._log = log
        # Two threads may catch up at once, or one while another opens the file for a new child.
        self._lock = threading.Lock()
        self._position = 0
        self._unfinished = b""
        self._last: deque[str] = deque(maxlen=_LAST_LINES)

    @property
    def last_lines(self) -> list[str]:
        """The last lines that were read."""
        return list(self._last)

    def open_for_child(self) -> int:
        """Return a descriptor of the emptied file, to be a new child's output. Blocks; for a thread."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        with self._lock:
            descriptor = os.open(self.path, flags, 0o600)
            self._position, self._unfinished = 0, b""
            self._last.clear()
            return descriptor

    def skip_to_end(self) -> None:
        """Begin with what comes from now on (a Traefik that was running before). Blocks; for a thread."""
        with self._lock:
            self._position = self.path.stat().st_size if self.path.exists() else 0

    async def follow(self, interval: float) -> None:
        """Log what comes, for ever, looking every ``interval`` seconds."""
        while True:
            await self.catch_up()
            await asyncio.sleep(interval)

    async def catch_up(self) -> None:
        """Log all complete lines that are there now."""
        while lines := await asyncio.to_thread(self._read_lines):
            for number, line in enumerate(lines, start=1):
                self._tell(line)
                if number % _LINES_AT_ONCE == 0:
                    await asyncio.sleep(0)

    async def finish(self) -> None:
        """Log all that is there, also a last line without an end, after the child has ended."""
        await self.catch_up()
        for line in await asyncio.to_thread(self._take_unfinished):
            self._tell(line)

    def _take_unfinished(self) -> list[str]:
        with self._lock:
            line, self._unfinished = self._unfinished, b""
        return [_printable(line)] if line.strip() else []

    def _tell(self, line: str) -> None:
        self._last.append(line)
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
        with self.path.open("rb") as file:
            if file.seek(0, os.SEEK_END) < self._position:
                self._position = 0  # somebody has emptied it
            file.seek(self._position)
            data = file.read(_ONE_READ)
        self._position += len(data)
        if self._position > _LARGEST_FILE and len(data) < _ONE_READ:
            # Traefik appends, so it goes on at the new end. A line that comes in this very moment may be lost.
            os.truncate(self.path, 0)
            self._position = 0
        return data


def _printable(line: bytes) -> str:
    """Return the line with everything that a terminal would act upon escaped: it can hold text from requests."""
    text = line[:_LONGEST_LINE].decode(errors="backslashreplace").rstrip()
    return "".join(c if c.isprintable() or c == "\t" else ascii(c)[1:-1] for c in text)
