"""When a proxy that answers has stopped loading what is committed."""

from __future__ import annotations

from traefik_toml_proxy.seams import Answer
from traefik_toml_proxy.standstill import Standstill

DOWN = Answer(None, answered=False, description="")
REFUSED = Answer(None, answered=True, description="", refused=True)


def live(revision: int | None) -> Answer:
    """Return the answer of a proxy that serves this revision, or none of ours."""
    return Answer(revision, answered=True, description="")


def checks_until_restart(standstill: Standstill, answer: Answer, revision: int) -> int:
    """Return the number of the check, with always the same answer, that asks for a restart."""
    return next(number for number in range(1, 2000) if standstill.found(answer, revision))


def test_an_old_revision_that_stays_asks_for_a_restart() -> None:
    """It has to be the same in twenty more checks."""
    assert checks_until_restart(Standstill(), live(1), 2) == 22


def test_no_revision_that_stays_asks_for_a_restart() -> None:
    """A Traefik that cannot watch the file serves nothing at all."""
    assert checks_until_restart(Standstill(), live(None), 2) == 21


def test_new_commits_do_not_put_it_off() -> None:
    """Users may come and go while nothing is loaded."""
    standstill = Standstill()

    assert [number for number in range(2, 40) if standstill.found(live(1), number)] == [23]


def test_a_proxy_that_is_behind_but_goes_on_is_left_alone() -> None:
    """While changes keep coming, the last one is always still loading."""
    standstill = Standstill()

    assert not any(standstill.found(live(number - 1), number) for number in range(1, 2000))


def test_a_proxy_that_is_live_is_left_alone() -> None:
    """It may have been behind before."""
    standstill = Standstill()
    for _ in range(100):
        assert not any(standstill.found(live(1), 2) for _ in range(19))
        assert not standstill.found(live(2), 2)


def test_a_proxy_that_does_not_answer_is_left_alone() -> None:
    """Somebody else restarts it, and a rule of the admin's is still there after a restart."""
    for answer in (DOWN, REFUSED):
        standstill = Standstill()
        assert not any(standstill.found(answer, 2) for _ in range(2000))


def test_the_pauses_grow() -> None:
    """A cause that stays does not lead to a restart every few seconds, which would cut users' connections."""
    standstill = Standstill()
    pauses = [checks_until_restart(standstill, live(None), 2) for _ in range(8)]

    assert pauses == [21, 41, 81, 161, 321, 601, 601, 601]


def test_a_restart_that_only_helps_for_a_moment_does_not_reset_the_pauses() -> None:
    """After a restart, Traefik serves the last revision in any case; only a later one shows that it watches the file."""
    standstill = Standstill()
    checks_until_restart(standstill, live(1), 2)
    standstill.found(live(2), 2)

    assert checks_until_restart(standstill, live(2), 3) == 42


def test_a_later_revision_resets_the_pauses() -> None:
    """The restart has helped."""
    standstill = Standstill()
    checks_until_restart(standstill, live(1), 2)
    standstill.found(live(3), 3)

    assert checks_until_restart(standstill, live(3), 4) == 22
