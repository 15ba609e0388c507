"""traefik_toml_proxy.session: cleanup runs in reverse order, whatever fails, also when opening fails."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import pytest
from support.fakes import FakeTraefik, MemoryPlace, MemoryStore
from support.waiting import eventually

from traefik_toml_proxy import session as module
from traefik_toml_proxy.publisher import RoutePublisher
from traefik_toml_proxy.routes import RouteTable
from traefik_toml_proxy.session import CleanupStack, Session, cleanup_on_error

LOG = logging.getLogger("hub")


def noting(ended: list[str], what: str) -> Callable[[], Awaitable[None]]:
    """Return an ending that adds ``what`` to a list."""

    async def end() -> None:
        ended.append(what)

    return end


async def fail() -> None:
    """End badly."""
    raise RuntimeError("a fault of ours")


async def test_the_last_beginning_is_ended_first() -> None:
    """What was begun later may need what was begun earlier."""
    ended: list[str] = []
    cleanup = CleanupStack(LOG)
    for what in "abc":
        cleanup.add(what, noting(ended, what))
    await cleanup.run()

    assert ended == ["c", "b", "a"]


async def test_each_ending_runs_once() -> None:
    """A second run has nothing to do."""
    ended: list[str] = []
    cleanup = CleanupStack(LOG)
    cleanup.add("a", noting(ended, "a"))
    await cleanup.run()
    await cleanup.run()

    assert ended == ["a"]


async def test_an_ending_that_fails_is_logged_and_the_others_run(caplog: pytest.LogCaptureFixture) -> None:
    """The log names it, with the traceback; nothing is raised."""
    ended: list[str] = []
    cleanup = CleanupStack(LOG)
    cleanup.add("a", noting(ended, "a"))
    cleanup.add("the store", fail)
    cleanup.add("c", noting(ended, "c"))
    await cleanup.run()

    assert ended == ["c", "a"]
    assert [(record.getMessage(), bool(record.exc_info)) for record in caplog.records] == [
        ("Cleaning up the store failed", True)
    ]


async def test_a_cancelled_run_still_ends_everything() -> None:
    """The call in progress is not interrupted, the others run, and then the cancellation comes through."""
    ended: list[str] = []
    begun, finish = asyncio.Event(), asyncio.Event()

    async def take_long() -> None:
        begun.set()
        await finish.wait()
        ended.append("b")

    cleanup = CleanupStack(LOG)
    cleanup.add("a", noting(ended, "a"))
    cleanup.add("b", take_long)
    running = asyncio.create_task(cleanup.run())
    await begun.wait()
    running.cancel()
    await asyncio.sleep(0)
    assert ended == []
    finish.set()
    await asyncio.wait([running])

    assert ended == ["b", "a"]
    assert running.cancelled()


async def test_a_task_is_cancelled_and_awaited() -> None:
    """When the cleanup has run, it is over."""

    async def work() -> None:
        await asyncio.Event().wait()

    cleanup = CleanupStack(LOG)
    task = asyncio.create_task(work(), name="some work")
    cleanup.add_task(task)
    await cleanup.run()

    assert task.cancelled()


async def test_an_opening_that_fails_is_undone() -> None:
    """The error comes through, and what had been begun is ended."""
    ended: list[str] = []

    async def open_and_fail() -> None:
        async with cleanup_on_error(LOG) as cleanup:
            cleanup.add("a", noting(ended, "a"))
            raise LookupError("as it is")

    with pytest.raises(LookupError, match="as it is"):
        await open_and_fail()

    assert ended == ["a"]


async def test_an_opening_that_is_cancelled_is_undone() -> None:
    """A Hub that is interrupted while it starts leaves nothing behind."""
    ended: list[str] = []
    begun = asyncio.Event()

    async def open_for_ever() -> None:
        async with cleanup_on_error(LOG) as cleanup:
            cleanup.add("a", noting(ended, "a"))
            begun.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(open_for_ever())
    await begun.wait()
    task.cancel()
    await asyncio.wait([task])

    assert ended == ["a"]
    assert task.cancelled()


async def test_an_opening_that_succeeds_leaves_the_cleanup_to_the_session() -> None:
    """They run when the session is closed."""
    ended: list[str] = []
    async with cleanup_on_error(LOG) as cleanup:
        cleanup.add("a", noting(ended, "a"))
    assert ended == []
    await cleanup.run()

    assert ended == ["a"]


async def test_a_session_watches_until_it_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Damage to the store is repaired; closing stops the watcher and the publisher before what they need."""
    monkeypatch.setattr(module, "_WATCH_INTERVAL", 0.002)
    place = MemoryPlace()
    store = MemoryStore(place)
    cleanup = CleanupStack(LOG)
    cleanup.add("the store", store.close)
    publisher = RoutePublisher(store, FakeTraefik(place), live_timeout=5, check_route=lambda _: None, log=LOG)
    await publisher.open()
    await publisher.begin(RouteTable())
    session = Session(publisher, cleanup)
    place.damage = "was deleted"
    await eventually(lambda: len(store.commits) == 2)
    await session.close()

    assert place.owner is None
    assert [task for task in asyncio.all_tasks() if task.get_name().startswith("traefik_toml_proxy")] == []
    with pytest.raises(Exception, match="has been stopped"):
        await session.publisher.delete("/a/")
