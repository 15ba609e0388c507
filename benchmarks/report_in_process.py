"""What the parts say about the proxy in the Hub's process, and in one of its own, beside configurable-http-proxy. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .plain_text import Ratio, number, ratio, text_table
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
        rows.append([contender, f"{share:.0%}", *times, f"{sum(sample['failed'] for sample in mine)}"])
    return text_table(["who", "Hub busy", "p50 ms", "p90 ms", "p99 ms", "max ms", "failed"], rows)
