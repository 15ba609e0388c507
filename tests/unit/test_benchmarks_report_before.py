"""benchmarks.report_before: what is compared of two versions, and when one is worse."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.report_before import Figure, figures, request_figures, requests_text, routes_text


def added(*ms: float) -> dict[str, Any]:
    """Return what a contender has measured that has added single routes."""
    samples = [{"ms": each, "hub_cpu_ms": 0.0, "proxy_cpu_ms": 0.0, "loop_gap_ms": 1.0} for each in ms]
    return {"single": {"add": samples, "delete": []}}


def measured(**contenders: dict[str, Any]) -> dict[str, Any]:
    """Return what the part ``routes`` has measured at one size of the table."""
    return {"levels": [{"existing": 100, "contenders": contenders}], "memory": None}


@pytest.mark.parametrize(
    ("before", "ours", "worse"),
    [
        ([10.0] * 5, [10.4] * 5, False),
        ([10.0] * 5, [10.6] * 5, True),
        ([10.0, 11.0, 12.0, 13.0, 14.0], [10.0, 11.0, 13.0, 15.0, 16.0], False),  # higher, but perhaps by chance
        ([10.0, 11.0, 12.0, 13.0, 14.0] * 8, [10.0, 12.0, 13.0, 15.0, 16.0] * 8, True),  # as above, with more values
        ([10.0] * 4, [20.0] * 4, False),  # too few values to tell
    ],
)
def test_a_figure_is_worse_if_its_median_is_and_chance_is_unlikely(
    before: list[float], ours: list[float], worse: bool
) -> None:
    assert Figure(0, "x", before, ours).is_worse is worse


def test_what_both_have_measured_is_compared() -> None:
    """Nothing is compared with a failed contender, or with a value of zero."""
    ours = {**added(2.0, 3.0), "start": {"start_ms": 5.0, "fill_ms": 0.0}}
    before = {**added(1.0, 2.0), "start": {"start_ms": 4.0, "fill_ms": 0.0}, "stop": {"ms": 1.0}}
    part = measured(ours=ours, before=before)
    memory = {"routes": 11, "bytes_per_route": 20.0, "peak_bytes_per_route": 30.0}
    part |= {"memory": memory, "memory_before": {**memory, "bytes_per_route": 10.0}}

    assert [figure[:4] for figure in figures(part)] == [
        (100, "single add, ms", [1.0, 2.0], [2.0, 3.0]),
        (100, "single add, longest delay of the event loop, ms", [1.0], [1.0]),
        (100, "start, ms", [4.0], [5.0]),
        (10, "Python's memory, bytes per route", [10.0], [20.0]),
        (10, "Python's memory, bytes per route, peak", [30.0], [30.0]),
    ]
    assert list(figures(measured(ours=ours, before={"failed": "start: no traefik"}))) == []


def test_the_text_has_the_ratios_and_what_is_worse() -> None:
    shown = routes_text(measured(ours=added(*[3.0] * 5), before=added(*[2.0] * 5)))

    assert "100  single add, ms" in shown
    assert "2.00  3.00          1.500      100  WORSE\n" in shown
    assert shown.count("WORSE") == 2  # and in the note
    assert "not compared: rendering" in shown


def asked(contender: str, *per_second: float, large: bool = False) -> list[dict[str, Any]]:
    """Return what a contender has measured of requests for the Hub's page."""
    way = {"tls": False, "of_users": False, "large": large, "close": False}
    return [{"contender": contender, "existing": 100, "per_second": rate, **way} for rate in per_second]


def test_requests_are_compared_by_the_time_that_a_thousand_take() -> None:
    """Three percent fewer requests is the limit; only what both have measured is compared."""
    samples = [*asked("before", *[10_000.0] * 5), *asked("ours", *[9_600.0] * 5), *asked("ours", 1.0, large=True)]
    (figure,) = request_figures({"samples": samples})

    assert figure.name == "the Hub's, small, keep-alive, HTTP: ms for 1,000"
    assert (figure.before[0], round(figure.ours[0], 2)) == (100.0, 104.17)
    assert figure.is_worse
    assert requests_text({"samples": samples}).count("WORSE") == 2  # and in the note
    assert requests_text({"samples": asked("ours", 1.0)}) == ""


def test_there_is_no_text_without_another_version() -> None:
    assert routes_text(measured(ours=added(1.0))) == ""
