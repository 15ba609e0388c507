"""benchmarks.report: the ratios that promises hang on, from what was measured."""

from __future__ import annotations

from typing import Any

from benchmarks.report import ratios, summaries, text


def changes(ms: float, count: int, gap: float | None = 1.0) -> dict[str, Any]:
    """Return one add and one delete of ``count`` routes."""
    each = {
        "ms": ms,
        "live_ms": ms,
        "changes": count,
        "missed": 0,
        "loop_gap_ms": gap,
        "hub_cpu_ms": 1.0,
        "proxy_cpu_ms": 1.0,
    }
    return {"add": [each], "delete": [each]}


def result(contenders: dict[str, dict[str, Any]], memory: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return results of a run with one table of 10 routes."""
    return {
        "machine": {
            "cpu": "a cpu",
            "cores": 2,
            "memory_mib": 1,
            "kernel": "a kernel",
            "load_1min": 0.5,
            "fsync_ms": 1.0,
        },
        "versions": {"python": "3"},
        "parameters": {"existing": [10], "burst_existing": 10},
        "contenders": {"ours": "installed", "chp": "not installed: no node"},
        "levels": [{"existing": 10, "only_bursts": False, "contenders": contenders}],
        "memory": memory,
    }


def test_each_ratio_is_of_what_its_name_says() -> None:
    measured = result(
        {
            "ours": {
                "start": {"start_gap_ms": 9.0, "idle_gap_ms": 0.5, "routes": 11, "fill_rss_bytes": 1100},
                "single": changes(6, 1),
                "burst": changes(100, 200, gap=24),
                "get_all": {"ms": 1.0, "loop_gap_ms": 2.0, "routes": 11},
            },
            "floor": {"single": changes(4, 1, None), "burst": changes(50, 200, None)},
            "jtp": {"burst": changes(1000, 10)},
        },
        {"routes": 11, "bytes_per_route": 5000.0},
    )

    found = ratios(measured)

    assert [ratio["value"] for ratio in found] == [1.5, 2.0, 200.0, 24, 5000.0]
    assert [ratio["kept"] for ratio in found] == [True, True, True, True, False]


def test_what_was_not_measured_is_neither_kept_nor_broken() -> None:
    found = ratios(result({"chp": {"single": changes(1, 1)}}))

    assert len(found) == 5
    assert {(None, None, "not measured")} == {(ratio["value"], ratio["kept"], ratio["note"]) for ratio in found}


def test_rows_are_ordered_so_that_contenders_stand_together() -> None:
    rows = summaries(result({"ours": {"single": changes(1, 1)}, "chp": {"single": changes(2, 1)}}))

    assert [(row["change"], row["contender"]) for row in rows] == [
        ("add", "chp"),
        ("add", "ours"),
        ("delete", "chp"),
        ("delete", "ours"),
    ]


def test_the_text_says_who_was_missing_and_who_failed() -> None:
    measured = result({"jtp": {"failed": "jtp: start: no traefik\nmore"}})
    measured["ratios"] = ratios(measured)

    shown = text(measured)

    assert "chp: not installed: no node" in shown
    assert "jtp at 10 routes FAILED: jtp: start: no traefik\n" in shown
