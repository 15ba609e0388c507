"""The time line of a drill as a plot. I/O: writes PNG and SVG files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from .plots import SETTINGS, legend, save

# Colours of the replicas, and of the faults by what they are about (Okabe and Ito).
_REPLICAS = ("#0072B2", "#56B4E9", "#009E73")
_PARTS = {
    "etcd": ("#E69F00", ("member", "leader killed", "leader frozen", "majority")),
    "a replica": ("#D55E00", ("agent", "Traefik", "cut off", "update")),
    "the Hub": ("#CC79A7", ("Hub",)),
}
# With more faults, their names would overlap.
_MOST_NAMES = 40


def draw(result: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draw the requests of each replica and the times of the changes, with the faults behind them.

    Returns:
        The files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(SETTINGS):
        return save(_figure(result), folder, "drill", _where(result))


def _where(result: Mapping[str, Any]) -> str:
    versions, machine = result["versions"], result["machine"]
    listed = ", ".join(f"{name} {versions[name]}" for name in ("etcd", "traefik", "python"))
    return f"{result['date'][:10]}, {machine['cores']} cores of {machine['cpu']}, {listed}"


def _figure(result: Mapping[str, Any]) -> Figure:
    figure = Figure(figsize=(11, 6.5), layout=ConstrainedLayoutEngine(rect=(0, 0.03, 1, 0.94)))
    requests, changes = figure.subplots(2, 1, sharex=True)
    step = result["step_seconds"]
    steps = max((len(counts) for counts in result["answered"].values()), default=0)
    times = [number * step for number in range(steps)]
    names = sorted(result["answered"])
    rates = [[count / step for count in result["answered"][name]] for name in names]
    if names:
        padded = [rate + [0.0] * (steps - len(rate)) for rate in rates]
        requests.stackplot(times, *padded, labels=names, colors=_REPLICAS, alpha=0.8, step="post")
    requests.set(title="Requests answered per second, by replica")
    for is_add, name, colour in ((True, "add_route", "#000000"), (False, "delete_route", "#999999")):
        points = [(begun, took) for begun, took, add in result["changes"] if add == is_add]
        if points:
            changes.plot(*zip(*points, strict=True), ".", markersize=3, color=colour, label=name)
    changes.set(
        title="Seconds until a change is live on all replicas, by the time when it began", yscale="log", xlabel="s"
    )
    changes.grid(axis="y", alpha=0.3)
    changes.set_xlim(0, max(result["seconds_taken"], 1.0))
    _mark_faults(result, requests, changes)
    legend(figure, requests, changes)
    return figure


def _mark_faults(result: Mapping[str, Any], requests: Any, changes: Any) -> None:
    with_names = len(result["faults"]) <= _MOST_NAMES
    for fault in result["faults"]:
        part, colour = next((part, colour) for part, (colour, kinds) in _PARTS.items() if fault["kind"] in kinds)
        ended = fault["ended"] if fault["ended"] is not None else result["seconds_taken"]
        for axes in (requests, changes):
            axes.axvspan(fault["begun"], ended, color=colour, alpha=0.25, linewidth=0, label=f"fault of {part}")
        if with_names:
            changes.text(
                fault["begun"], 0.99, fault["what"], transform=changes.get_xaxis_transform(), rotation=90,
                fontsize=5.5, va="top", ha="left",
            )  # fmt: skip
