"""How long an event loop was kept from other work. No I/O; needs a running asyncio loop."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from types import TracebackType

_BEAT = 0.001


class Heartbeat:
    """A task that wants to run every millisecond, and remembers the longest that it was late.

    A context manager; it beats only inside, so that a process that waits for its turn does not disturb the others.

    Attributes:
        worst: The longest delay in seconds, beyond the millisecond that was asked for.
    """

    def __init__(self) -> None:
        self.worst = 0.0
        self._last = 0.0
        self._beats = False
        self._task: asyncio.Task[None] | None = None

    @property
    def worst_ms(self) -> float:
        """The longest delay in milliseconds."""
        return self.worst * 1000

    async def __aenter__(self) -> Heartbeat:
        self._last = time.perf_counter()
        self._beats = True
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
        """Beat no more; a delay that is not over yet counts. Once is enough, more does no harm."""
        if self._beats and self._task is not None:
            self._beats = False
            self._note()
            self._task.cancel()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(_BEAT)
            self._note()

    def _note(self) -> None:
        now = time.perf_counter()
        self.worst = max(self.worst, now - self._last - _BEAT)
        self._last = now


async def idle_delay_ms(seconds: float = 0.3) -> float:
    """Return the longest delay of a loop that does nothing: the machine's own part in every other measurement."""
    async with Heartbeat() as heartbeat:
        await asyncio.sleep(seconds)
    return heartbeat.worst_ms
