"""What every live check must do, as one function for each promise of :class:`traefik_toml_proxy.seams.LiveCheck`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from traefik_toml_proxy.seams import LiveCheck

from .waiting import PATIENCE


class Stage(Protocol):
    """A live check and what it asks, which can be made to serve one revision or another."""

    @property
    def live_check(self) -> LiveCheck:
        """The live check."""

    def serve(self, revision: int | None) -> None:
        """Serve that revision from now on; None is an answer from a server that is not ours."""

    def refuse(self) -> None:
        """Answer as something that keeps others out, from now on."""

    def fall_silent(self) -> None:
        """Do not answer from now on."""


async def the_live_revision_is_known(stage: Stage) -> None:
    """The revision is that of the answer."""
    stage.serve(5)
    answer = await stage.live_check.ask()

    assert (answer.revision, answer.answered) == (5, True)
    assert "revision 5" in answer.description


async def an_answer_that_is_not_ours_has_no_revision(stage: Stage) -> None:
    """An answer without our revision is an answer, but no revision."""
    stage.serve(None)
    answer = await stage.live_check.ask()

    assert (answer.revision, answer.answered) == (None, True)


async def silence_is_no_error(stage: Stage) -> None:
    """When nobody answers, it says so and does not raise."""
    stage.fall_silent()
    answer = await stage.live_check.ask()

    assert (answer.revision, answer.answered) == (None, False)
    assert "no answer" in answer.description


async def a_later_revision_ends_the_wait(stage: Stage) -> None:
    """Waiting ends also when a later revision than the awaited one is live, as some are passed over."""
    stage.serve(9)
    answer = await stage.live_check.wait(7, 10)

    assert answer.revision == 9


async def waiting_ends_when_the_revision_is_live(stage: Stage) -> None:
    """Waiting lasts until the revision is live, and no longer."""
    stage.serve(1)
    waiting = asyncio.ensure_future(stage.live_check.wait(2, 30))
    finished, _ = await asyncio.wait([waiting], timeout=0.05)
    assert not finished
    stage.serve(2)
    answer = await asyncio.wait_for(waiting, 5 * PATIENCE)

    assert answer.revision == 2


async def waiting_ends_when_the_time_is_up(stage: Stage) -> None:
    """When the revision is not live in time, the last answer is returned."""
    stage.serve(1)
    began = time.monotonic()
    # Shorter, and a question might get no answer in that time where a machine is busy.
    seconds = 0.5 * PATIENCE
    answer = await stage.live_check.wait(2, seconds)

    assert seconds <= time.monotonic() - began < 5 * PATIENCE
    assert (answer.revision, answer.answered) == (1, True)


async def waiting_outlasts_silence(stage: Stage) -> None:
    """When nobody answers for a while, waiting goes on: the proxy may be starting."""
    stage.fall_silent()
    waiting = asyncio.ensure_future(stage.live_check.wait(1, 30))
    finished, _ = await asyncio.wait([waiting], timeout=0.05)
    assert not finished
    stage.serve(1)
    answer = await asyncio.wait_for(waiting, 5 * PATIENCE)

    assert answer.revision == 1


async def a_refusal_ends_the_wait_early_if_the_caller_wants_that(stage: Stage) -> None:
    """Something else answers that will not go away."""
    stage.refuse()
    answer = await asyncio.wait_for(stage.live_check.wait(1, 30, if_refused=0.05), 5 * PATIENCE)

    assert (answer.revision, answer.answered, answer.refused) == (None, True, True)


async def a_refusal_does_not_end_the_wait_otherwise(stage: Stage) -> None:
    """The caller has time."""
    stage.refuse()
    waiting = asyncio.ensure_future(stage.live_check.wait(1, 30))
    finished, _ = await asyncio.wait([waiting], timeout=0.2)
    assert not finished
    stage.serve(1)
    answer = await asyncio.wait_for(waiting, 5 * PATIENCE)

    assert answer.revision == 1


async def closing_twice_is_allowed(stage: Stage) -> None:
    """A live check can be closed after it was used, and again."""
    stage.serve(1)
    await stage.live_check.ask()
    await stage.live_check.close()
    await stage.live_check.close()


CONTRACT: list[Callable[[Stage], Awaitable[None]]] = [
    the_live_revision_is_known,
    an_answer_that_is_not_ours_has_no_revision,
    silence_is_no_error,
    a_later_revision_ends_the_wait,
    waiting_ends_when_the_revision_is_live,
    waiting_ends_when_the_time_is_up,
    waiting_outlasts_silence,
    a_refusal_ends_the_wait_early_if_the_caller_wants_that,
    a_refusal_does_not_end_the_wait_otherwise,
    closing_twice_is_allowed,
]
