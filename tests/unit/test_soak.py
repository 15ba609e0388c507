"""support.soak: what a soak does comes from its seed, and what may not be is noticed."""

from __future__ import annotations

import contextlib
from collections import Counter
from itertools import islice

import pytest
from support.soak import expected as module
from support.soak.expected import BOUNDS, USUAL, Expected, Failure
from support.soak.faults import Faults
from support.soak.held import Held, More
from support.soak.plan import LASTING, MOVING, PARTS, STEADY, changes, faults
from support.soak.table import Table

from traefik_toml_proxy.traefik.layers import FEW_ROUTES


class Clock:
    """Stands in for the module ``time``."""

    time = 1000.0

    def monotonic(self) -> float:
        return self.time


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of what is expected."""
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.mark.parametrize("part", range(len(PARTS)))
def test_a_seed_decides_what_happens(part: int) -> None:
    """The same one does it again, another one does something else, and all faults of a part come before one comes again."""
    first, again, other = (list(islice(faults(seed, part), 30)) for seed in (1, 1, 2))
    names = PARTS[part].faults

    assert first == again != other
    assert sorted(fault.name for fault in first[: len(names)]) == sorted(names)
    assert {fault.name for fault in first} == {*names, *PARTS[part].more}
    assert [fault.name for fault in first if bool(fault.seconds) != (fault.name in LASTING)] == []
    assert list(islice(changes(1), 30)) == list(islice(changes(1), 30)) != list(islice(changes(2), 30))


def test_the_number_of_routes_crosses_the_one_from_which_they_are_in_layers() -> None:
    """So that both forms, and the way from one to the other, are in each soak."""
    assert len(STEADY) < FEW_ROUTES < len(STEADY) + len(MOVING) // 2


def test_only_what_is_expected_may_answer() -> None:
    """Also what was expected when the request began; but not what will be expected later."""
    expected = Expected()
    expected.expect("/a/", {"s0"})
    with expected.asking("/a/") as question:
        expected.expect("/a/", {"s1"})
        for seen in ("s0", "s1", "s2"):
            expected.judge(question, seen)
    with expected.asking("/a/") as question:
        expected.judge(question, "s0")

    assert [problem.split(maxsplit=1)[1] for problem in expected.problems] == [
        "/a/: s2; it may be: s0, s1",
        "/a/: s0; it may be: s1",
    ]
    assert (expected.answered, expected.failed) == (2, 0)


def test_each_fault_has_bounds_and_the_other_way_round() -> None:
    """A fault that is only in one of the two would never happen, or could not."""
    planned = {name for part in PARTS for name in (*part.faults, *part.more)}

    assert planned == set(BOUNDS) == {name[1:] for name in vars(Faults) if name[1:] in {*BOUNDS, *planned}}
    assert planned >= LASTING


@pytest.mark.parametrize("fault", BOUNDS)
def test_a_request_may_fail_only_in_an_outage(fault: str) -> None:
    """In the ways of this fault, if it was under way in it."""
    expected = Expected()
    expected.expect("/a/", {"s0"})
    for failure in Failure:
        with expected.asking("/a/") as before:
            with expected.outage(fault):
                pass
            expected.judge(before, failure)
        with expected.asking("/a/") as after:
            expected.judge(after, failure)

    allowed = BOUNDS[fault].failures
    assert expected.failed == len(allowed)
    assert len(expected.problems) == 2 * len(Failure) - len(allowed)


@pytest.mark.parametrize(
    ("fault", "lasts", "bound"),
    [
        (None, 0, USUAL),
        ("kill_traefik", 0, BOUNDS["kill_traefik"].outage),
        ("close_the_folder", 2, USUAL),
        ("stop_traefik", 2, USUAL + 2),
    ],
)
@pytest.mark.parametrize(("more", "problems"), [(-0.1, 0), (0.1, 1)])
@pytest.mark.parametrize("patience", [1, 4])
def test_a_user_waits_only_as_long_as_the_fault_allows(
    clock: Clock, fault: str | None, lasts: float, bound: float, more: float, problems: int, patience: float
) -> None:
    """From the request that failed to the answer to a later one; the fault may begin and end meanwhile."""
    expected = Expected(patience)
    expected.expect("/a/", {"s0"})
    with expected.asking("/a/", "ada") as question:
        with expected.outage(fault, lasts) if fault else contextlib.nullcontext():
            clock.time += bound * patience + more
        expected.judge(question, "s1")  # so that it goes on waiting
    with expected.asking("/a/", "ada") as question:
        expected.judge(question, "s0")
    with expected.asking("/a/", "ada") as question:
        expected.judge(question, "s0")  # a new wait, which ends at once

    assert len(expected.problems) == 1 + problems
    assert list(expected.longest) == [*{fault or "no fault": None, "no fault": None}]


def test_what_python_takes_to_start_is_not_the_proxys(clock: Clock) -> None:
    """Users wait that much longer where they wait for the Hub; where they do not, that is no excuse."""
    bounds = {fault: BOUNDS[fault].outage + more for fault, more in (("kill_both", 5), ("kill_the_hub", 0))}
    for fault, bound in bounds.items():
        expected = Expected()
        expected.wants("ada")
        with expected.outage(fault) as outage:
            expected.wants("bob")
            expected.excuse(5)
            clock.time += bound - 0.1
            expected.leaves("ada")
            assert expected.problems == []
            clock.time += 0.2
            expected.leaves("bob")
            assert len(expected.problems) == 1
        assert outage.excused == 5


def test_who_leaves_while_it_waits_has_waited(clock: Clock) -> None:
    """And somebody who wants nothing does not wait."""
    expected = Expected()
    expected.wants("ada")
    clock.time += USUAL + 1
    expected.leaves("ada")
    clock.time += USUAL + 1
    expected.leaves("ada")

    assert [problem.split(maxsplit=1)[1] for problem in expected.problems] == [
        f"ada has waited for {USUAL + 1:.1f} s; with no fault, at most {USUAL:g} s"
    ]


def test_a_table_that_lost_a_route_or_has_another_one_is_noticed() -> None:
    """Which server, and which number in its data; and afterwards, what was found is expected."""
    expected = Expected()
    table = Table(expected)
    first, second, third = STEADY[1:4]
    for place in (first, second):
        table.may_hold(place, {("s0", 1)})
    table.may_hold(third, {("s0", 1), None})

    table.compare({second.path: ("url", {"number": 2}), "/x/": ("url", {"number": 1})}, {"url": "s0"})

    assert [problem.split(maxsplit=1)[1] for problem in expected.problems] == [
        f"the table has None for {first.path}; it may be {{('s0', 1)}}",
        f"the table has ('s0', 2) for {second.path}; it may be {{('s0', 1)}}",
        "the table also has {'/x/'}",
    ]
    assert (table.route(first), table.route(second)) == (None, ("s0", 2))
    assert expected.answers(first.path) == {"hub"}


def test_what_a_process_holds_more_is_noticed() -> None:
    """Each kind by itself."""
    objects = Counter({"list": 100, "dict": 100})
    before = Held(Counter({"pipe": 2}), 3, threads=5, kilobytes=1000, tasks=4, objects=objects, blocks=700)
    objects = Counter({"list": 103, "dict": 98, "Future": 3})
    after = Held(Counter({"pipe": 2, "/f": 1}), 6, threads=14, kilobytes=1101, tasks=5, objects=objects, blocks=705)
    more = More(100, sockets=2, threads=8, objects=3, of_a_type=2, blocks=4)

    assert list(before.leaks_since(before, more)) == []
    assert list(after.leaks_since(before, more)) == [
        "more files: {'/f': 1}",
        "3 more sockets (3, now 6; at most 2 more)",
        "9 more threads (5, now 14; at most 8 more)",
        "101 more kilobytes (1000, now 1101; at most 100 more)",
        "1 more tasks (4, now 5; at most 0 more)",
        "4 more objects, 3 list, 3 Future (200, now 204; at most 3 more)",
        "3 more objects of the type list (100, now 103; at most 2 more)",
        "3 more objects of the type Future (0, now 3; at most 2 more)",
        "5 more blocks of memory (700, now 705; at most 4 more)",
    ]


def test_of_several_looks_the_most_of_each_counts() -> None:
    """What came and went while nothing was done is no leak later."""
    first = Held(Counter({"pipe": 2}), 3, threads=5, kilobytes=900, tasks=4, objects=Counter({"list": 9}), blocks=1)
    second = Held(Counter({"/f": 1}), 2, threads=6, kilobytes=901, tasks=3, objects=Counter({"dict": 1}), blocks=2)

    assert Held.most([first, second]) == Held(
        Counter({"pipe": 2, "/f": 1}), 3, 6, 901, 4, Counter({"list": 9, "dict": 1}), 2
    )


def test_in_peace_one_object_at_each_change_is_a_leak() -> None:
    """And so is one descriptor, thread or task in all; amid faults, only much more is."""
    nothing = Held(Counter(), 0, 0, 0)
    kept = Held(Counter({"/f": 1}), 1, 1, 0, 1, Counter({"tuple": 300}), 300)

    leaks = list(kept.leaks_since(nothing, More.in_peace(300, kilobytes=1)))
    assert [leak.partition(" (")[0] for leak in leaks] == [
        "more files: {'/f': 1}",
        "1 more sockets",
        "1 more threads",
        "1 more tasks",
        "300 more objects of the type tuple",
        "300 more blocks of memory",
    ]
    assert len(list(kept.leaks_since(nothing, More.amid_faults(800, kilobytes=1)))) == 2
