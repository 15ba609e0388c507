"""benchmarks.report_drill and benchmarks.ha.record: what of a drill is broken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.docs_tables import drill_table
from benchmarks.ha.record import KINDS, Fault, Record, lost_routes, slowest
from benchmarks.plot_drill import draw
from benchmarks.report_drill import broken, text


def fault(kind: str = "member", *, begun: float = 10.0, ended: float | None = 12.0, well: float | None = 13.0) -> Any:
    """Return a fault."""
    return {"what": f"a {kind}", "kind": kind, "begun": begun, "ended": ended, "well": well, "victims": []}


def result(**other: Any) -> dict[str, Any]:
    """Return what a drill has seen in which all held, with other values for some keys."""
    return {
        "date": "2026-01-01T00:00:00+00:00",
        "machine": {"cpu": "a cpu", "cores": 2, "load_1min": 0.1},
        "versions": {"etcd": "3.5", "traefik": "3.7", "python": "3.11"},
        "parameters": {"patience": 1},
        "interrupted": False,
        "failure": "",
        "seconds_taken": 30.0,
        "step_seconds": 0.5,
        "faults": [fault()],
        "problems": {kind: {"count": 0, "first": []} for kind in KINDS},
        "changes": [[1.0, 0.1, True], [11.0, 0.5, False]],
        "cut": 0,
        "checks": 6,
        "answered": {"replica1": [1, 2], "replica2": [3]},
    } | other


def test_if_all_holds_nothing_is_broken() -> None:
    assert broken(result()) == []
    assert "all held" in text(result())


@pytest.mark.parametrize("kind", KINDS)
def test_one_problem_of_any_kind_breaks_it(kind: str) -> None:
    problems = result()["problems"] | {kind: {"count": 7, "first": ["here is the first"]}}

    (found,) = broken(result(problems=problems))

    assert found.startswith(f"7 {KINDS[kind]}")
    assert "here is the first" in found
    assert "BROKEN: 7" in text(result(problems=problems))


@pytest.mark.parametrize(
    ("kind", "took", "is_broken"),
    [
        ("leader killed", 4.0, False),
        ("leader killed", 4.1, True),
        ("majority", 6.9, False),  # 2 s without it, and 5 s
        ("majority", 7.1, True),
        ("Traefik", 20.0, False),
    ],
)
def test_a_change_takes_no_longer_than_the_limit(kind: str, took: float, is_broken: bool) -> None:
    found = broken(result(faults=[fault(kind)], changes=[[9.5, took, True]]))

    assert bool(found) == is_broken


def test_patience_multiplies_the_limit_but_not_the_time_without_a_majority() -> None:
    parameters = {"patience": 2}

    assert not broken(result(faults=[fault("leader killed")], changes=[[9.5, 7.9, True]], parameters=parameters))
    assert not broken(result(faults=[fault("majority")], changes=[[9.5, 11.9, True]], parameters=parameters))
    assert broken(result(faults=[fault("majority")], changes=[[9.5, 12.1, True]], parameters=parameters))


def test_a_change_that_was_over_before_the_fault_or_began_after_it_does_not_count() -> None:
    assert slowest([(1.0, 8.9, True), (13.1, 9.0, True), (9.0, 2.0, False)], 10.0, 13.0) == 2.0
    assert slowest([], 10.0, 13.0) is None


@pytest.mark.parametrize(
    "nothing", [{"faults": []}, {"changes": []}, {"checks": 0}, {"answered": {}}, {"answered": {"replica1": [0]}}]
)
def test_a_drill_in_which_nothing_happened_is_broken(nothing: dict[str, Any]) -> None:
    assert broken(result(**nothing)) == ["nothing was done, or nobody asked"]


def test_an_interrupted_or_failed_drill_is_broken() -> None:
    failed = result(interrupted=True, failure="it: fell over", faults=[fault("majority", ended=None, well=None)])

    assert broken(result(interrupted=True)) == ["the drill was interrupted"]
    assert broken(failed) == ["the drill could not go on: it: fell over"]
    assert "a majority" in text(failed)


def test_a_request_may_fail_only_on_a_replica_to_which_something_is_done() -> None:
    record = Record()
    record.faults.append(Fault("Traefik is killed", "Traefik", 0.0, victims=("replica1",)))
    record.has_failed("replica1", record.now, "refused")
    record.has_failed("replica2", record.now, "refused")
    record.faults[0].well = record.now
    record.has_failed("replica1", record.now + 1, "refused")

    assert record.cut == 1
    assert record.problems["failed"].count == 2


def test_of_many_problems_the_first_are_kept_and_all_are_counted() -> None:
    record = Record()
    for number in range(200):
        record.problem("wrong", str(number))

    assert record.problems["wrong"].count == 200
    assert len(record.problems["wrong"].first) == 50
    assert record.problems["wrong"].first[0].endswith("at the beginning: 0")


def test_answers_are_counted_by_replica_and_time() -> None:
    record = Record()
    record.has_answered("replica1")
    record.has_answered("replica1")

    assert sum(record.as_json()["answered"]["replica1"]) == 2


def test_a_lost_route_another_target_and_other_data_are_found() -> None:
    expected = {"/a/": ("http://1", {"n": 1}), "/b/": ("http://1", {"n": 2}), "/c/": ("http://1", {"n": 3})}
    found = {
        "/a/": {"target": "http://2", "data": {"n": 1}},
        "/b/": {"target": "http://1", "data": {"n": 9}},
        "/d/": {"target": "http://1", "data": {}},
    }

    assert [text.partition(":")[0] for text in lost_routes(found, expected, {})] == ["/a/", "/b/", "/c/", "/d/"]


def test_a_change_during_which_the_hub_was_killed_may_be_made_or_not() -> None:
    old, new = ("http://1", {"n": 1}), ("http://2", {"n": 2})
    made = {"/a/": {"target": "http://2", "data": {"n": 2}}}
    not_made = {"/a/": {"target": "http://1", "data": {"n": 1}}}
    half_made = {"/a/": {"target": "http://2", "data": {"n": 1}}}

    assert lost_routes(made, {"/a/": old}, {"/a/": new}) == []
    assert lost_routes(not_made, {"/a/": old}, {"/a/": new}) == []
    assert lost_routes({}, {"/a/": old}, {"/a/": None}) == []
    assert len(lost_routes(half_made, {"/a/": old}, {"/a/": new})) == 1
    assert len(lost_routes({}, {"/a/": old}, {"/a/": new})) == 1


def test_the_plot_has_the_faults_the_replicas_and_the_machine(tmp_path: Path) -> None:
    files = draw(result(faults=[fault("majority"), fault("Hub", begun=14.0, ended=None, well=None)]), tmp_path)

    assert {file.name for file in files} == {"drill.png", "drill.svg"}
    drawn = (tmp_path / "drill.svg").read_text()
    for words in (
        "a majority",
        "a Hub",
        "fault of etcd",
        "fault of the Hub",
        "replica1",
        "add_route",
        "a cpu",
        "etcd 3.5",
    ):
        assert words in drawn
    draw(result(), tmp_path)
    again = (tmp_path / "drill.svg").read_text()
    draw(result(), tmp_path)
    assert (tmp_path / "drill.svg").read_text() == again


def test_the_table_of_the_documentation_has_a_row_for_each_fault() -> None:
    table = drill_table(result(faults=[fault(), fault("Hub", ended=None, well=None)]))

    assert "   * - a member\n     - 2.0\n     - 1.0\n     - 0.5\n" in table
    assert "   * - a Hub\n     -\n     -\n     - 0.5\n" in table


def test_nothing_can_be_drawn_as_well(tmp_path: Path) -> None:
    draw(result(faults=[], changes=[], answered={}), tmp_path)

    assert (tmp_path / "drill.png").stat().st_size
