"""Waiting with a timeout. No I/O of its own."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

T = TypeVar("T")

# How many seconds a cancelled coroutine may take to end.
_GRACE = 5


async def within(seconds: float, doing: Awaitable[T]) -> T:
    """Return the result of ``doing``, which is cancelled if it takes longer than ``seconds``.

    Unlike ``asyncio.wait_for`` before Python 3.12, this never swallows a cancellation.

    Raises:
        asyncio.TimeoutError: If it takes longer.
    """
    task = asyncio.ensure_future(doing)
    try:
        await asyncio.wait({task}, timeout=seconds)
        if not task.done():
            raise asyncio.TimeoutError
        return task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=_GRACE)


async def eventually(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    """Return the first true value of ``condition``, a function or a coroutine function.

    Args:
        condition: Is called again and again.
        seconds: How long.
        what: The message if it is never true.

    Raises:
        asyncio.TimeoutError: If it has not been true within that many seconds.
    """
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        if time.monotonic() >= deadline:
            raise asyncio.TimeoutError(f"{what} within {seconds:g} s")
        await asyncio.sleep(0.01)
