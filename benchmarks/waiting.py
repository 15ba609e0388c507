"""Waiting, but only so long. No I/O of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")

# What was cancelled may take so long to end, in seconds.
_GRACE = 5


async def within(seconds: float, doing: Awaitable[T]) -> T:
    """Return what comes of ``doing``; it is cancelled if it takes longer, or if the one who waits is.

    Raises:
        asyncio.TimeoutError: If it takes longer. Unlike ``asyncio.wait_for`` before Python 3.12, this never swallows a
            cancellation.
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
