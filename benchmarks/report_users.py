"""The parts about what users notice, as text: their ratios, and their tables. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .plain_text import Ratio, number, ratio, text_table

# The number of users that the promises about restarts are about.
_SOME = 1_000

# The keys by which a sample of the part `requests` says what was requested.
KIND = ("tls", "of_users", "large", "close")
PLAIN: Mapping[str, bool] = {"tls": False, "of_users": False, "large": False, "close": False}
OF_USERS: Mapping[str, bool] = {**PLAIN, "of_users": True}


def having(samples: Iterable[Mapping[str, Any]], **where: Any) -> list[Mapping[str, Any]]:
    """Return the samples that have certain values."""
    return [sample for sample in samples if all(sample[key] == value for key, value in where.items())]


def median_of(samples: Iterable[Mapping[str, Any]], what: str, **where: Any) -> float | None:
    """Return the median of one number over the samples that have certain values, or None if there are none."""
    found = [sample[what] for sample in having(samples, **where)]
    return statistics.median(found) if found else None


def distinct(samples: Iterable[Mapping[str, Any]], *keys: str) -> list[tuple[Any, ...]]:
    """Return the distinct combinations of these values, in order of appearance."""
    return list(dict.fromkeys(tuple(sample[key] for key in keys) for sample in samples))


# requests


def request_ratios(part: Mapping[str, Any]) -> list[Ratio]:
    """Return the ratio of requests per second with many routes to those with none, and to another proxy's."""
    samples = part["samples"]
    many = max((existing for _, existing in distinct(samples, "contender", "existing")), default=0)
    found = []
    for kind, what, other in ((PLAIN, "the Hub's page", "ours"), (OF_USERS, "pages of random users", "floor")):
        ours = median_of(samples, "per_second", contender="ours", existing=many, **kind)
        chp = median_of(samples, "per_second", contender="chp", existing=many, **kind)
        # With no users' routes, only the floor serves their pages.
        none = median_of(samples, "per_second", contender=other, existing=0, **kind)
        name = f"requests per second for {what} at {many} routes, ours / with none, {other}"
        note = f"{number(ours, 0)} and {number(none, 0)} per second"
        found.append(ratio(name, ours / none if ours and none else None, 0.8, note, at_least=True))
        name = f"requests per second for {what} at {many} routes, ours / chp"
        note = f"{number(ours, 0)} and {number(chp, 0)} per second"
        found.append(ratio(name, ours / chp if ours and chp else None, 2, note, at_least=True))
    return found


def requests_text(part: Mapping[str, Any]) -> str:
    """Return the medians as a table."""
    samples = part["samples"]
    rows = []
    for kind in distinct(samples, *KIND):
        way = dict(zip(KIND, kind, strict=True))
        for contender, existing in distinct(samples, "contender", "existing"):
            mine = having(samples, **way, contender=contender, existing=existing)
            if mine:
                latencies = [number(median_of(mine, f"p{p}_ms"), 2) for p in (50, 90, 99)]
                failed = sum(sample["failed"] for sample in mine)
                rates = [sample["per_second"] for sample in mine]
                spread = f"{min(rates):.0f}-{max(rates):.0f}"
                rate = f"{statistics.median(rates):.0f}"
                rows.append([way_of(way), contender, f"{existing}", rate, spread, *latencies, f"{failed}"])
    header = ["asking", "who", "routes", "per s", "from-to", "p50 ms", "p90 ms", "p99 ms", "failed"]
    return text_table(header, rows) + "\nlatencies do not include the time to connect"


def way_of(way: Mapping[str, bool]) -> str:
    """Return a kind of request in a few words."""
    what = ["users'" if way["of_users"] else "the Hub's", "1 MiB" if way["large"] else "small"]
    how = ["new connections" if way["close"] else "keep-alive", "HTTPS" if way["tls"] else "HTTP"]
    return ", ".join(what + how)


# websockets


