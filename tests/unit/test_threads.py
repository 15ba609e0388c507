"""traefik_toml_proxy.threads: threads that the Hub does not use, for as long as a session holds them."""

from __future__ import annotations

import threading

import pytest
from support.waiting import eventually

from traefik_toml_proxy.threads import LOOKS, NAMES, OURS, PROBES, Threads, hold_all


def named(name: str) -> list[str]:
    """Return the threads that run now whose names begin with this."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(name)]


async def test_the_result_is_returned() -> None:
    """The call runs in one of its threads, with all its arguments."""

    def call(*arguments: object, **more: object) -> object:
        return threading.current_thread().name, arguments, more

    threads = Threads("mine", 2)
    release = threads.hold()

    assert await threads.run(call, 1, 2, three=3) == ("mine_0", (1, 2), {"three": 3})
    await release()


async def test_an_error_is_raised() -> None:
    """As it is."""
    threads = Threads("mine", 2)
    release = threads.hold()
    with pytest.raises(ZeroDivisionError):
        await threads.run(divmod, 1, 0)
    await release()


async def test_they_end_when_the_last_session_does() -> None:
    """And not before; a session may give them up twice. Nothing runs before the first call."""
    threads = Threads("shared", 2)
    first, second = threads.hold(), threads.hold()
    assert not named("shared")
    await threads.run(int)
    await first()
    await first()

    assert await threads.run(int, "7") == 7
    assert named("shared")
    await second()
    await eventually(lambda: not named("shared"))


async def test_they_can_be_used_again() -> None:
    """By a proxy that is started again."""
    threads = Threads("again", 2)
    for _ in range(2):
        release = threads.hold()
        assert await threads.run(int, "7") == 7
        await release()
        await eventually(lambda: not named("again"))


async def test_a_session_without_a_call_needs_none() -> None:
    """There is nothing to end then."""
    await Threads("unused", 2).hold()()

    assert not named("unused")


async def test_all_are_held_together() -> None:
    """Each kind ends."""
    release = hold_all()
    for threads in (OURS, PROBES, NAMES, LOOKS):
        await threads.run(int)
    await release()
    await eventually(lambda: not named("traefik_toml_proxy"))
