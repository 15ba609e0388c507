"""This version of the package beside another one that was measured in the same run. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

from .plain_text import number, text_table
from .report_users import KIND, distinct, having, way_of
from .stats import is_above, longest, share_above

_TOLERANCE = 1.05
_TOLERANCE_OF_REQUESTS = 1.03

_NOTE = """\
medians, of which less is better; % above: in how many of all pairs of values ours is the higher one
WORSE: the median is more than 5 % higher (3 % for requests), and chance alone gives so many pairs less than once in 100 runs
(needs n >= 5)
"""
_NOT_COMPARED = """\
not compared: rendering, grouping and writing by themselves; they are internals, and measured for this version only"""

# What is measured once at each size of the table: the step, the key in its result, and what it is called here.
_ONCE = (
    ("start", "start_ms", "start, ms"),
    ("start", "fill_ms", "filling the table, ms"),
    ("restart", "start_ms", "start over a running Traefik, ms"),
    ("get_all", "ms", "get_all_routes, ms"),
    ("stop", "ms", "stop, ms"),
    ("usage", "hub_rss_bytes", "resident memory of the Hub's process, bytes"),
    ("usage", "proxy_rss_bytes", "resident memory of the proxy, bytes"),
)


class Figure(NamedTuple):
    """A figure that was measured for both versions, several times or once.

    Attributes:
        existing: How many routes there were.
        name: What was measured.
        before: The values of the other version.
        ours: The values of this version.
        tolerance: The ratio above which this version is worse.
    """

    existing: int
    name: str
    before: Sequence[float]
    ours: Sequence[float]
    tolerance: float = _TOLERANCE

    @property
    def ratio(self) -> float:
        """The median of this version divided by that of the other one."""
        return median(self.ours) / median(self.before)

    @property
    def is_worse(self) -> bool:
        """Whether this version needs noticeably more, and that is unlikely to be chance."""
        return self.ratio > self.tolerance and is_above(self.ours, self.before)


def routes_text(part: Mapping[str, Any]) -> str:
    """Return a table of all figures of the part ``routes``, or "" if no other version was measured."""
    table = _text(figures(part))
    return table and table + _NOT_COMPARED


def requests_text(part: Mapping[str, Any]) -> str:
    """Return a table of all figures of the part ``requests``, or "" if no other version was measured."""
    return _text(request_figures(part)).rstrip("\n")


def _text(found: Iterable[Figure]) -> str:
    rows = [_row(figure) for figure in found]
    if not rows:
        return ""
    header = ["routes", "figure", "n", "before", "ours", "ours / before", "% above", ""]
    return f"{text_table(header, rows)}\n{_NOTE}"


def request_figures(part: Mapping[str, Any]) -> Iterator[Figure]:
    """Yield how long 1,000 requests took with both versions, for each kind of request and size of the table."""
    for existing, *kind in distinct(part["samples"], "existing", *KIND):
        way = dict(zip(KIND, kind, strict=True))
        before, ours = (
            [1e6 / sample["per_second"] for sample in having(part["samples"], contender=name, existing=existing, **way)]
            for name in ("before", "ours")
        )
        if before and ours:
            yield Figure(existing, f"{way_of(way)}: ms for 1,000", before, ours, _TOLERANCE_OF_REQUESTS)


def _row(figure: Figure) -> list[str]:
    count = len(figure.ours)
    return [
        f"{figure.existing}",
        figure.name,
        f"{count}",
        number(median(figure.before), 2),
        number(median(figure.ours), 2),
        number(figure.ratio, 3),
        f"{share_above(figure.ours, figure.before) * 100:.0f}" if count > 1 else "",
        "WORSE" if figure.is_worse else "",
    ]


def figures(part: Mapping[str, Any]) -> Iterator[Figure]:
    """Yield what the part ``routes`` has measured of both versions, at each size of the table."""
    for level in part["levels"]:
        found = level["contenders"]
        if "ours" in found and "before" in found:
            before, ours = _values(found["before"]), _values(found["ours"])
            for name in ours:
                if _comparable(before.get(name)) and _comparable(ours[name]):
                    yield Figure(level["existing"], name, before[name], ours[name])
    before_memory, memory = part.get("memory_before"), part.get("memory")
    if before_memory and memory:
        for key, name in (("bytes_per_route", "bytes per route"), ("peak_bytes_per_route", "bytes per route, peak")):
            yield Figure(memory["routes"] - 1, f"Python's memory, {name}", [before_memory[key]], [memory[key]])


def _comparable(values: Sequence[float] | None) -> bool:
    return bool(values) and min(values or [0]) > 0


def _values(found: Mapping[str, Any]) -> dict[str, list[float]]:
    """Return all that was measured of one contender at one size of the table, by its name."""
    values: dict[str, list[float]] = {}
    for kind in ("single", "burst"):
        for change, samples in found.get(kind, {}).items():
            values[f"{kind} {change}, ms"] = [sample["ms"] for sample in samples]
            values[f"{kind} {change}, ms of the Hub's CPU"] = [sample["hub_cpu_ms"] for sample in samples]
            if samples:
                # The kernel counts in steps of 10 ms: only the sum says anything.
                proxy_cpu = sum(sample["proxy_cpu_ms"] for sample in samples)
                values[f"{kind} {change}, ms of the proxy's CPU in all"] = [proxy_cpu]
            gap = longest(sample["loop_gap_ms"] for sample in samples)
            if gap is not None:
                values[f"{kind} {change}, longest delay of the event loop, ms"] = [gap]
    for step, key, name in _ONCE:
        if found.get(step):
            values[name] = [found[step][key]]
    return values
