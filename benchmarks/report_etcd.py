"""What the part ``routes`` says about routes in etcd, beside one file that as many Traefiks watch, or one. Pure."""

from __future__ import annotations

from statistics import mean
from typing import Any

from .contenders import REPLICAS
from .plain_text import Ratio, ratio
from .report_routes import found_at, loop_gaps, summary_of
from .stats import longest

# The most milliseconds that one add may take longer with no routes, the sizes of the table with the largest ratio of one
# add at them, and the largest ratio of a burst.
_MORE_MS = 60
_ONE_ADD = {1_000: 1.4, 10_000: 1.25}
_BURST = (1_000, 1.4)
# The size of the table at which changes are compared by the processor time of a replica, and the largest ratio: an agent, a
# Traefik and a member of etcd, beside a Traefik alone. It is one of several with the same file, or the only one.
_PROCESSOR = (10_000, 1.3)
_REPLICAS = {"etcd": REPLICAS, "files": REPLICAS, "ours": 1}
# The longest delay of the Hub's event loop in milliseconds, and the largest share of a core of an idle agent in percent.
_LOOP_MS = 25
_IDLE_PERCENT = 1


def ratios(part: dict[str, Any]) -> list[Ratio]:
    """Return the ratios of routes in etcd; none if they were not measured."""
    sizes = [level["existing"] for level in part["levels"] if "etcd" in level["contenders"]]
    if not sizes:
        return []
    largest = max(sizes)
    return [
        _longer(part, min(sizes)),
        *(_of_add(part, existing, "single", limit) for existing, limit in _ONE_ADD.items()),
        _of_add(part, _BURST[0], "burst", _BURST[1]),
        *(_processor(part, beside) for beside in ("files", "ours")),
        _loop(part, largest),
        _idle(part, sizes),
    ]


def _longer(part: dict[str, Any], existing: int) -> Ratio:
    etcd, files = (summary_of(part, existing, name, "single", "add") for name in ("etcd", "files"))
    name = f"one add at {existing} routes, etcd - files, ms"
    if etcd is None or files is None:
        return ratio(name, None, _MORE_MS, "")
    note = f"medians {etcd['median']:.1f} and {files['median']:.1f} ms, n {etcd['n']} and {files['n']}"
    return ratio(name, etcd["median"] - files["median"], _MORE_MS, note)


def _of_add(part: dict[str, Any], existing: int, kind: Any, limit: float) -> Ratio:
    etcd, files = (summary_of(part, existing, name, kind, "add") for name in ("etcd", "files"))
    what = "one add" if kind == "single" else f"{part['parameters']['burst']} adds at once"
    name = f"{what} at {existing} routes, etcd / files"
    if etcd is None or files is None:
        return ratio(name, None, limit, "")
    note = f"medians {etcd['median']:.1f} and {files['median']:.1f} ms, n {etcd['n']} and {files['n']}"
    return ratio(name, etcd["median"] / files["median"], limit, note)


def _processor(part: dict[str, Any], beside: str) -> Ratio:
    existing, limit = _PROCESSOR
    used = {who: _used(part, existing, who) for who in ("etcd", beside)}
    name = f"processor time of a change at {existing} routes, a replica, etcd / {beside}"
    if not all(used.values()):
        return ratio(name, None, limit, "")
    means = {who: mean(times) / _REPLICAS[who] for who, times in used.items()}
    note = ", ".join(f"{who} {means[who]:.0f} ms (n {len(used[who])})" for who in used)
    return ratio(name, means["etcd"] / means[beside], limit, note)


def _used(part: dict[str, Any], existing: int, who: str) -> list[float]:
    """Return the processor time of the proxy's processes for each single change, in milliseconds."""
    changes = found_at(part, existing, who).get("single", {})
    return [sample["proxy_cpu_ms"] for samples in changes.values() for sample in samples]


def _loop(part: dict[str, Any], existing: int) -> Ratio:
    # Without the start: the contender starts etcd and the agents in the same loop.
    gaps = {what: gap for what, gap in loop_gaps(part, existing, "etcd").items() if what != "start"}
    note = ", ".join(f"{what} {gap:.1f}" for what, gap in gaps.items() if gap is not None)
    name = f"longest delay of the event loop at {existing} routes, etcd, ms"
    return ratio(name, longest(gaps.values()), _LOOP_MS, note)


def _idle(part: dict[str, Any], sizes: list[int]) -> Ratio:
    found = {existing: found_at(part, existing, "etcd").get("idle") or {} for existing in sizes}
    shares = {existing: idle["agent"] for existing, idle in found.items() if "agent" in idle}
    note = "; ".join(
        f"{existing} routes: " + ", ".join(f"{what} {share:.1f}" for what, share in found[existing].items())
        for existing in shares
    )
    name = "share of a core of the busiest idle agent, etcd, percent"
    return ratio(name, max(shares.values(), default=None), _IDLE_PERCENT, note)
