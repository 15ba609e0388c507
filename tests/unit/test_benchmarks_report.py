"""benchmarks.report and its parts: the ratios that the package makes promises about, and the text."""

from __future__ import annotations

from typing import Any

from benchmarks.report import text
from benchmarks.report_routes import ratios, summaries
from benchmarks.report_users import churn_ratios, request_ratios, restart_ratios


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


def measured_routes(
    contenders: dict[str, dict[str, Any]], memory: dict[str, Any] | None = None, existing: int = 10
) -> dict[str, Any]:
    """Return the results of the part ``routes`` for one size of the table."""
    return {
        "parameters": {"existing": [10], "burst_existing": 10},
        "seconds_taken": 60,
        "levels": [{"existing": existing, "contenders": contenders}],
        "memory": memory,
        "commits": [{"existing": existing, "n": 5, "median_ms": 1.0, "max_ms": 2.0}] if memory else [],
    }


def result(**parts: dict[str, Any]) -> dict[str, Any]:
    """Return the results of a run of some parts."""
    machine = {"cpu": "a cpu", "cores": 2, "memory_mib": 1, "kernel": "a kernel", "load_1min": 0.5, "fsync_ms": 1.0}
    return {
        "date": "2026-01-01",
        "interrupted": False,
        "failures": [],
        "seconds_taken": 120,
        "machine": machine,
        "versions": {"python": "3"},
        "contenders": {"ours": "installed", "chp": "not installed: no node"},
        "parts": parts,
    }


def test_each_ratio_is_computed_from_what_its_name_says() -> None:
    measured = measured_routes(
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

    assert [ratio["value"] for ratio in found] == [1.5, 1.5, 2.0, 200.0, 0.2, 24, 5000.0]
    assert [ratio["kept"] for ratio in found] == [True, False, True, True, False, True, False]


def test_what_was_not_measured_is_neither_kept_nor_broken() -> None:
    found = ratios(measured_routes({"chp": {"single": changes(1, 1)}}))

    assert len(found) == 7
    assert {(None, None, "not measured")} == {(ratio["value"], ratio["kept"], ratio["note"]) for ratio in found}


def test_rows_are_ordered_so_that_contenders_can_be_compared() -> None:
    rows = summaries(measured_routes({"ours": {"single": changes(1, 1)}, "chp": {"single": changes(2, 1)}}))

    assert [(row["change"], row["contender"]) for row in rows] == [
        ("add", "chp"),
        ("add", "ours"),
        ("delete", "chp"),
        ("delete", "ours"),
    ]


def test_the_text_says_which_contenders_were_missing_and_which_failed() -> None:
    written = text(result(routes=measured_routes({"jtp": {"failed": "start: no traefik\nmore"}})))

    assert "chp: not installed: no node" in written
    assert "FAILED: jtp with 10 routes: start: no traefik\n" in written


def requested(contender: str, existing: int, per_second: float, *, of_users: bool = False) -> dict[str, Any]:
    """Return one sample of the part ``requests``."""
    return {
        "contender": contender,
        "existing": existing,
        "of_users": of_users,
        "large": False,
        "close": False,
        "tls": False,
        "failed": 0,
        "per_second": per_second,
        "p50_ms": 1.0,
        "p90_ms": 2.0,
        "p99_ms": 3.0,
    }


def test_requests_are_compared_with_those_without_routes_and_with_another_proxy() -> None:
    samples = [requested("ours", 0, rate) for rate in (90, 100, 1000)]
    samples += [requested("ours", 10_000, 70), requested("chp", 10_000, 35), requested("chp", 0, 50)]
    samples += [requested("ours", 10_000, 85, of_users=True), requested("chp", 10_000, 50, of_users=True)]
    samples += [requested("floor", 0, 100, of_users=True), requested("floor", 0, 7)]

    found = request_ratios({"samples": samples})

    assert [ratio["value"] for ratio in found] == [0.7, 2.0, 0.85, 1.7]
    assert [ratio["kept"] for ratio in found] == [False, True, True, False]


def test_requests_that_were_not_measured_are_neither_kept_nor_broken() -> None:
    assert {ratio["kept"] for ratio in request_ratios({"samples": []})} == {None}
    assert {ratio["kept"] for ratio in request_ratios({"samples": [requested("chp", 0, 1)]})} == {None}


def churned(contender: str, failed: int) -> dict[str, Any]:
    """Return one sample of the part ``churn``."""
    times = {"n": 5, "p50_ms": 1.0, "p90_ms": 1.0, "p99_ms": 1.0, "max_ms": 1.0}
    who = {"contender": contender, "existing": 10, "changing": True, "changes": 3, "failed": failed}
    who["changes_per_second"] = 1.5
    return {**who, "requests": times, "messages": times}


def test_a_single_failure_in_churn_breaks_the_promise() -> None:
    for failed, kept in ((0, True), (1, False)):
        (found,) = churn_ratios({"samples": [churned("ours", 0), churned("ours", failed), churned("chp", 7)]})
        assert (found["value"], found["kept"]) == (failed, kept)
    assert churn_ratios({"samples": [churned("chp", 0)]})[0]["kept"] is None


def cut_off(event: str, seconds: float | None) -> dict[str, Any]:
    """Return one sample of the part ``restart``."""
    return {"contender": "ours", "existing": 1_000, "event": event, "cut_off_s": seconds, "well_after_s": seconds}


def test_the_longest_time_that_users_are_cut_off_counts() -> None:
    samples = [cut_off("the Hub is restarted", 0.0), cut_off("the Hub is restarted", 0.1)]
    samples += [cut_off("the proxy is killed", 0.5)]
    part = {"parameters": {"existing": [100, 1_000]}, "samples": samples}

    assert [(ratio["value"], ratio["kept"]) for ratio in restart_ratios(part)] == [(0.1, False), (0.5, True)]
    samples.append(cut_off("the proxy is killed", None))
    assert restart_ratios(part)[1]["kept"] is False


def test_the_text_has_a_row_for_each_contender() -> None:
    echoes = {
        "contender": "ours",
        "per_second": 5.0,
        "cpu_us": 9.0,
        "user_us": 4.0,
        "p50_ms": 1.0,
        "p99_ms": 2.0,
        "max_ms": 3.0,
    }
    opened = {**echoes, "sockets": 10, "opened_per_second": 7.0, "bytes_per_socket": None}
    common: dict[str, Any] = {
        "parameters": {"existing": [1_000], "seconds": 2},
        "failures": ["x: y"],
        "seconds_taken": 1,
    }
    written = text(
        result(
            requests={**common, "samples": [requested("ours", 0, 123)]},
            websockets={**common, "echoes": [echoes], "opened": [opened]},
            churn={**common, "samples": [churned("jtp", 1)]},
            restart={**common, "samples": [cut_off("the proxy is killed", None)]},
        )
    )

    assert "the Hub's, small, keep-alive, HTTP  ours       0    123" in written
    assert "for good" in written
    assert written.count("FAILED: x: y") == 4
