"""Runs cases against a proxy, one after the other, each within its time. Does I/O through the stage."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from .case import Case, Failed, NotOffered, Options
from .outcome import Outcome, Result
from .stage import Stage
from .subject import Subject

T = TypeVar("T")

_SECONDS_TO_START = 90.0
_SECONDS_TO_CLEAR = 60.0
_SECONDS_TO_STOP = 120.0
# What has been cut off may take so long to end.
_GRACE = 5.0

_log = logging.getLogger("conformance")


class Session:
    """Runs cases; keeps a proxy for as many of them as can share it. Closed by :meth:`close`."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._stage: Stage | None = None

    async def run(self, case: Case) -> Outcome:
        """Run one case.

        Returns:
            How it ended; a proxy that cannot even be started has failed, or does not offer what the case needs.
        """
        began = time.monotonic()
        result, reason = await self._try(case)
        return Outcome(case, result, reason, time.monotonic() - began)

    async def _try(self, case: Case) -> tuple[Result, str]:
        if self._stage is not None and (case.fresh or self._stage.options != case.options):
            await self.close()
        try:
            if self._stage is None:
                self._stage = Stage(self._subject, case.options)
                await self._stage.prepare()
                if not case.fresh:
                    await within(_SECONDS_TO_START, self._stage.start(), "starting the proxy")
            await within(case.seconds, case.run(self._stage), "the whole case")
        except NotOffered as reason:
            await self.close()
            return Result.NOT_OFFERED, str(reason)
        except Exception as error:  # noqa: BLE001 - whatever it is, the proxy has not done it
            # What state it is in now, nobody knows.
            await self.close()
            return Result.FAILED, _told(error)
        return await self._put_away(case)

    async def _put_away(self, case: Case) -> tuple[Result, str]:
        try:
            if case.fresh:
                problem = await self.close()
                return (Result.FAILED, f"afterwards: {problem}") if problem else (Result.PASSED, "")
            if self._stage is not None:
                await within(_SECONDS_TO_CLEAR, self._stage.clear(), "deleting the routes")
                if await within(_SECONDS_TO_CLEAR, self._stage.has_routes(), "asking for the routes"):
                    # Whose fault that is, other cases tell; the next one begins without them.
                    await self.close()
        except Exception as error:  # noqa: BLE001 - as above
            await self.close()
            return Result.FAILED, f"afterwards, its routes could not be deleted: {_told(error)}"
        return Result.PASSED, ""

    async def close(self) -> str:
        """Stop the proxy.

        Returns:
            What went wrong, or ""; a proxy that cannot be stopped must not keep the next case from being run.
        """
        stage, self._stage = self._stage, None
        try:
            if stage is not None:
                await within(_SECONDS_TO_STOP, stage.close(), "stopping the proxy")
        except Exception as error:  # noqa: BLE001 - as above
            _log.warning("The proxy could not be stopped: %s", _told(error))
            return _told(error)
        return ""


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, Failed) else f"{type(error).__name__}: {error}"


async def within(seconds: float, doing: Awaitable[T], what: str) -> T:
    """Return what comes of ``doing``, but wait only so long.

    Raises:
        Failed: If it takes longer, or was cancelled by somebody else.
    """
    task = asyncio.ensure_future(doing)
    try:
        await asyncio.wait([task], timeout=seconds)
        if not task.done():
            raise Failed(f"{what} took more than {seconds:g} seconds")
        if task.cancelled():
            raise Failed(f"{what} was cancelled")
        return task.result()
    finally:
        task.cancel()
        await asyncio.wait([task], timeout=_GRACE)
        if task.done() and not task.cancelled():
            task.exception()  # known, or come too late to be of interest


async def run_all(
    subject: Subject, cases: Iterable[Case], told: Callable[[Outcome], object] = lambda _: None
) -> list[Outcome]:
    """Run cases against ``subject``.

    Args:
        subject: The proxy under test.
        cases: In any order; those that can share a proxy are run together.
        told: Called with each outcome as it comes.

    Returns:
        The outcomes in the order of ``cases``.
    """
    in_order = list(cases)
    together: dict[tuple[Options, bool], list[Case]] = {}
    for case in in_order:
        together.setdefault((case.options, case.fresh), []).append(case)
    session = Session(subject)
    outcomes: dict[str, Outcome] = {}
    try:
        for group in together.values():
            for case in group:
                outcomes[case.id] = await session.run(case)
                told(outcomes[case.id])
    finally:
        await session.close()
    return [outcomes[case.id] for case in in_order]
