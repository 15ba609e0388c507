"""A transport that goes nowhere. Does no I/O."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace


class Transport(asyncio.Transport):
    """Notes whether it reads, whether it was closed, and what was written.

    Attributes:
        reads: Whether it reads.
        closed: Whether it was closed.
        written: What was written, piece by piece.
        error: What its socket says has gone wrong, as in SO_ERROR.
    """

    def __init__(self) -> None:
        self.error = 0
        options = {"setsockopt": lambda *_: None, "getsockopt": lambda *_: self.error}
        super().__init__({"socket": SimpleNamespace(**options, family=0, fileno=lambda: -1)})
        self.reads = True
        self.closed = False
        self.written: list[bytes] = []

    def pause_reading(self) -> None:
        """Note it."""
        self.reads = False

    def resume_reading(self) -> None:
        """Note it."""
        self.reads = True

    def is_closing(self) -> bool:
        """Say what was noted."""
        return self.closed

    def close(self) -> None:
        """Note it."""
        self.closed = True

    abort = close

    def get_write_buffer_size(self) -> int:
        """Say that all was sent."""
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Do nothing."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Note it."""
        self.written.append(bytes(data))
