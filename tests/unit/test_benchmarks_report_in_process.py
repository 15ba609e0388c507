"""benchmarks.report_in_process: the proxy in the Hub's process beside configurable-http-proxy."""

from __future__ import annotations

from typing import Any

from benchmarks.report_in_process import busy_ratios, busy_text, request_ratios, route_ratios, websocket_ratios

PLAIN = {"of_users": False, "large": False, "close": False, "tls": False, "existing": 10}


def sample(who: str, p50: float, p99: float, *, busy: bool = True) -> dict[str, Any]:
    """Return one sample of the part ``busy``."""
    times = {"p50_ms": p50, "p90_ms": p50, "p99_ms": p99, "max_ms": p99}
    return {"contender": who, "busy": busy, "share": 0.3 if busy else 0.0, "rounds_per_s": 7.0, "failed": 1, **times}


BUSY = {
    "parameters": {"share": 0.3},
    "samples": [
        sample("in-process", 2.0, 30.0),
        sample("in-process-apart", 1.0, 10.0),
        sample("chp", 4.0, 10.0),
        sample("chp", 1.0, 1.0, busy=False),
    ],
}


def test_a_busy_hub_is_compared_with_a_busy_hub() -> None:
    found = busy_ratios(BUSY)

    assert [(ratio["value"], ratio["kept"]) for ratio in found] == [
        (0.5, True),
        (3.0, False),
        (0.25, True),
        (1.0, True),
    ]
    assert "30%, in-process" not in found[0]["name"]
    assert "30% of the time, in-process / chp" in found[0]["name"]


def test_the_table_has_each_of_both() -> None:
    lines = busy_text(BUSY).splitlines()

    assert len(lines) == 1 + len(BUSY["samples"])
    assert lines[-1].split() == ["chp", "0%", "1.00", "1.00", "1.00", "1.00", "1"]


def test_requests_are_compared_at_each_size() -> None:
    samples = [
        {**PLAIN, "contender": "in-process", "per_second": 40.0},
        {**PLAIN, "contender": "chp", "per_second": 10.0},
        {**PLAIN, "contender": "in-process", "per_second": 10.0, "large": True},
        {**PLAIN, "contender": "chp", "per_second": 10.0, "large": True},
        {**PLAIN, "contender": "in-process", "per_second": 90.0, "existing": 0},
        {**PLAIN, "contender": "in-process-asyncio", "per_second": 29.0},
        {**PLAIN, "contender": "in-process-apart", "per_second": 29.0},
    ]

    values = {ratio["name"]: (ratio["value"], ratio["kept"]) for ratio in request_ratios({"samples": samples})}

    assert len(values) == 18
    assert values["requests per second, the Hub's page, 10 routes, in-process / chp"] == (4.0, True)
    assert values["requests per second, 1 MiB, 10 routes, in-process / chp"] == (1.0, False)
    assert values["requests per second, the Hub's page, 0 routes, in-process / chp"] == (None, None)
    assert values["requests per second, the Hub's page, 10 routes, in-process-asyncio / chp"] == (2.9, False)


def test_processor_time_is_compared_where_it_was_measured() -> None:
    samples = [
        {**PLAIN, "contender": "in-process", "per_second": 1.0, "cpu_us": 30.0},
        {**PLAIN, "contender": "in-process-asyncio", "per_second": 1.0, "cpu_us": 30.0},
        {**PLAIN, "contender": "chp", "per_second": 1.0, "cpu_us": 100.0},
        {**PLAIN, "contender": "chp", "per_second": 1.0, "cpu_us": 900.0, "large": True},
        {**PLAIN, "contender": "chp", "per_second": 1.0},
    ]

    found = [ratio for ratio in request_ratios({"samples": samples}) if "processor time" in ratio["name"]]

    assert [(ratio["value"], ratio["kept"]) for ratio in found] == [(0.3, False), (0.3, True)]
    assert found[0]["note"] == "30.00 and 100.00 us"


def test_echoes_and_memory_of_those_who_have_it() -> None:
    echoes = [
        {"contender": "in-process", "per_second": 18.0},
        {"contender": "in-process-asyncio", "per_second": 11.0},
        {"contender": "chp", "per_second": 10.0},
    ]
    opened = [
        {"contender": "in-process", "bytes_per_socket": 5000},
        {"contender": "chp", "bytes_per_socket": 10_000},
        {"contender": "direct", "bytes_per_socket": None},
    ]

    found = websocket_ratios({"echoes": echoes, "opened": opened})

    assert [(ratio["value"], ratio["kept"]) for ratio in found] == [
        (1.8, True),
        (0.5, True),
        (1.1, False),
        (None, None),
    ]


def added(ms: float, live_ms: float, count: int = 1, gap: float = 1.0) -> dict[str, Any]:
    """Return the samples of one kind of change: one add."""
    cpu = {"hub_cpu_ms": 1.0, "proxy_cpu_ms": 1.0}
    return {"add": [{"ms": ms, "live_ms": live_ms, "changes": count, "missed": 0, "loop_gap_ms": gap, **cpu}]}


def test_routes_are_compared_when_they_are_served_and_memory_with_all_processes() -> None:
    mebibyte = 2**20
    contenders = {
        "in-process": {
            "start": {"start_gap_ms": 30.0, "grown_rss_bytes": 70 * mebibyte},
            "usage": {"proxy_rss_bytes": 0},
            "single": added(1.0, 2.0),
            "burst": added(1500.0, 2500.0, 10_000, gap=20.0),
        },
        "chp": {
            "start": {"start_gap_ms": 90.0, "grown_rss_bytes": 60 * mebibyte},
            "usage": {"proxy_rss_bytes": 40 * mebibyte},
            "single": added(5.0, 5.0),
        },
    }
    levels = [
        {"existing": 10_000, "contenders": contenders},
        {"existing": 20, "contenders": {"chp": contenders["chp"]}},
        {"existing": 0, "contenders": {"chp": {"start": {"grown_rss_bytes": 50 * mebibyte}}}},
    ]

    found = {ratio["name"]: (ratio["value"], ratio["kept"]) for ratio in route_ratios({"levels": levels})}

    # 20 and 50 MiB: the Hub's own 50 are not the proxies'.
    assert found == {
        "one add until it is served, 10000 routes, in-process / chp": (0.4, True),
        "longest delay of the Hub's event loop, 10000 routes, in-process, ms": (30.0, False),
        "10000 adds at once, in-process, s": (1.5, True),
        "memory with 10000 routes, in-process / chp": (0.4, True),
    }


def test_memory_that_was_not_measured_is_not_compared() -> None:
    contenders = {"in-process": {"single": added(1.0, 2.0), "usage": None}, "chp": {}}

    found = route_ratios({"levels": [{"existing": 10_000, "contenders": contenders}]})

    assert [ratio["value"] for ratio in found] == [1.0, None]


def test_memory_is_not_compared_if_the_hubs_own_is_not_known() -> None:
    start = {"start_gap_ms": 1.0, "grown_rss_bytes": 1}
    contenders = {name: {"start": start, "usage": {"proxy_rss_bytes": 1}} for name in ("in-process", "chp")}

    found = route_ratios({"levels": [{"existing": 10_000, "contenders": contenders}]})

    assert [ratio["value"] for ratio in found] == [1.0, None]
