"""benchmarks.docs_tables: the tables of the documentation."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from docutils.core import publish_doctree

from benchmarks.docs_tables import list_tables

ECHO = {
    "contender": "ours",
    "per_second": 5.0,
    "cpu_us": 9.0,
    "user_us": 4.0,
    "p50_ms": 1.0,
    "p99_ms": 2.0,
    "max_ms": 3.0,
}
TIMES = {"n": 5, "p50_ms": 1.0, "p90_ms": 1.0, "p99_ms": 25.6, "max_ms": 1.0}


def cells(part: str, measured: dict[str, Any]) -> list[list[str]]:
    """Return the cells of the one table of a part, as a reader sees them."""
    document = publish_doctree(list_tables({"parts": {part: measured}})[part], settings_overrides={"halt_level": 2})
    (table,) = document.findall(nodes.table)
    return [[entry.astext() for entry in row.children] for row in table.findall(nodes.row)]


def change(ms: float, count: int) -> dict[str, Any]:
    """Return some adds of one kind."""
    cpu = {"hub_cpu_ms": 1.0, "proxy_cpu_ms": 1.0}
    return {"add": [{"ms": ms, "live_ms": ms, "changes": count, "missed": 0, "loop_gap_ms": None, **cpu}], "delete": []}


def test_a_burst_of_another_size_says_so() -> None:
    contenders = {
        "ours": {"single": change(3.21, 1), "burst": change(45, 200)},
        "jtp": {"single": change(800, 1), "burst": change(4000, 10)},
        "floor": {"failed": "it fell over"},
    }
    levels = [{"existing": 1000, "contenders": contenders}]

    _, single, burst = cells("routes", {"parameters": {"burst": 200}, "levels": levels})

    assert single == ["1 route", "1,000", "3.2", "800", "failed"]
    assert burst == ["200 at once", "1,000", "45", "4,000 for 10", "failed"]


def test_who_was_not_measured_at_a_size_has_an_empty_cell_there_and_one_who_never_was_no_column() -> None:
    both = {"etcd": {"single": change(50, 1)}, "files": {"single": change(20, 1)}}
    levels = [
        {"existing": 0, "contenders": both},
        {"existing": 50_000, "contenders": {"files": {"single": change(9000, 1)}}},
    ]

    header, *rows = cells("routes", {"parameters": {"burst": 200}, "levels": levels})

    assert header == ["adding", "to routes", "etcd, 3 replicas", "one file, 3 Traefiks"]
    assert rows == [["1 route", "0", "50", "20"], ["1 route", "50,000", "", "9,000"]]


def test_requests_of_the_floor_are_repeated_for_each_size() -> None:
    plain = {"of_users": False, "large": False, "close": False, "tls": False, "p99_ms": 1.26}
    samples = [
        {"contender": "ours", "existing": 0, "per_second": 20_000.4, **plain},
        {"contender": "ours", "existing": 1_000, "per_second": 10_000, **plain},
        {"contender": "floor", "existing": 0, "per_second": 21_000, **plain},
    ]

    _, *rows = cells("requests", {"samples": samples})

    assert rows == [
        ["the Hub's page", "0", "20,000 (1.3)", "21,000 (1.3)"],
        ["the Hub's page", "1,000", "10,000 (1.3)", "21,000 (1.3)"],
    ]


def test_websockets_without_a_memory_measurement_have_an_empty_cell() -> None:
    opened = [
        {**ECHO, "opened_per_second": 7.0, "bytes_per_socket": 2048},
        {**ECHO, "contender": "direct", "opened_per_second": 9.0, "bytes_per_socket": None},
    ]

    echoes = [ECHO, {**ECHO, "contender": "direct"}]
    header, *_, memory = cells("websockets", {"parameters": {"open_sockets": 10}, "echoes": echoes, "opened": opened})

    assert header == ["WebSockets", "here", "no proxy"]
    assert memory[1:] == ["2", ""]


def test_a_busy_hub_is_beside_a_quiet_one() -> None:
    samples = [
        {"contender": "in-process", "busy": False, "p50_ms": 0.31, "p99_ms": 2.0},
        {"contender": "in-process", "busy": True, "p50_ms": 0.42, "p99_ms": 20.4},
        {"contender": "direct", "busy": False, "p50_ms": 0.11, "p99_ms": 1.0},
    ]

    _, *rows = cells("busy", {"samples": samples})

    assert rows == [["here, in-process", "0.3", "2.0", "0.4", "20"], ["no proxy", "0.1", "1.0", "", ""]]


def test_churn_has_a_row_for_each_contender() -> None:
    samples = [
        {
            "contender": name,
            "existing": 1_000,
            "changing": changing,
            "changes_per_second": 2.0,
            "failed": failed,
            "requests": TIMES,
        }
        | {"messages": TIMES}
        for name, changing, failed in (("chp", False, 0), ("ours", False, 0), ("ours", True, 2))
    ]

    _, ours, chp = cells("churn", {"parameters": {"seconds": 5}, "samples": samples})

    assert ours == ["1,000", "here", "2.0", "26", "26", "26", "26", "2"]
    assert chp == ["1,000", "configurable-http-proxy", "", "26", "", "26", "", "0"]


def test_users_of_a_proxy_that_does_not_come_back_are_cut_off_for_good() -> None:
    event = {"event": "the proxy is killed"}
    samples = [
        {"contender": name, "existing": existing, "cut_off_s": seconds, **event}
        for name, existing, seconds in (("ours", 100, 0.0), ("jtp", 100, None), ("floor", 0, 0.071))
    ]

    _, row = cells("restart", {"parameters": {"existing": [100]}, "samples": samples})

    assert row == ["the proxy is killed", "100", "0", "for good", "0.07"]
