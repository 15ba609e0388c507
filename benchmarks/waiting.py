"""Waiting with a timeout. No I/O of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

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
