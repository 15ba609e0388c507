"""What every probe must do, as one function for each promise of :class:`traefik_toml_proxy.publisher.Probe`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

import pytest

from traefik_toml_proxy.errors import RouteNotLive
from traefik_toml_proxy.publisher import Probe

from .waiting import PATIENCE


class Stage(Protocol):
    """A probe, and what it asks, which can be made to serve this or that."""

    @property
    def probe(self) -> Probe:
        """The probe."""

    def serve(self, revision: int | None) -> None:
        """Let that revision be live from now on; None is an answer that is not ours."""

    def fall_silent(self) -> None:
        """Let nobody answer from now on."""


async def it_tells_the_live_revision(stage: Stage) -> None:
    """The revision is that of the answer."""
    stage.serve(5)
    answer = await stage.probe.ask()

    assert (answer.revision, answer.answered) == (5, True)


async def it_tells_what_is_not_ours(stage: Stage) -> None:
    """An answer without our revision is an answer, but no revision."""
    stage.serve(None)
    answer = await stage.probe.ask()

    assert (answer.revision, answer.answered) == (None, True)


async def it_tells_of_silence(stage: Stage) -> None:
    """When nobody answers, it says so and does not raise."""
    stage.fall_silent()
    answer = await stage.probe.ask()

    assert (answer.revision, answer.answered) == (None, False)
    assert "no answer" in answer.told


async def a_later_revision_is_as_good(stage: Stage) -> None:
    """Waiting ends also when a later revision than the awaited one is live, as some are passed over."""
    stage.serve(9)
    await stage.probe.wait_live(7, 10, where="/some/file")


async def waiting_ends_when_it_is_live(stage: Stage) -> None:
    """Waiting lasts as long as the revision is not live, and no longer."""
    stage.serve(1)
    waiting = asyncio.ensure_future(stage.probe.wait_live(2, 30, where="/some/file"))
    finished, _ = await asyncio.wait([waiting], timeout=0.05)
    assert not finished
    stage.serve(2)
    await asyncio.wait_for(waiting, 5 * PATIENCE)


async def waiting_has_an_end(stage: Stage) -> None:
    """What is not live in time is an error that names the revision, the file, the entry point and its last answer."""
    stage.serve(1)
    began = time.monotonic()
    with pytest.raises(RouteNotLive) as caught:
        await stage.probe.wait_live(2, 0.1, where="/some/file")

    assert 0.1 <= time.monotonic() - began < 5 * PATIENCE
    assert caught.value.revision == 2
    assert caught.value.answered == "it serves revision 1"
    for part in ("Revision 2", "/some/file", caught.value.url, "it serves revision 1"):
        assert part in str(caught.value)


async def waiting_outlasts_silence(stage: Stage) -> None:
    """When nobody answers for a while, waiting goes on: Traefik may be starting."""
    stage.fall_silent()
    waiting = asyncio.ensure_future(stage.probe.wait_live(1, 30, where="/some/file"))
    finished, _ = await asyncio.wait([waiting], timeout=0.05)
    assert not finished
    stage.serve(1)
    await asyncio.wait_for(waiting, 5 * PATIENCE)


CONTRACT: list[Callable[[Stage], Awaitable[None]]] = [
    it_tells_the_live_revision,
    it_tells_what_is_not_ours,
    it_tells_of_silence,
    a_later_revision_is_as_good,
    waiting_ends_when_it_is_live,
    waiting_has_an_end,
    waiting_outlasts_silence,
]
