"""inprocess.loop: a loop in a thread of its own, and how long the Hub can keep it waiting."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from traefik_toml_proxy.inprocess.loop import LoopThread


@pytest.fixture(autouse=True)
def switch_interval() -> Iterator[None]:
    """Whatever a test sets is undone."""
    before = sys.getswitchinterval()
    yield
    sys.setswitchinterval(before)


async def running() -> LoopThread:
    """Return a thread whose loop runs."""
    thread = LoopThread(asyncio.new_event_loop())
    thread.start()
    await thread.call(lambda: None)
    return thread


async def test_a_hub_that_computes_lets_the_proxy_go_on_soon_and_all_is_as_before_when_the_last_one_ends() -> None:
    sys.setswitchinterval(0.005)

    first, second = await running(), await running()
    assert sys.getswitchinterval() == pytest.approx(0.0005, rel=0.05)
    await first.stop()
    assert sys.getswitchinterval() == pytest.approx(0.0005, rel=0.05)
    await second.stop()
    await second.stop()

    assert sys.getswitchinterval() == pytest.approx(0.005, rel=0.05)


async def test_an_interval_that_is_shorter_already_is_left() -> None:
    sys.setswitchinterval(0.0001)

    thread = await running()
    assert sys.getswitchinterval() == pytest.approx(0.0001, rel=0.05)
    await thread.stop()

    assert sys.getswitchinterval() == pytest.approx(0.0001, rel=0.05)


async def test_a_thread_that_was_never_started_changes_nothing() -> None:
    before = sys.getswitchinterval()

    await LoopThread(asyncio.new_event_loop()).stop()

    assert sys.getswitchinterval() == before


async def test_what_is_called_on_the_loop_returns_or_raises_where_it_was_called() -> None:
    thread = await running()
    try:
        assert await thread.call(threading.current_thread) is not threading.current_thread()
        with pytest.raises(ZeroDivisionError):
            await thread.call(lambda: 1 / 0)

        cancelled: list[bool] = []

        def last_until_cancelled() -> None:
            end = time.monotonic() + 20
            while not cancelled and time.monotonic() < end:
                pass

        given_up = asyncio.ensure_future(thread.call(last_until_cancelled))
        await asyncio.sleep(0)
        given_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await given_up
        cancelled.append(True)
        assert await thread.call(lambda: "still there") == "still there"
    finally:
        await thread.stop()
