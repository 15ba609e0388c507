"""Everything a proxy keeps open between start and stop, closed in reverse order. Only async, no I/O."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

from .publisher import RoutePublisher
from .seams import Activity
from .tasks import run_to_completion
from .watcher import Restart

# Seconds between two checks of the store and of the live revision.
_WATCH_INTERVAL = 1.0


class CleanupStack:
    """A stack of cleanup calls. Each runs once, to its end; an error in one is logged, and the rest still run."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._stack = contextlib.AsyncExitStack()

    def add(self, what: str, call: Callable[[], Awaitable[object]]) -> None:
        """Add a cleanup call for something that is already open, or about to be opened.

        Args:
            what: What is cleaned up, for the log.
            call: Cleans it up; must also work if opening it failed.
        """
        self._stack.push_async_callback(self._run_one, what, call)

    def add_task(self, task: asyncio.Task[None]) -> None:
        """Cancel a task, and wait for it, when the session ends."""

        async def cancel() -> None:
            task.cancel()
            await asyncio.wait([task])

        self.add(task.get_name(), cancel)

    async def _run_one(self, what: str, call: Callable[[], Awaitable[object]]) -> None:
        try:
            await run_to_completion(call())
        except Exception:  # noqa: BLE001 - one failed cleanup must not prevent the others
            self._log.exception("Cleaning up %s failed", what)

    async def run(self) -> None:
        """Run all cleanup calls, the last one first. If cancelled, all of them still run to their end before it raises."""
        await self._stack.aclose()


@contextlib.asynccontextmanager
async def cleanup_on_error(log: logging.Logger) -> AsyncIterator[CleanupStack]:
    """Collect cleanup calls while a session is opened, and run them if that fails or is cancelled."""
    cleanup = CleanupStack(log)
    try:
        yield cleanup
    except BaseException:
        await cleanup.run()
        raise


class Session:
    """Everything a proxy keeps open between start and stop.

    Attributes:
        publisher: Holds the routes, and changes them.
        activity: Tells when users were last seen; None if the proxy does not know.
    """

    def __init__(
        self,
        publisher: RoutePublisher,
        cleanup: CleanupStack,
        *,
        activity: Activity | None = None,
        restart: Restart | None = None,
    ) -> None:
        """Take ownership of what has been opened, and watch the store and the live revision from now on.

        Args:
            publisher: A publisher after ``open`` and ``begin``.
            cleanup: The cleanup calls for everything opened so far.
            activity: Tells when users were last seen; None if the proxy does not know.
            restart: Restarts a proxy that answers, but loads no commit any more; None if that is not done here.
        """
        self.publisher = publisher
        self.activity = activity
        self._cleanup = cleanup
        cleanup.add("the publisher", publisher.close)
        watching = publisher.watch(_WATCH_INTERVAL, restart)
        cleanup.add_task(asyncio.create_task(watching, name="traefik_toml_proxy watcher"))

    async def close(self) -> None:
        """Close everything, in reverse order. May be called twice. If cancelled, it still finishes before raising."""
        await self._cleanup.run()