def websockets_text(part: Mapping[str, Any]) -> str:
    """Return the medians as a table."""
    rows = []
    for (contender,) in distinct(part["echoes"], "contender"):
        echoes = [
            median_of(part["echoes"], what, contender=contender)
            for what in ("per_second", "cpu_us", "user_us", "p50_ms", "p99_ms", "max_ms")
        ]
        opened = [
            median_of(part["opened"], what, contender=contender) for what in ("sockets", "opened_per_second", "p99_ms")
        ]
        sizes = [sample["bytes_per_socket"] for sample in having(part["opened"], contender=contender)]
        size = f"{sizes[0] / 1024:.0f}" if sizes and sizes[0] is not None else ""
        row = [number(echoes[0], 0), *(number(each, 2) for each in echoes[1:])]
        row += [number(opened[0], 0), number(opened[1], 0), size, number(opened[2], 2)]
        rows.append([contender, *row])
    header = ["who", "echoes per s", "cpu us", "not the kernel's", "p50 ms", "p99 ms", "max ms"]
    return text_table([*header, "open sockets", "opened per s", "KiB each", "p99 ms of an echo then"], rows)


# churn


def churn_ratios(part: Mapping[str, Any]) -> list[Ratio]:
    """Return how many requests and messages failed with ours."""
    samples = having(part["samples"], contender="ours", changing=True)
    failed = sum(sample["failed"] for sample in samples)
    asked = sum(sample["failed"] + sample["requests"]["n"] + sample["messages"]["n"] for sample in samples)
    changes = sum(sample["changes"] for sample in samples)
    note = f"of {asked} requests and messages, {changes} changes in that time"
    return [ratio("failures while routes are changed, ours", float(failed) if samples else None, 0, note)]


def churn_text(part: Mapping[str, Any]) -> str:
    """Return the medians as a table."""
    rows = []
    for existing, contender, changing in distinct(part["samples"], "existing", "contender", "changing"):
        samples = having(part["samples"], existing=existing, contender=contender, changing=changing)
        row = [f"{existing}", contender, number(median_of(samples, "changes_per_second"), 2)]
        for what in ("requests", "messages"):
            row += [number(median_of((s[what] for s in samples), f"{p}_ms"), 2) for p in ("p50", "p99", "max")]
        rows.append([*row, f"{sum(sample['failed'] for sample in samples)}"])
    header = [
        "routes",
        "who",
        "changes per s",
        "request p50 ms",
        "p99",
        "max",
        "message p50 ms",
        "p99",
        "max",
        "failed",
    ]
    return text_table(header, rows)


# restart


def restart_ratios(part: Mapping[str, Any]) -> list[Ratio]:
    """Return the longest times for which users were cut off."""
    limits = {"the Hub is restarted": 0.0, "the proxy is killed": 1.0}
    many = min(_SOME, max(part["parameters"]["existing"]))
    found = []
    for event, limit in limits.items():
        times = [s["cut_off_s"] for s in having(part["samples"], contender="ours", existing=many, event=event)]
        worst = max((float("inf") if each is None else each for each in times), default=None)
        name = f"seconds for which users are cut off when {event}, {many} routes, ours"
        found.append(ratio(name, worst, limit, f"the longest of {len(times)}"))
    return found


def restart_text(part: Mapping[str, Any]) -> str:
    """Return all times as a table."""
    rows = []
    for existing, contender, event in distinct(part["samples"], "existing", "contender", "event"):
        samples = having(part["samples"], existing=existing, contender=contender, event=event)
        times = ", ".join(_seconds(sample["cut_off_s"]) for sample in samples)
        well = ", ".join(_seconds(sample["well_after_s"]) for sample in samples)
        rows.append([f"{existing}", contender, event, times, well])
    return text_table(["routes", "who", "when", "users cut off for s", "all well after s"], rows)


def _seconds(value: float | None) -> str:
    return "for good" if value is None else f"{value:.2f}"


def listed(failures: Sequence[str]) -> str:
    """Return a line for each failure."""
    return "\n".join(f"FAILED: {failure}" for failure in failures)
