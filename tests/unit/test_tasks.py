"""traefik_toml_proxy.tasks: work that a cancellation does not interrupt, and work that lets others go on."""

from __future__ import annotations

import asyncio
import logging

import pytest

from traefik_toml_proxy import tasks as module
from traefik_toml_proxy.tasks import LoggedOnce, run_to_completion, with_pauses


async def test_the_result_is_returned() -> None:
    """Without a cancellation it is like awaiting the work."""

    async def work() -> int:
        await asyncio.sleep(0)
        return 7

    assert await run_to_completion(work()) == 7


async def test_an_error_is_raised() -> None:
    """As it is."""

    async def work() -> None:
        raise LookupError("as it is")

    with pytest.raises(LookupError, match="as it is"):
        await run_to_completion(work())


@pytest.mark.parametrize("error", [None, LookupError("nobody asks for it any more")])
async def test_a_cancellation_waits_for_the_work(error: Exception | None) -> None:
    """However often it is cancelled; what the work raises does not matter then."""
    begun, finish = asyncio.Event(), asyncio.Event()
    done: list[str] = []

    async def work() -> None:
        begun.set()
        await finish.wait()
        done.append("done")
        if error:
            raise error

    waiting = asyncio.create_task(run_to_completion(work()))
    await begun.wait()
    for _ in range(3):
        waiting.cancel()
        await asyncio.sleep(0)
    assert not waiting.done()
    finish.set()
    await asyncio.wait([waiting])

    assert waiting.cancelled()
    assert done == ["done"]


async def test_work_that_is_itself_cancelled_ends_the_wait() -> None:
    """As when a program that exits cancels all its tasks."""
    work = asyncio.create_task(asyncio.Event().wait())
    waiting = asyncio.create_task(run_to_completion(work))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.sleep(0)
    work.cancel()
    await asyncio.wait([waiting])

    assert waiting.cancelled()


def test_a_failure_is_logged_once_and_so_is_its_end(caplog: pytest.LogCaptureFixture) -> None:
    """With the traceback; another failure is logged as well."""
    caplog.set_level(logging.INFO, "hub")
    errors = LoggedOnce("Looking", logging.getLogger("hub"))
    for error in (None, LookupError("a bug"), LookupError("a bug"), ValueError("another"), None, None):
        with errors:
            if error:
                raise error

    assert [(record.levelname, record.getMessage(), bool(record.exc_info)) for record in caplog.records] == [
        ("ERROR", "Looking failed unexpectedly; will retry", True),
        ("ERROR", "Looking failed unexpectedly; will retry", True),
        ("INFO", "Looking works again", False),
    ]


async def test_a_cancellation_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    """It ends the work."""
    with pytest.raises(asyncio.CancelledError), LoggedOnce("Looking", logging.getLogger("hub")):
        raise asyncio.CancelledError

    assert caplog.records == []


async def test_long_lists_are_gone_through_with_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tasks run in between."""
    monkeypatch.setattr(module, "_LONGEST_TURN", 0)
    turns: list[str] = []

    async def note(name: str) -> None:
        async for _ in with_pauses(range(2)):
            turns.extend(name)

    await asyncio.gather(note("a"), note("b"))

    assert turns == ["a", "b", "a", "b"]
