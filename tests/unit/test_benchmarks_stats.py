"""benchmarks.stats: statistics of many measurements."""

from __future__ import annotations

import pytest

from benchmarks.stats import Sample, is_above, longest, percentile, share_above, spread, summarize


def sample(ms: float, changes: int = 1, missed: int = 0, gap: float | None = None) -> Sample:
    """Return a sample with these values, and others that do not matter."""
    return {
        "ms": ms,
        "live_ms": ms + missed,
        "changes": changes,
        "missed": missed,
        "loop_gap_ms": gap,
        "hub_cpu_ms": 3.0,
        "proxy_cpu_ms": 6.0,
    }


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [([7.0], 95, 7.0), ([3.0, 1.0, 2.0], 50, 2.0), ([float(n) for n in range(1, 21)], 95, 19.0), ([1.0, 2.0], 0, 1.0)],
)
def test_percentile_is_one_of_the_values(values: list[float], percent: float, expected: float) -> None:
    assert expected == percentile(values, percent)


def test_percentile_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 95)


def test_no_samples_have_no_summary() -> None:
    """A contender that could not be measured is left out, and not shown as zero."""
    assert summarize([]) is None


def test_a_summary_counts_changes_not_calls() -> None:
    summary = summarize([sample(10, changes=200, missed=1), sample(30, changes=200), sample(20, changes=200)])

    assert summary is not None
    assert (summary["n"], summary["changes"], summary["missed"]) == (3, 600, 1)
    assert (summary["median"], summary["p95"], summary["min"]) == (20, 30, 10)
    assert summary["changes_per_second"] == 10_000
    assert (summary["hub_cpu_per_change"], summary["proxy_cpu_per_change"]) == (0.015, 0.03)


def test_the_longest_delay_ignores_missing_ones() -> None:
    assert longest([None, 5, 2]) == 5
    assert longest([None]) is None


def test_a_spread_has_the_percentiles_of_all_times() -> None:
    times = [float(number) for number in range(1, 101)]

    assert spread(times) == {"n": 100, "p50_ms": 50.0, "p90_ms": 90.0, "p99_ms": 99.0, "max_ms": 100.0}


@pytest.mark.parametrize(
    ("values", "others", "share"), [([3.0], [1.0, 2.0], 1.0), ([1.0, 4.0], [2.0, 3.0], 0.5), ([1.0], [1.0, 2.0], 0.25)]
)
def test_a_share_counts_all_pairs_and_equal_ones_half(values: list[float], others: list[float], share: float) -> None:
    assert share_above(values, others) == share


def test_values_are_above_others_only_if_that_is_unlikely_to_be_chance() -> None:
    """Four values against four can be ordered in 70 ways, and five against five in 252: one of them is the extreme."""
    assert is_above([2.0] * 5, [1.0] * 5)
    assert not is_above([2.0] * 4, [1.0] * 4)
    assert not is_above([1.0] * 5, [1.0] * 5)
    assert not is_above([1.0] * 5, [2.0] * 5)
