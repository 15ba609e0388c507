"""How long an event loop was blocked. No I/O; needs a running asyncio loop."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from types import TracebackType

_BEAT = 0.001


class Heartbeat:
    """A task that is scheduled every millisecond, and records its longest delay.

    An asynchronous context manager. It runs only inside, so that a worker that waits for its turn does not disturb others.

    Attributes:
        worst: The longest delay in seconds, beyond that millisecond.
    """

    def __init__(self) -> None:
        self.worst = 0.0
        self._last = 0.0
        self._is_running = False
        self._task: asyncio.Task[None] | None = None

    @property
    def worst_ms(self) -> float:
        """The longest delay in milliseconds."""
        return self.worst * 1000

    async def __aenter__(self) -> Heartbeat:
        self._last = time.perf_counter()
        self._is_running = True
        self._task = asyncio.create_task(self._beat())
        await asyncio.sleep(0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if self._task is not None:
            with suppress(asyncio.CancelledError):
                await self._task

    def stop(self) -> None:
        """Stop, and count a delay that is not over yet. May be called more than once."""
        if self._is_running and self._task is not None:
            self._is_running = False
            self._record()
            self._task.cancel()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(_BEAT)
            self._record()

    def _record(self) -> None:
        now = time.perf_counter()
        self.worst = max(self.worst, now - self._last - _BEAT)
        self._last = now


async def idle_delay_ms(seconds: float = 0.3) -> float:
    """Return the longest delay of an idle loop: the machine's own share in every other measurement."""
    async with Heartbeat() as heartbeat:
        await asyncio.sleep(seconds)
    return heartbeat.worst_ms
