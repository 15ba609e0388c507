"""The results as the tables of the documentation, in reStructuredText. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .report_drill import slowest_change
from .report_routes import summaries
from .report_users import OF_USERS, PLAIN, distinct, having, median_of

# The contenders that have a column, and its heading.
_WHO = {
    "ours": "here",
    "in-process": "here, in-process",
    "in-process-asyncio": "here, in-process, without uvloop",
    "in-process-apart": "here, in a process of its own",
    "chp": "configurable-http-proxy",
    "jtp": "jupyterhub-traefik-proxy",
    "floor": "bare Traefik",
    "direct": "no proxy",
}
# Those that only the part routes has, in the table of changes.
_OF_ROUTES = {
    "etcd": "etcd, 3 replicas",
    "files": "one file, 3 Traefiks",
    "jtp-etcd": "jupyterhub-traefik-proxy, etcd, 1 replica",
}
_TABLES_OF_THEIR_OWN = ("ours", "in-process", "in-process-asyncio", "in-process-apart", "chp", "jtp")

_WAYS: Mapping[str, Mapping[str, bool]] = {
    "the Hub's page": PLAIN,
    "pages of random users": OF_USERS,
    "the Hub's page, new connections": {**PLAIN, "close": True},
    "the Hub's page, HTTPS": {**PLAIN, "tls": True},
    "the Hub's page, HTTPS, new connections": {**PLAIN, "tls": True, "close": True},
    "1 MiB": {**PLAIN, "large": True},
    "1 MiB, HTTPS": {**PLAIN, "large": True, "tls": True},
}


def list_tables(result: Mapping[str, Any]) -> dict[str, str]:
    """Return a table for each part that was measured."""
    return {name: _TABLES[name](part) for name, part in result["parts"].items()}


def drill_table(result: Mapping[str, Any]) -> str:
    """Return what was done in a drill, and how long the slowest change took meanwhile."""
    rows = []
    for fault in result["faults"]:
        took = slowest_change(result, fault)
        seconds = "" if fault["ended"] is None else f"{fault['ended'] - fault['begun']:.1f}"
        well = "" if fault["well"] is None else f"{fault['well'] - fault['ended']:.1f}"
        rows.append([fault["what"], seconds, well, "" if took is None else f"{took:.1f}"])
    return _list_table(["what", "for s", "all well after s", "slowest change, s"], rows)


def _routes(part: Mapping[str, Any]) -> str:
    adds = having(summaries(dict(part)), change="add")
    burst = part["parameters"]["burst"]
    headings = {**_WHO, **_OF_ROUTES}
    measured = {name for level in part["levels"] for name in level["contenders"]}
    who = [name for name in headings if name in measured]
    tried = {(level["existing"], name) for level in part["levels"] for name in level["contenders"]}
    rows = []
    for kind, what in (("single", "1 route"), ("burst", f"{burst} at once")):
        for (existing,) in sorted(distinct(having(adds, kind=kind), "existing")):
            cells = []
            for name in who:
                found = having(adds, kind=kind, existing=existing, contender=name)
                failed = "failed" if (existing, name) in tried else ""
                cells.append(_time_of_add(found[0], burst) if found else failed)
            rows.append([what, f"{existing:,}", *cells])
    return _list_table(["adding", "to routes", *(headings[name] for name in who)], rows)


def _time_of_add(row: Mapping[str, Any], burst: int) -> str:
    # The floor loads its whole file once, whatever number is added.
    fewer = row["kind"] == "burst" and row["at_once"] != burst and row["contender"] != "floor"
    return _time(row["median"]) + (f" for {row['at_once']}" if fewer else "")


def _requests(part: Mapping[str, Any]) -> str:
    samples = part["samples"]
    sizes = sorted({existing for (existing,) in distinct(samples, "existing")})
    who = _measured(samples)
    rows = []
    for what, way in _WAYS.items():
        for size in sizes:
            cells = []
            for name in who:
                where = {"contender": name, "existing": size if name in _TABLES_OF_THEIR_OWN else 0, **way}
                rate, p99 = (median_of(samples, key, **where) for key in ("per_second", "p99_ms"))
                # wrk's latencies do not include the time to connect.
                latency = "" if p99 is None or way["close"] else f" ({_time(p99)})"
                cells.append("" if rate is None else f"{rate:,.0f}{latency}")
            if any(cell for name, cell in zip(who, cells, strict=True) if name in _TABLES_OF_THEIR_OWN):
                rows.append([what, f"{size:,}", *cells])
    return _list_table(["requests per second (99th percentile, ms)", "routes", *(_WHO[name] for name in who)], rows)


def _measured(samples: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return those who have a column: who was measured."""
    return [name for name in _WHO if having(samples, contender=name)]


