"""What a proxy has up between start and stop, and how it is ended: in reverse order. Only async, no I/O."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

from .publisher import RoutePublisher
from .seams import Activity

# Seconds between two looks at the store and at what is live.
_WATCH_INTERVAL = 1.0


class Endings:
    """How to end what has been begun. Each ending runs once; an error in one is logged, and the rest still run."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._stack = contextlib.AsyncExitStack()

    def add(self, what: str, end: Callable[[], Awaitable[object]]) -> None:
        """Remember how to end something that is about to be begun, or has been.

        Args:
            what: What is ended, for the log.
            end: Ends it; must allow for a beginning that failed.
        """
        self._stack.push_async_callback(self._run_one, what, end)

    def add_task(self, task: asyncio.Task[None]) -> None:
        """Remember to cancel a task and wait for it."""

        async def cancel() -> None:
            task.cancel()
            await asyncio.wait([task])

        self.add(task.get_name(), cancel)

    async def _run_one(self, what: str, end: Callable[[], Awaitable[object]]) -> None:
        try:
            await end()
        except Exception:  # noqa: BLE001 - whatever it is, the rest is still to be ended
            self._log.exception("Ending %s failed", what)

    async def run(self) -> None:
        """Run all endings, the last one first. Raises only for a cancellation, after all have run."""
        await self._stack.aclose()


@contextlib.asynccontextmanager
async def opening(log: logging.Logger) -> AsyncIterator[Endings]:
    """Collect endings while a session is opened; if that fails, or is cancelled, run them."""
    endings = Endings(log)
    try:
        yield endings
    except BaseException:
        await endings.run()
        raise


class Session:
    """What a proxy has up between start and stop.

    Attributes:
        publisher: Holds the routes, and changes them.
        activity: Knows when users were last seen, if anybody does.
    """

    def __init__(self, publisher: RoutePublisher, endings: Endings, *, activity: Activity | None = None) -> None:
        """Take over what has been opened, and watch over it from now on.

        Args:
            publisher: Opened and begun.
            endings: How to end it, and all that it needs.
            activity: Knows when users were last seen.
        """
        self.publisher = publisher
        self.activity = activity
        self._endings = endings
        endings.add("writing the routes", publisher.close)
        watching = publisher.watch(_WATCH_INTERVAL)
        endings.add_task(asyncio.create_task(watching, name="traefik_toml_proxy watcher"))

    async def close(self) -> None:
        """End everything, in reverse order. May be called twice; raises only for a cancellation, after all is ended."""
        await self._endings.run()
