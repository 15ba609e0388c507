"""What the parts say about the proxy in the Hub's process, and in one of its own, beside configurable-http-proxy. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .plain_text import Ratio, number, ratio, text_table
from .report_routes import found_at, loop_gaps, summary_of
from .report_users import PLAIN, distinct, having, median_of

_THREAD, _ASYNCIO, _PROCESS = "in-process", "in-process-asyncio", "in-process-apart"

# How many times as many requests per second as configurable-http-proxy, at least, with any table: with uvloop and without.
_REQUESTS: Mapping[str, tuple[Mapping[str, bool], Mapping[str, float]]] = {
    "the Hub's page": (PLAIN, {_THREAD: 3.5, _ASYNCIO: 3.0}),
    "1 MiB": ({**PLAIN, "large": True}, {_THREAD: 2.5, _ASYNCIO: 2.2}),
    "new connections": ({**PLAIN, "close": True}, {_THREAD: 4.0, _ASYNCIO: 3.5}),
    "HTTPS": ({**PLAIN, "tls": True}, {_THREAD: 3.0, _ASYNCIO: 2.5}),
    "HTTPS, new connections": ({**PLAIN, "tls": True, "close": True}, {_THREAD: 1.8, _ASYNCIO: 1.5}),
}
# The largest ratio of the time until a new route is served, with any table; and of the memory with so many routes.
_LIVE, _MEMORY, _MANY = 0.5, 0.5, 10_000
# How many seconds so many new routes at once may take, and for how many milliseconds the Hub may do nothing else.
_BURST_SECONDS, _LOOP_MS = 2.0, 25.0
# The largest ratio of the processor time of a small request.
_PROCESSOR = {_THREAD: 1 / 4, _ASYNCIO: 1 / 3}
# How many times as many echoes, and the largest ratio of the memory of an open socket.
_ECHOES, _SOCKET = {_THREAD: 1.8, _ASYNCIO: 1.2}, 0.6
# With a busy Hub: the largest ratios of the median, and of the 99th percentile.
_MEDIAN = 0.5
_P99 = {_THREAD: 2.0, _PROCESS: 1.0}


def _beside_chp(
    samples: list[Mapping[str, Any]], what: str, who: str, where: Mapping[str, Any]
) -> tuple[float | None, str]:
    """Return the ratio of two medians, and what they are."""
    mine, chp = (median_of(samples, what, contender=name, **where) for name in (who, "chp"))
    return (mine / chp if mine is not None and chp else None), f"{number(mine, 2)} and {number(chp, 2)}"


def route_ratios(part: dict[str, Any]) -> list[Ratio]:
    """Return the ratios of the times that new routes take, and of the memory for them."""
    found = []
    for level in part["levels"]:
        existing = level["existing"]
        if _THREAD not in level["contenders"]:
            continue
        mine, chp = (summary_of(part, existing, name, "single", "add") for name in (_THREAD, "chp"))
        if mine and chp:
            note = f"medians {mine['live_median']:.2f} and {chp['live_median']:.2f} ms, n {mine['n']} and {chp['n']}"
            name = f"one add until it is served, {existing} routes, in-process / chp"
            found.append(ratio(name, mine["live_median"] / chp["live_median"], _LIVE, note))
        gaps = {what: gap for what, gap in loop_gaps(part, existing, _THREAD).items() if gap is not None}
        if gaps:
            note = ", ".join(f"{what} {gap:.1f}" for what, gap in gaps.items())
            name = f"longest delay of the Hub's event loop, {existing} routes, in-process, ms"
            found.append(ratio(name, max(gaps.values()), _LOOP_MS, note))
        burst = summary_of(part, existing, _THREAD, "burst", "add")
        if burst and burst["changes"] // burst["n"] >= _MANY:
            name = f"{burst['changes'] // burst['n']} adds at once, in-process, s"
            found.append(ratio(name, burst["median"] / 1000, _BURST_SECONDS, f"the median of {burst['n']}"))
        if existing == _MANY:
            found.append(_memory(part))
    return found


def _memory(part: dict[str, Any]) -> Ratio:
    """Return the ratio of what the proxies need in all: in the Hub's process, besides the Hub's own, and in theirs.

    The process grows by what it imports of JupyterHub as well. How much that is was not measured by itself; with
    configurable-http-proxy and no routes, there is hardly anything else.
    """
    own = (found_at(part, 0, "chp").get("start") or {}).get("grown_rss_bytes")
    sizes = []
    for name in (_THREAD, "chp"):
        found = found_at(part, _MANY, name)
        start, usage = found.get("start") or {}, found.get("usage") or {}
        if own and "grown_rss_bytes" in start and usage:
            sizes.append((start["grown_rss_bytes"] - own + usage["proxy_rss_bytes"]) / 2**20)
    name = f"memory with {_MANY} routes, in-process / chp"
    if not own or len(sizes) < 2:
        return ratio(name, None, _MEMORY, "")
    note = f"{sizes[0]:.0f} and {sizes[1]:.0f} MiB, without {own / 2**20:.0f} of a Hub with chp and no routes"
    return ratio(name, sizes[0] / sizes[1], _MEMORY, note)


def request_ratios(part: Mapping[str, Any]) -> list[Ratio]:
    """Return the ratios of requests per second, and of the processor time of a request."""
    samples = part["samples"]
    found = []
    for who, existing in sorted(distinct(samples, "contender", "existing")):
        if who not in _PROCESSOR:
            continue
        for what, (way, least) in _REQUESTS.items():
            value, note = _beside_chp(samples, "per_second", who, {**way, "existing": existing})
            name = f"requests per second, {what}, {existing} routes, {who} / chp"
            found.append(ratio(name, value, least[who], note, at_least=True))
        # Runs from before it was measured have none.
        timed = [sample for sample in samples if "cpu_us" in sample]
        value, note = _beside_chp(timed, "cpu_us", who, {**PLAIN, "existing": existing})
        name = f"processor time of a request, the Hub's page, {existing} routes, {who} / chp"
        found.append(ratio(name, value, _PROCESSOR[who], f"{note} us"))
    return found


def websocket_ratios(part: Mapping[str, Any]) -> list[Ratio]:
    """Return the ratios of echoes per second, and of the memory of an open socket."""
    known = [sample for sample in part["opened"] if sample["bytes_per_socket"] is not None]
    found = []
    for who, least in _ECHOES.items():
        echoes, note = _beside_chp(part["echoes"], "per_second", who, {})
        memory, bytes_note = _beside_chp(known, "bytes_per_socket", who, {})
        found += [
            ratio(f"echoes per second, {who} / chp", echoes, least, note, at_least=True),
            ratio(f"memory of an open socket, {who} / chp", memory, _SOCKET, bytes_note),
        ]
    return found


def busy_ratios(part: Mapping[str, Any]) -> list[Ratio]:
    """Return the ratios of the times that requests take while the Hub computes."""
    samples = part["samples"]
    share = f"{part['parameters']['share']:.0%}"
    found = []
    for who, largest in _P99.items():
        for what, limit in (("p50_ms", _MEDIAN), ("p99_ms", largest)):
            value, note = _beside_chp(samples, what, who, {"busy": True})
            name = f"{what[:3]} of a request while the Hub computes for {share} of the time, {who} / chp"
            found.append(ratio(name, value, limit, note))
    return found


def busy_text(part: Mapping[str, Any]) -> str:
    """Return the medians as a table."""
    rows = []
    for contender, busy in distinct(part["samples"], "contender", "busy"):
        mine = having(part["samples"], contender=contender, busy=busy)
        times = [number(median_of(mine, f"{each}_ms"), 2) for each in ("p50", "p90", "p99", "max")]
        share = median_of(mine, "share")
        rounds = number(median_of(mine, "rounds_per_s"), 0) if busy else ""
        rows.append([contender, f"{share:.0%}", *times, f"{sum(sample['failed'] for sample in mine)}", rounds])
    header = ["who", "Hub busy", "p50 ms", "p90 ms", "p99 ms", "max ms", "failed", "rounds of the Hub's work per s"]
    return text_table(header, rows)
