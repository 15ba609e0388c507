"""The heartbeat of the benchmarks: a loop that is held is seen, and the time in which its thread had no core is not."""

from __future__ import annotations

import asyncio
import time

import pytest
from support.waiting import eventually

from benchmarks.heartbeat import Heartbeat, core_wait


async def test_a_loop_that_is_held_is_seen() -> None:
    async with Heartbeat() as heartbeat:
        await asyncio.sleep(0.01)
        until = time.thread_time() + 0.05
        while time.thread_time() < until:
            pass
    assert heartbeat.worst > 0.04
    assert heartbeat.worst_ms == heartbeat.worst * 1000


@pytest.mark.parametrize(("waited", "held"), [(0, 0.501), (0.3, 0.201), (0.501, 0)])
async def test_the_time_without_a_core_does_not_count(waited: float, held: float) -> None:
    times = {"now": 10.0, "waited": 1.0}
    async with Heartbeat(lambda: times["now"], lambda: times["waited"]) as heartbeat:
        times.update(now=10.502, waited=1.0 + waited)
    assert heartbeat.worst == pytest.approx(held)


async def test_it_beats() -> None:
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += 0.011
        return now

    async with Heartbeat(clock, lambda: 0) as heartbeat:
        await eventually(lambda: now > 0.1)
    assert heartbeat.worst == pytest.approx(0.010)


def test_what_the_kernel_tells_only_grows() -> None:
    first = core_wait()
    assert 0 <= first <= core_wait()