def _websockets(part: Mapping[str, Any]) -> str:
    def row(what: str, samples: Iterable[Mapping[str, Any]], key: str, digits: int = 0, scale: float = 1) -> list[str]:
        known = [sample for sample in samples if sample.get(key) is not None]
        values = (median_of(known, key, contender=name) for name in who)
        return [what, *("" if value is None else f"{value / scale:,.{digits}f}" for value in values)]

    sockets = part["parameters"]["open_sockets"]
    who = _measured(part["echoes"])
    rows = [
        row("echoes per second", part["echoes"], "per_second"),
        row("processor time of the proxy for an echo, µs", part["echoes"], "cpu_us", 1),
        row("of that, not the kernel's, µs", part["echoes"], "user_us", 1),
        row("median of an echo, ms", part["echoes"], "p50_ms", 1),
        row("99th percentile, ms", part["echoes"], "p99_ms", 1),
        row("sockets opened per second", part["opened"], "opened_per_second"),
        row(f"memory of the proxy for each of {sockets:,} open ones, KiB", part["opened"], "bytes_per_socket", 0, 1024),
    ]
    # Earlier results have no such row.
    rows = [row for row in rows if any(row[1:])]
    return _list_table(["WebSockets", *(_WHO[name] for name in who)], rows)


def _churn(part: Mapping[str, Any]) -> str:
    rows = []
    for existing, name in distinct(part["samples"], "existing", "contender"):
        if name not in _WHO:
            continue
        mine = having(part["samples"], existing=existing, contender=name)
        cells = []
        for what in ("requests", "messages"):
            for changing in (False, True):
                times = [sample[what]["p99_ms"] for sample in having(mine, changing=changing)]
                cells.append(_time(statistics.median(times)) if times else "")
        rates = [sample["changes_per_second"] for sample in having(mine, changing=True)]
        rate = f"{statistics.median(rates):,.{1 if max(rates) < 100 else 0}f}" if rates else ""
        failed = sum(sample["failed"] for sample in mine)
        rows.append([f"{existing:,}", _WHO[name], rate, *cells, f"{failed}"])
    rows.sort(key=lambda row: (int(row[0].replace(",", "")), list(_WHO.values()).index(row[1])))
    header = [
        "routes",
        "",
        "changes per s",
        "request, quiet",
        "request, changing",
        "message, quiet",
        "message, changing",
    ]
    return _list_table([*header, "failed"], rows)


def _busy(part: Mapping[str, Any]) -> str:
    rows = []
    for name in _measured(part["samples"]):
        cells = []
        for busy in (False, True):
            mine = having(part["samples"], contender=name, busy=busy)
            cells += [_time(median_of(mine, key) or 0) if mine else "" for key in ("p50_ms", "p99_ms")]
        rows.append([_WHO[name], *cells])
    return _list_table(["a request, ms", "median, quiet", "99th percentile, quiet", "median, busy", "99th, busy"], rows)


def _restart(part: Mapping[str, Any]) -> str:
    rows = []
    who = [name for name in (*_TABLES_OF_THEIR_OWN, "floor") if having(part["samples"], contender=name)]
    for event in [event for (event,) in distinct(part["samples"], "event")]:
        for existing in part["parameters"]["existing"]:
            cells = []
            for name in who:
                size = 0 if name == "floor" else existing
                times = [
                    float("inf") if s["cut_off_s"] is None else s["cut_off_s"]
                    for s in having(part["samples"], contender=name, existing=size, event=event)
                ]
                cells.append(_cut_off(times))
            rows.append([event, f"{existing:,}", *cells])
    return _list_table(["seconds cut off when", "users", *(_WHO[name] for name in who)], rows)


def _cut_off(times: Sequence[float]) -> str:
    if not times:
        return ""
    longest = max(times)
    return "for good" if longest == float("inf") else "0" if longest == 0 else f"{longest:.2f}"


def _time(milliseconds: float) -> str:
    return f"{milliseconds:,.0f}" if milliseconds >= 20 else f"{milliseconds:.1f}"


def _list_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in [header, *rows]:
        for column, cell in enumerate(row):
            lines.append(f"   {'*' if column == 0 else ' '} - {cell}".rstrip())
    return "\n".join(lines) + "\n"


_TABLES = {
    "routes": _routes,
    "requests": _requests,
    "websockets": _websockets,
    "churn": _churn,
    "busy": _busy,
    "restart": _restart,
}
