"""The part ``routes`` as text: its ratios, and its tables. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from . import report_before
from .plain_text import Ratio, number, ratio, text_table
from .stats import Summary, longest, summarize

# The most routes that the promises are about.
_MANY = 10_000

_Kind = Literal["single", "burst"]


def ratios(result: dict[str, Any]) -> list[Ratio]:
    """Return the ratios of this part."""
    existing = result["parameters"]["existing"]
    burst_existing = result["parameters"]["burst_existing"]
    largest = max((number for number in existing if number <= _MANY), default=min(existing))
    return [
        _one_add(result, min(existing)),
        _one_add(result, burst_existing, limit=0.85),
        _burst_in_reloads(result, burst_existing),
        _burst_beside_jtp(result, burst_existing),
        _commit(result, largest),
        _loop_delay(result, largest),
        _bytes_per_route(result),
    ]


def _one_add(result: dict[str, Any], existing: int, limit: float = 2) -> Ratio:
    ours, floor = (summary_of(result, existing, name, "single", "add") for name in ("ours", "floor"))
    name = f"one add at {existing} routes, ours / floor"
    if ours is None or floor is None:
        return ratio(name, None, limit, "")
    note = f"medians {ours['median']:.1f} and {floor['median']:.1f} ms, n {ours['n']} and {floor['n']}"
    return ratio(name, ours["median"] / floor["median"], limit, note)


def _burst_in_reloads(result: dict[str, Any], existing: int) -> Ratio:
    ours, floor = (summary_of(result, existing, name, "burst", "add") for name in ("ours", "floor"))
    if ours is None or floor is None:
        return ratio(f"a burst of adds over {existing} routes, in reloads", None, 4, "")
    name = f"{ours['changes'] // ours['n']} adds at once over {existing} routes, in reloads"
    note = f"medians {ours['median']:.0f} and {floor['median']:.0f} ms, n {ours['n']} and {floor['n']}"
    return ratio(name, ours["median"] / floor["median"], 4, note)


def _burst_beside_jtp(result: dict[str, Any], existing: int) -> Ratio:
    ours, jtp = (summary_of(result, existing, name, "burst", "add") for name in ("ours", "jtp"))
    name = f"adds per second over {existing} routes, ours / jtp"
    if ours is None or jtp is None:
        return ratio(name, None, 100, "", at_least=True)
    note = (
        f"{ours['changes_per_second']:.1f}/s ({ours['changes'] // ours['n']} at once, {ours['changes']} in all) and "
        f"{jtp['changes_per_second']:.2f}/s ({jtp['changes'] // jtp['n']} at once, {jtp['changes']} in all)"
    )
    return ratio(name, ours["changes_per_second"] / jtp["changes_per_second"], 100, note, at_least=True)


def _commit(result: dict[str, Any], existing: int) -> Ratio:
    """Return the time until Traefik has the file as a fraction of the time after that."""
    commit = next((each for each in result["commits"] if each["existing"] == existing), None)
    add = summary_of(result, existing, "ours", "single", "add")
    name = f"rendering, grouping and writing at {existing} routes / Traefik's own time"
    if commit is None or add is None:
        return ratio(name, None, 0.1, "")
    own = add["median"] - commit["median_ms"]
    note = f"medians {commit['median_ms']:.1f} and {own:.1f} ms, n {commit['n']} and {add['n']}"
    return ratio(name, commit["median_ms"] / own, 0.1, note)


def loop_gaps(result: dict[str, Any], existing: int, name: str) -> dict[str, float | None]:
    """Return the longest delay of a contender's event loop in each kind of work, at one size of the table."""
    found = found_at(result, existing, name)
    gaps: dict[str, float | None] = {
        what: found[what]["start_gap_ms"] for what in ("start", "restart") if found.get(what)
    }
    for kind in ("single", "burst"):
        samples = found.get(kind, {})
        gaps[kind] = longest(each["loop_gap_ms"] for change in samples.values() for each in change)
    for what in ("get_all", "restart_get_all"):
        if found.get(what):
            gaps[what] = found[what]["loop_gap_ms"]
    return gaps


def _loop_delay(result: dict[str, Any], existing: int) -> Ratio:
    gaps = loop_gaps(result, existing, "ours")
    start = found_at(result, existing, "ours").get("start") or {}
    note = ", ".join(f"{what} {gap:.1f}" for what, gap in gaps.items() if gap is not None)
    note += f"; an idle loop {start.get('idle_gap_ms', 0):.1f}"
    return ratio(f"longest delay of ours' event loop at {existing} routes, ms", longest(gaps.values()), 25, note)


