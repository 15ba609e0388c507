"""Runs cases against a proxy, one after another, each with a time limit. Does I/O through the stage."""

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
# How many seconds a cancelled coroutine may take to end.
_GRACE = 5.0

_log = logging.getLogger("conformance")


class Session:
    """Runs cases, with one proxy for as many of them as can share it. Close it with :meth:`close`."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._stage: Stage | None = None

    async def run(self, case: Case) -> Outcome:
        """Run one case.

        Returns:
            How it ended. If the proxy cannot be started, the case has failed, or the proxy does not offer what it needs.
        """
        began = time.monotonic()
        result, reason = await self._test(case)
        return Outcome(case, result, reason, time.monotonic() - began)

    async def _test(self, case: Case) -> tuple[Result, str]:
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
        except Exception as error:  # noqa: BLE001 - whatever it is, the proxy has not passed
            # The state of the proxy is unknown now.
            await self.close()
            return Result.FAILED, _description(error)
        return await self._reset(case)

    async def _reset(self, case: Case) -> tuple[Result, str]:
        try:
            if case.fresh:
                problem = await self.close()
                return (Result.FAILED, f"afterwards: {problem}") if problem else (Result.PASSED, "")
            if self._stage is not None:
                await within(_SECONDS_TO_CLEAR, self._stage.clear(), "deleting the routes")
                if await within(_SECONDS_TO_CLEAR, self._stage.has_routes(), "asking for the routes"):
                    # Other cases test whether routes are deleted. This one has passed; the next needs a new proxy.
                    await self.close()
        except Exception as error:  # noqa: BLE001 - as above
            await self.close()
            return Result.FAILED, f"afterwards, its routes could not be deleted: {_description(error)}"
        return Result.PASSED, ""

    async def close(self) -> str:
        """Stop the proxy.

        Returns:
            What went wrong, or "": a proxy that cannot be stopped must not prevent the next case.
        """
        stage, self._stage = self._stage, None
        try:
            if stage is not None:
                await within(_SECONDS_TO_STOP, stage.close(), "stopping the proxy")
        except Exception as error:  # noqa: BLE001 - as above
            _log.warning("The proxy could not be stopped: %s", _description(error))
            return _description(error)
        return ""


def _description(error: Exception) -> str:
    return str(error) if isinstance(error, Failed) else f"{type(error).__name__}: {error}"


async def within(seconds: float, doing: Awaitable[T], what: str) -> T:
    """Return the result of ``doing``, but wait no longer than ``seconds``.

    Raises:
        Failed: If it takes longer, or is cancelled by somebody else.
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
            task.exception()  # retrieved, so that asyncio does not log it


async def run_all(
    subject: Subject, cases: Iterable[Case], on_outcome: Callable[[Outcome], object] = lambda _: None
) -> list[Outcome]:
    """Run cases against ``subject``.

    Args:
        subject: The proxy under test.
        cases: In any order; those that can share a proxy are run together.
        on_outcome: Called with each outcome at once.

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
                on_outcome(outcomes[case.id])
    finally:
        await session.close()
    return [outcomes[case.id] for case in in_order]
