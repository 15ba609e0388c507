"""Waiting for a condition with a deadline instead of sleeping, and tasks that end with the block they belong to."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

# With pytest-xdist, how many tests run at a time for each processor.
_AT_ONCE = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")) / len(os.sched_getaffinity(0))
# Every deadline is multiplied by this, for slow machines.
PATIENCE = float(os.environ.get("TEST_PATIENCE") or max(1, _AT_ONCE))


async def eventually(condition: Callable[[], Any | Awaitable[Any]], *, within: float = 10, what: str = "") -> Any:
    """Return the first true value of ``condition`` (a function or a coroutine function).

    Raises:
        AssertionError: If it has not been true within that many seconds.
    """
    deadline = time.monotonic() + within * PATIENCE
    while True:
        value = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {within} s: {what or inspect.getsource(condition).strip()}"
        await asyncio.sleep(0.01)


async def within(seconds: float, work: Awaitable[T]) -> T:
    """Return the result of ``work``. Unlike asyncio.wait_for before Python 3.12, it never swallows a cancellation.

    Raises:
        TimeoutError: If it takes longer than that.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait([task], timeout=seconds)
        if not task.done():
            raise TimeoutError(f"not within {seconds:g} s")
        return task.result()
    finally:
        task.cancel()


@contextlib.asynccontextmanager
async def meanwhile(*work: Coroutine[Any, Any, object]) -> AsyncIterator[None]:
    """Run coroutines while the block runs, then cancel them and wait until they have ended.

    Raises:
        Exception: What one of them has raised, even if the block has failed as well: it may be why.
    """
    tasks = [asyncio.create_task(each) for each in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome
