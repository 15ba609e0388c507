"""What a drill has shown: what was broken, and all of it as text. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .ha.record import KINDS, slowest
from .plain_text import number, text_table

# The most seconds that a change may take while the leader of etcd is killed, and by how many it may outlast the time
# without a majority.
LEADER_SECONDS = 4.0
MAJORITY_SECONDS = 5.0


def broken(result: Mapping[str, Any]) -> list[str]:
    """Return what did not hold, in words; nothing if all did."""
    return list(_broken(result))


def _broken(result: Mapping[str, Any]) -> Iterator[str]:
    if result["failure"]:
        yield f"the drill could not go on: {result['failure']}"
    if result["interrupted"] and not result["failure"]:
        yield "the drill was interrupted"
    for kind, what in KINDS.items():
        problems = result["problems"][kind]
        if problems["count"]:
            yield f"{problems['count']} {what}; the first ones:\n" + "\n".join(
                f"  {text}" for text in problems["first"][:5]
            )
    for fault in result["faults"]:
        limit, took = limit_of(fault, result["parameters"]["patience"]), slowest_change(result, fault)
        if limit is not None and took is not None and took > limit:
            yield f"{fault['begun']:.1f} s, {fault['what']}: a change took {took:.1f} s, at most {limit:.1f} are allowed"
    # A drill in which nothing happens proves nothing.
    if not (result["faults"] and result["changes"] and result["checks"] and asked(result)):
        yield "nothing was done, or nobody asked"


def limit_of(fault: Mapping[str, Any], patience: float) -> float | None:
    """Return the most seconds that a change may take during a fault; None if there is no limit."""
    if fault["kind"] == "leader killed":
        return LEADER_SECONDS * patience
    if fault["kind"] == "majority" and fault["ended"] is not None:
        outage: float = fault["ended"] - fault["begun"]
        return outage + MAJORITY_SECONDS * patience
    return None


def slowest_change(result: Mapping[str, Any], fault: Mapping[str, Any]) -> float | None:
    """Return the seconds that the slowest change took that was going on during a fault, or before all was well again."""
    ended = fault["well"] if fault["well"] is not None else result["seconds_taken"]
    return slowest([tuple(change) for change in result["changes"]], fault["begun"], ended)


def asked(result: Mapping[str, Any]) -> int:
    """Return how many requests were answered."""
    return sum(sum(steps) for steps in result["answered"].values())


def text(result: Mapping[str, Any]) -> str:
    """Return all of it as text."""
    machine, versions = result["machine"], result["versions"]
    problems = result["problems"]
    head = [
        f"{result['date']}, {result['seconds_taken']:.0f} s",
        f"{machine['cpu']}, {machine['cores']} cores, load {machine['load_1min']:.1f} before",
        ", ".join(f"{name} {version}" for name, version in versions.items()),
        ", ".join(f"{name} {value}" for name, value in result["parameters"].items()),
    ]
    seen = [
        f"{asked(result):,} requests were answered; {result['cut']} failed on replicas to which something was done",
        f"{len(result['changes']):,} changes, after which {result['checks']:,} answers were looked at",
        *(f"{problems[kind]['count']} {what}" for kind, what in KINDS.items()),
    ]
    rows = [_row(result, fault) for fault in result["faults"]]
    header = ["at s", "what", "for s", "well again after s", "slowest change s", "at most"]
    found = broken(result)
    verdict = [f"BROKEN: {each}" for each in found] or ["all held"]
    return "\n\n".join(["\n".join(head), text_table(header, rows), "\n".join(seen), "\n".join(verdict)]) + "\n"


def _row(result: Mapping[str, Any], fault: Mapping[str, Any]) -> list[str]:
    ended, well = fault["ended"], fault["well"]
    return [
        number(fault["begun"]),
        fault["what"],
        "" if ended is None else number(ended - fault["begun"]),
        "" if ended is None or well is None else number(well - ended),
        number(slowest_change(result, fault), 2),
        number(limit_of(fault, result["parameters"]["patience"])),
    ]
