"""How long an event loop was blocked. Needs a running asyncio loop; reads what Linux tells of its thread."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType

_BEAT = 0.001


def core_wait() -> float:
    """Return for how many seconds this thread has been ready to run and waited for a core, ever; 0 where nobody tells it.

    See the kernel's Documentation/scheduler/sched-stats.rst, "/proc/<pid>/schedstat".
    """
    try:
        return int(Path("/proc/thread-self/schedstat").read_bytes().split()[1]) / 1e9
    except OSError:
        return 0.0


class Heartbeat:
    """A task that is scheduled every millisecond, and records its longest delay.

    An asynchronous context manager. It runs only inside, so that a worker that waits for its turn does not disturb others.
    The time that the thread waits for a core does not count, where Linux tells it: here Traefik, etcd and whoever asks share
    the cores, and it says nothing about the loop.

    Args:
        clock: Returns the time in seconds.
        core_wait: Returns the seconds that do not count.

    Attributes:
        worst: The longest delay in seconds, beyond that millisecond.
    """

    def __init__(
        self, clock: Callable[[], float] = time.perf_counter, core_wait: Callable[[], float] = core_wait
    ) -> None:
        self.worst = 0.0
        self._clock = clock
        self._core_wait = core_wait
        self._last = 0.0
        self._waited = 0.0
        self._is_running = False
        self._task: asyncio.Task[None] | None = None

    @property
    def worst_ms(self) -> float:
        """The longest delay in milliseconds."""
        return self.worst * 1000

    async def __aenter__(self) -> Heartbeat:
        self._last, self._waited = self._clock(), self._core_wait()
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
        now, waited = self._clock(), self._core_wait()
        self.worst = max(self.worst, now - self._last - _BEAT - (waited - self._waited))
        self._last, self._waited = now, waited


async def idle_delay_ms(seconds: float = 0.3) -> float:
    """Return the longest delay of an idle loop: the machine's own share in every other measurement."""
    async with Heartbeat() as heartbeat:
        await asyncio.sleep(seconds)
    return heartbeat.worst_ms
