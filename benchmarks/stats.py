"""What is measured, and statistics of many measurements. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from typing import TypedDict

# So many standard deviations above the mean, a normal distribution has 1 % of its values left.
_ONE_IN_100 = 2.326


class Sample(TypedDict):
    """A timed change, or a burst of changes made at once.

    Attributes:
        ms: From the first call until the last one returned.
        live_ms: Until the public entry point served all of them; ``ms`` if it did at the very next request.
        changes: How many routes were changed.
        missed: For how many of them the very next request was still served by the old table.
        loop_gap_ms: The longest time for which the event loop was blocked; None where that has no meaning.
        hub_cpu_ms: Processor time of the process that holds the JupyterHub side.
        proxy_cpu_ms: Processor time of the proxy's processes, in steps of the kernel's clock tick.
    """

    ms: float
    live_ms: float
    changes: int
    missed: int
    loop_gap_ms: float | None
    hub_cpu_ms: float
    proxy_cpu_ms: float


class Summary(TypedDict):
    """Statistics of some samples, with times in milliseconds."""

    n: int
    changes: int
    median: float
    p95: float
    min: float
    live_median: float
    missed: int
    loop_gap_max: float | None
    hub_cpu_per_change: float
    proxy_cpu_per_change: float
    changes_per_second: float


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that at least ``percent`` of the values do not exceed (nearest rank).

    Raises:
        ValueError: If there are no values.
    """
    if not values:
        raise ValueError("no values")
    rank = math.ceil(percent / 100 * len(values))
    return sorted(values)[max(rank, 1) - 1]


def summarize(samples: Sequence[Sample]) -> Summary | None:
    """Return the statistics of ``samples``, or None if there are none."""
    if not samples:
        return None
    times = [sample["ms"] for sample in samples]
    changes = sum(sample["changes"] for sample in samples)
    return {
        "n": len(samples),
        "changes": changes,
        "median": statistics.median(times),
        "p95": percentile(times, 95),
        "min": min(times),
        "live_median": statistics.median(sample["live_ms"] for sample in samples),
        "missed": sum(sample["missed"] for sample in samples),
        "loop_gap_max": longest(sample["loop_gap_ms"] for sample in samples),
        "hub_cpu_per_change": sum(sample["hub_cpu_ms"] for sample in samples) / changes,
        "proxy_cpu_per_change": sum(sample["proxy_cpu_ms"] for sample in samples) / changes,
        "changes_per_second": changes / sum(times) * 1000,
    }


def longest(values: Iterable[float | None]) -> float | None:
    """Return the largest value that is not None, or None if there is none."""
    return max((value for value in values if value is not None), default=None)


def share_above(values: Sequence[float], others: Sequence[float]) -> float:
    """Return in which share of all pairs the value is above the other one; equal ones count half."""
    above = sum((value > other) + (value == other) / 2 for value in values for other in others)
    return above / (len(values) * len(others))


def is_above(values: Sequence[float], others: Sequence[float]) -> bool:
    """Whether ``values`` tend to be above ``others``, with a chance of less than 1 in 100 that this is an accident.

    This is the one-sided rank-sum test of Mann and Whitney, in its normal approximation. With fewer than five values each,
    nothing is that unlikely.
    """
    count, other_count = len(values), len(others)
    deviation = math.sqrt((count + other_count + 1) / (12 * count * other_count))
    return share_above(values, others) - 0.5 > _ONE_IN_100 * deviation


class Spread(TypedDict):
    """The distribution of some times, in milliseconds."""

    n: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float


def spread(times: Sequence[float]) -> Spread:
    """Return the distribution of some times, in milliseconds.

    Raises:
        ValueError: If there are none.
    """
    p50, p90, p99 = (percentile(times, percent) for percent in (50, 90, 99))
    return {"n": len(times), "p50_ms": p50, "p90_ms": p90, "p99_ms": p99, "max_ms": max(times)}
