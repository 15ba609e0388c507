"""LoopThread: an event loop in a thread of its own, so that the Hub and the proxy do not wait for each other. Does I/O."""

from __future__ import annotations

import asyncio
import importlib
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, cast

from ..errors import ConfigurationError
from ..threads import in_thread

T = TypeVar("T")

LOOPS = ("auto", "uvloop", "asyncio")

# Seconds after which a thread that computes lets another one go on. With Python's own 0.005, a request waits two to four
# times that long for a Hub that computes. The Hub computes 6 % less than beside configurable-http-proxy (part busy of the
# benchmarks).
_SWITCH_INTERVAL = 0.0005


def make_loop(kind: str) -> asyncio.AbstractEventLoop:
    """Return a new event loop.

    Args:
        kind: ``uvloop``, ``asyncio``, or ``auto`` for uvloop where it is installed.

    Raises:
        ConfigurationError: If uvloop is wanted, but not there.
    """
    if kind == "asyncio":
        return asyncio.new_event_loop()
    try:
        uvloop = importlib.import_module("uvloop")
    except ImportError as error:
        if kind == "auto":
            return asyncio.new_event_loop()
        raise ConfigurationError(
            f"c.InProcessProxy.event_loop is 'uvloop', which is not installed ({error}). Install it with: python3 -m pip "
            "install 'traefik-toml-proxy[fast]'"
        ) from error
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


class _SwitchInterval:
    """Python's switch interval, which is one for the whole process: shorter while any loop runs, and then as before."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running = 0
        self._before = 0.0

    def shorten(self) -> None:
        """Note that a loop runs."""
        with self._lock:
            self._running += 1
            if self._running == 1:
                self._before = sys.getswitchinterval()
                sys.setswitchinterval(min(self._before, _SWITCH_INTERVAL))

    def restore(self) -> None:
        """Note that a loop has ended."""
        with self._lock:
            self._running -= 1
            if not self._running:
                sys.setswitchinterval(self._before)


_switch_interval = _SwitchInterval()


class LoopThread:
    """A thread that runs an event loop from :meth:`start` to :meth:`stop`. It does not keep the process from ending."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Set the loop; nothing runs before :meth:`start`."""
        self.loop = loop
        self._thread = threading.Thread(target=self._run, name="traefik_toml_proxy in-process", daemon=True)

    def start(self) -> None:
        """Start it."""
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        _switch_interval.shorten()
        try:
            self.loop.run_forever()
        finally:
            _switch_interval.restore()
            self.loop.close()

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Return the result of a coroutine that runs on the loop of the thread. If cancelled, so is that."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self.loop))

    async def call(self, function: Callable[[], T]) -> T:
        """Return the result of a function that is called on the loop of the thread."""
        caller = asyncio.get_running_loop()
        done: asyncio.Future[T] = caller.create_future()

        def tell(result: T | None, error: Exception | None) -> None:
            if done.done():  # cancelled
                return
            if error is None:
                done.set_result(cast("T", result))
            else:
                done.set_exception(error)

        def work() -> None:
            try:
                result = function()
            except Exception as error:  # noqa: BLE001 - whatever it is, it is the caller's
                caller.call_soon_threadsafe(tell, None, error)
            else:
                caller.call_soon_threadsafe(tell, result, None)

        self.loop.call_soon_threadsafe(work)
        return await done

    async def stop(self) -> None:
        """Cancel what runs on the loop, and end the thread. May be called twice, and without :meth:`start`."""
        if not self._thread.is_alive():
            if not self.loop.is_closed():
                self.loop.close()
            return
        asyncio.run_coroutine_threadsafe(self._end(), self.loop)
        await in_thread(self._thread.join)

    async def _end(self) -> None:
        this = asyncio.current_task()
        tasks = [task for task in asyncio.all_tasks() if task is not this]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=5)
        await self.loop.shutdown_asyncgens()
        self.loop.stop()
