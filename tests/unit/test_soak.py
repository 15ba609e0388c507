"""support.soak: what a soak does comes from its seed, and what may not be is noticed."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import pytest
from support.soak.expected import EMPTIED, GONE, Expected, Failure
from support.soak.held import Held
from support.soak.plan import MOVING, PARTS, STEADY, changes, faults
from support.soak.table import Table

from traefik_toml_proxy.traefik.layers import FEW_ROUTES


@pytest.mark.parametrize("part", range(len(PARTS)))
def test_a_seed_decides_what_happens(part: int) -> None:
    """The same one does it again, another one does something else, and all faults of a part come before one comes again."""
    first, again, other = (list(islice(faults(seed, part), 30)) for seed in (1, 1, 2))
    names = PARTS[part][1]

    assert first == again != other
    assert sorted(fault.name for fault in first[: len(names)]) == sorted(names)
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


@pytest.mark.parametrize(
    ("outage", "allowed"), [(GONE, set(Failure)), (EMPTIED, {Failure.NOT_FOUND, Failure.CERTIFICATE})]
)
def test_a_request_may_fail_only_in_an_outage(outage: frozenset[Failure], allowed: set[Failure]) -> None:
    """In the ways of this outage, if it was under way in it."""
    expected = Expected()
    expected.expect("/a/", {"s0"})
    for failure in Failure:
        with expected.asking("/a/") as before:
            with expected.outage(outage):
                pass
            expected.judge(before, failure)
        with expected.asking("/a/") as after:
            expected.judge(after, failure)

    assert expected.failed == len(allowed)
    assert len(expected.problems) == 2 * len(Failure) - len(allowed)


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
    before = Held(Counter({"pipe": 2}), sockets=3, threads=5, kilobytes=1000, tasks=4, objects=100)
    after = Held(Counter({"pipe": 2, "/f": 1}), sockets=6, threads=14, kilobytes=1101, tasks=5, objects=203)

    assert list(before.leaks_since(before, changes=10, kilobytes=100)) == []
    assert list(after.leaks_since(before, changes=10, kilobytes=100)) == [
        "more files: {'/f': 1}",
        "3 more sockets (3, now 6; at most 2 more)",
        "9 more threads (5, now 14; at most 8 more)",
        "101 more kilobytes (1000, now 1101; at most 100 more)",
        "1 more tasks (4, now 5; at most 0 more)",
        "103 more objects (100, now 203; at most 102.5 more)",
    ]
