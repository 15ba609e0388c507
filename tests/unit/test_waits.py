"""traefik_toml_proxy.waits: each call is told its outcome in its own time, however long others wait."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import NoReturn

import pytest
import pytest_asyncio
from support.fakes import FakeTraefik, MemoryPlace
from support.store_contract import table_of
from support.waiting import PATIENCE, eventually, within

from traefik_toml_proxy import waits as module
from traefik_toml_proxy.errors import InvalidRoute, RouteNotLive, StoreError
from traefik_toml_proxy.routes import Route, Snapshot
from traefik_toml_proxy.waits import LiveWaits, Request

_LONG = 30 * PATIENCE


class Calls:
    """Waits, and the Traefik that they ask."""

    def __init__(self) -> None:
        self.place = MemoryPlace()
        self.traefik = FakeTraefik(self.place)
        self.waits = LiveWaits(self.traefik, lambda: "/memory/dynamic.toml", logging.getLogger("hub"))

    def commit(self, revision: int) -> None:
        """Make Traefik serve a revision."""
        self.place.snapshot = Snapshot(revision, table_of("ada"))

    def add(self, revision: int, timeout: float = _LONG, *, changed: bool = True) -> asyncio.Future[bool]:
        """Wait for a revision; return the outcome of the call that does."""
        loop = asyncio.get_running_loop()
        request = Request("/user/ada/", None, loop.create_future(), loop.time(), changed=changed)
        self.waits.add(revision, timeout, [request])
        return request.done


@pytest_asyncio.fixture
async def calls() -> AsyncIterator[Calls]:
    """No revision is live yet; closed at the end."""
    calls = Calls()
    yield calls
    await calls.waits.close()


async def test_a_call_is_told_whether_it_has_changed_anything(calls: Calls) -> None:
    """When its revision is live."""
    first, second = calls.add(1), calls.add(1, changed=False)
    calls.commit(1)

    assert (await within(_LONG, first), await within(_LONG, second)) == (True, False)


async def test_a_later_revision_serves_for_an_earlier_one(calls: Calls) -> None:
    """Traefik may skip revisions, and it is asked once for both."""
    first, second = calls.add(1), calls.add(2)
    calls.commit(2)
    await within(_LONG, first)
    asked = calls.traefik.asked
    await within(_LONG, second)

    assert calls.traefik.asked == asked


async def test_each_call_waits_for_its_own_time(calls: Calls) -> None:
    """What comes later does not wait for the time-outs before it as well."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    waiting = [calls.add(revision, 0.3) for revision in range(1, 6)]
    results = await asyncio.gather(*waiting, return_exceptions=True)

    assert [type(error) for error in results] == [RouteNotLive] * 5
    assert [error.revision for error in results if isinstance(error, RouteNotLive)] == [1, 2, 3, 4, 5]
    assert loop.time() - began < 1 * PATIENCE


async def test_one_that_is_not_live_in_time_does_not_fail_the_next(calls: Calls) -> None:
    """The next one still has time."""
    first, second = calls.add(1, 0.01), calls.add(2)
    with pytest.raises(RouteNotLive, match=r"/memory/dynamic\.toml"):
        await within(_LONG, first)
    calls.commit(2)

    assert await within(_LONG, second)


async def test_others_get_their_turn_when_it_takes_long(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    """Long before the time is up."""
    monkeypatch.setattr(module, "_SHORTEST_TURN_OF_A_BATCH", 0.01)
    waiting = calls.add(1)
    await within(10 * PATIENCE, calls.waits.take_turns(_LONG))

    assert not waiting.done()


async def test_the_next_turn_comes_when_all_are_told(calls: Calls) -> None:
    """As long as all is well, a reload is never disturbed by the next; with nothing to wait for, it comes at once."""
    await calls.waits.take_turns(_LONG)
    waiting = calls.add(1)
    turn = asyncio.create_task(calls.waits.take_turns(_LONG))
    await asyncio.sleep(0)
    assert not turn.done()
    calls.commit(1)
    await within(_LONG, turn)

    assert waiting.done()


async def test_a_slow_traefik_gets_more_time(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    """A turn is twice as long as the last wait, so a Traefik with many routes does not get ever more files to load."""
    monkeypatch.setattr(module, "_SHORTEST_TURN_OF_A_BATCH", 0)
    loop = asyncio.get_running_loop()
    began = loop.time()
    first = calls.add(1)
    loop.call_later(0.2, calls.commit, 1)
    await within(_LONG, first)
    took = loop.time() - began
    began = loop.time()
    calls.add(2)
    await calls.waits.take_turns(_LONG)

    assert loop.time() - began > took


async def test_an_earlier_outage_gives_no_time_for_a_later_one(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    """A turn is never most of the time-out, however long the last wait took."""
    monkeypatch.setattr(module, "_SHORTEST_TURN_OF_A_BATCH", 0.01)
    loop = asyncio.get_running_loop()
    first = calls.add(1)
    loop.call_later(0.8 * PATIENCE, calls.commit, 1)
    await within(_LONG, first)
    waiting = calls.add(2, 1 * PATIENCE)
    await calls.waits.take_turns(1 * PATIENCE)

    assert not waiting.done()
    waiting.cancel()


async def test_calls_that_no_longer_wait_are_not_asked_for(calls: Calls) -> None:
    """All callers may have been cancelled."""
    calls.add(1).cancel()
    await calls.waits.take_turns(_LONG)

    assert calls.traefik.asked == 0


async def test_closing_tells_all(calls: Calls) -> None:
    """Also before it has begun to ask; and it may be called twice."""
    begun = calls.add(1)
    await eventually(lambda: calls.traefik.asked)
    waiting = calls.add(2)
    await calls.waits.close()
    too_late = calls.add(3)
    await calls.waits.close()
    await calls.waits.close()

    for each in (begun, waiting, too_late):
        with pytest.raises(StoreError, match="stopped"):
            await each


async def test_a_bug_reaches_the_caller_and_the_log(
    calls: Calls, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Those that wait for a later revision are not affected."""

    async def fail(*_: object, **__: object) -> NoReturn:
        raise LookupError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(calls.traefik, "wait", fail)
        with pytest.raises(LookupError):
            await within(_LONG, calls.add(1))
    calls.commit(2)

    assert await within(_LONG, calls.add(2))
    assert [record.exc_info is not None for record in caplog.records] == [True]


async def test_a_request_plans_its_change() -> None:
    """One without a route deletes; one whose route cannot be made fails alone, and keeps that outcome."""
    loop = asyncio.get_running_loop()
    delete = Request("/user/ada/", None, loop.create_future(), loop.time())
    delete.plan()

    def fail() -> Route:
        raise InvalidRoute("/user/bob/", "a reason")

    add = Request("/user/bob/", fail, loop.create_future(), loop.time())
    add.plan()
    add.settle(None)

    assert delete.change is not None
    assert delete.change.route is None
    with pytest.raises(InvalidRoute):
        await add.done
