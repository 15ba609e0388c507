"""Work that must not be interrupted, that must go on when it fails, or that takes long. Only async, no I/O."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Iterable
from types import TracebackType
from typing import TypeVar

T = TypeVar("T")

# The longest time to hold the event loop at once, in seconds.
_LONGEST_TURN = 0.003


async def run_to_completion(work: Awaitable[T]) -> T:
    """Return the result of ``work``. When cancelled, wait until it is complete, and only then raise the cancellation.

    Raises:
        Exception: What ``work`` raises; if cancelled, that is dropped.
    """
    task = asyncio.ensure_future(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        if not task.cancelled():
            task.exception()  # marks it as retrieved
        raise asyncio.CancelledError
    return task.result()


class LoggedOnce:
    """Keeps work that is done again and again going when it fails unexpectedly: a bug, or a fault nobody has thought of.

    The log gets the traceback once, not with each attempt, and a line when the work succeeds again.
    """

    def __init__(self, what: str, log: logging.Logger) -> None:
        """Set what is done, as the beginning of a sentence, and where failures are logged."""
        self._what = what
        self._log = log
        # The failure that was logged last; "" if there is none.
        self._failure = ""

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if isinstance(error, Exception):
            if repr(error) != self._failure:
                self._failure = repr(error)
                self._log.error("%s failed unexpectedly; will retry", self._what, exc_info=error)
            return True
        if error is None and self._failure:
            self._failure = ""
            self._log.info("%s works again", self._what)
        return False


async def with_pauses(items: Iterable[T]) -> AsyncIterator[T]:
    """Iterate over what there may be thousands of, yielding to the event loop regularly."""
    loop = asyncio.get_running_loop()
    paused = loop.time()
    for item in items:
        yield item
        if loop.time() - paused > _LONGEST_TURN:
            await asyncio.sleep(0)
            paused = loop.time()