def _bytes_per_route(result: dict[str, Any]) -> Ratio:
    memory = result["memory"] or {}
    value = memory.get("bytes_per_route")
    note = f"tracemalloc, {memory.get('routes', 0)} routes, in a fresh process"
    start = found_at(result, max(result["parameters"]["existing"]), "ours").get("start") or {}
    if start.get("routes", 0) > 1:
        note += (
            f"; resident memory grew by {start['fill_rss_bytes'] / start['routes']:.0f} per route while it was filled"
        )
    return ratio("bytes of Python's memory per route, ours", value, 4096, note)


def found_at(result: dict[str, Any], existing: int, name: str) -> dict[str, Any]:
    """Return all that was measured of a contender at one size of the table; {} if it was not."""
    for level in result["levels"]:
        if level["existing"] == existing:
            found: dict[str, Any] = level["contenders"].get(name, {})
            return found
    return {}


def summary_of(result: dict[str, Any], existing: int, name: str, kind: _Kind, change: str) -> Summary | None:
    """Return a summary of one kind of change; None if there is nothing to summarize."""
    return summarize(found_at(result, existing, name).get(kind, {}).get(change, []))


def summaries(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a summary for each size of the table, kind, change and contender, in this order."""
    rows = []
    for level in result["levels"]:
        for name, found in level["contenders"].items():
            for kind in ("single", "burst"):
                for change, samples in found.get(kind, {}).items():
                    summary = summarize(samples)
                    if summary is not None:
                        at_once = summary["changes"] // summary["n"]
                        rows.append(
                            {
                                "existing": level["existing"],
                                "kind": kind,
                                "change": change,
                                "at_once": at_once,
                                "contender": name,
                                **summary,
                            }
                        )
    rows.sort(key=lambda row: (row["existing"], row["kind"] == "burst", row["change"], row["contender"]))
    return rows


def text(part: dict[str, Any]) -> str:
    """Return this part as text."""
    return "\n\n".join(filter(None, [_changes_table(part), _whole_table(part), report_before.routes_text(part)]))


def failures(part: dict[str, Any]) -> list[str]:
    """Return a line for each contender that failed."""
    return [
        f"{name} with {level['existing']} routes: {found['failed'].splitlines()[0]}"
        for level in part["levels"]
        for name, found in level["contenders"].items()
        if "failed" in found
    ]


_COLUMNS: Sequence[tuple[str, Callable[[dict[str, Any]], str]]] = (
    ("routes", lambda row: f"{row['existing']}"),
    ("change", lambda row: f"{row['change']} {row['at_once']}"),
    ("who", lambda row: row["contender"]),
    ("n", lambda row: f"{row['n']}"),
    ("median ms", lambda row: f"{row['median']:.1f}"),
    ("p95", lambda row: f"{row['p95']:.1f}"),
    ("min", lambda row: f"{row['min']:.1f}"),
    ("live", lambda row: f"{row['live_median']:.1f}"),
    ("missed", lambda row: "" if row["contender"] == "floor" else f"{row['missed']}/{row['changes']}"),
    ("per s", lambda row: "" if row["contender"] == "floor" else f"{row['changes_per_second']:.1f}"),
    ("loop gap", lambda row: number(row["loop_gap_max"])),
    ("hub cpu", lambda row: f"{row['hub_cpu_per_change']:.1f}"),
    ("proxy cpu", lambda row: f"{row['proxy_cpu_per_change']:.1f}"),
)


def _changes_table(result: dict[str, Any]) -> str:
    rows = [[write(row) for _, write in _COLUMNS] for row in summaries(result)]
    note = (
        "times in ms; live: until the public entry point served the change; missed: the very next request was still served "
        "by the old table; cpu: ms per change"
    )
    return text_table([name for name, _ in _COLUMNS], rows) + "\n" + note


def _whole_table(result: dict[str, Any]) -> str:
    rows = []
    for level in result["levels"]:
        for name, found in level["contenders"].items():
            start, usage, get_all = found.get("start"), found.get("usage"), found.get("get_all")
            restart = found.get("restart")
            rows.append(
                [
                    f"{level['existing']}",
                    name,
                    f"{start['start_ms']:.0f}" if start else "",
                    f"{start['fill_ms'] / 1000:.1f}" if start else "",
                    f"{restart['start_ms']:.0f} ({restart['routes']} routes)" if restart else "",
                    f"{get_all['ms']:.1f}" if get_all else "",
                    f"{usage['hub_rss_bytes'] / 2**20:.0f}" if usage else "",
                    f"{usage['proxy_rss_bytes'] / 2**20:.0f}" if usage else "",
                    ", ".join(
                        f"{what} {gap:.1f}"
                        for what, gap in loop_gaps(result, level["existing"], name).items()
                        if gap is not None
                    ),
                ]
            )
    header = [
        "routes",
        "who",
        "start ms",
        "fill s",
        "restart ms",
        "get_all ms",
        "hub MiB",
        "proxy MiB",
        "longest event loop delays, ms",
    ]
    return text_table(header, rows)
