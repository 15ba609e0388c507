"""Plots of the results, for the documentation. I/O: writes PNG and SVG files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from .report_routes import summaries
from .report_users import OF_USERS, PLAIN, distinct, having, median_of

# Labels, and colours that everybody can tell apart (Okabe and Ito).
_NAMES = {
    "ours": ("traefik_toml_proxy", "#0072B2"),
    "before": ("traefik_toml_proxy, before", "#56B4E9"),
    "in-process": ("traefik_toml_proxy, in-process", "#CC79A7"),
    "in-process-asyncio": ("traefik_toml_proxy, in-process, asyncio", "#882255"),
    "in-process-apart": ("traefik_toml_proxy, in-process, apart", "#F0E442"),
    "chp": ("configurable-http-proxy", "#D55E00"),
    "jtp": ("jupyterhub-traefik-proxy", "#009E73"),
    "floor": ("bare Traefik", "#999999"),
    "direct": ("no proxy", "#CCCCCC"),
    "etcd": ("traefik_toml_proxy, etcd, 3 replicas", "#CC79A7"),
    "files": ("traefik_toml_proxy, file, 3 Traefiks", "#E69F00"),
    "jtp-etcd": ("jupyterhub-traefik-proxy, etcd", "#000000"),
}

SETTINGS: dict[Any, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "svg.hashsalt": "benchmarks",  # the same numbers give the same file
    "svg.fonttype": "none",
}


def draw(result: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draw all parts that were measured.

    Args:
        result: What ``profile.run`` has returned.
        folder: Where to write the files; it is created if necessary.

    Returns:
        The files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    with mpl.rc_context(SETTINGS):
        for name, part in result["parts"].items():
            files += save(_DRAWN[name](part), folder, name, _where(result))
    return files


def save(figure: Figure, folder: Path, name: str, where: str) -> list[Path]:
    """Write a figure as PNG and SVG; return the files.

    Args:
        figure: The figure.
        folder: Where to write.
        name: The name of the files, without its end.
        where: A line for its lower edge.
    """
    figure.text(0.995, 0.005, where, ha="right", va="bottom", fontsize=6, color="#666666")
    files = []
    for kind in ("png", "svg"):
        files.append(folder / f"{name}.{kind}")
        figure.savefig(files[-1], dpi=150, metadata={"Date": None} if kind == "svg" else None)
    return files


def _where(result: Mapping[str, Any]) -> str:
    versions, machine = result["versions"], result["machine"]
    names = ("traefik", "chp", "jtp", "jupyterhub", "python")
    listed = ", ".join(f"{name} {versions[name]}" for name in names if name in versions)
    return f"{result['date'][:10]}, {machine['cores']} cores of {machine['cpu']}, {listed}"


def _routes(part: Mapping[str, Any]) -> Figure:
    figure, (one, many) = _figure(1, 2)
    rows = summaries(dict(part))
    for axes, kind, title in (
        (one, "single", "Adding one route: ms until add_route returns"),
        (many, "burst", "Adding many at once (fewer where it is slow): ms for each"),
    ):
        for name in _NAMES:
            mine = [row for row in rows if (row["contender"], row["change"], row["kind"]) == (name, "add", kind)]
            if not mine or (name == "floor" and axes is many):
                continue  # for the floor, a burst is a single reload
            xs = [row["existing"] for row in mine]
            ys = [row["median"] / (row["at_once"] if axes is many else 1) for row in mine]
            axes.plot(xs, ys, marker="o", markersize=4, label=_NAMES[name][0], color=_NAMES[name][1])
        axes.set(yscale="log", title=title, xlabel="routes that are there")
        axes.set_xscale("symlog", linthresh=100)  # which has a place for 0
        axes.set_xlim(-10, 1.3 * max((row["existing"] for row in rows), default=100) + 10)
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.grid(axis="y", alpha=0.3)
    legend(figure, one)
    return figure


def _requests(part: Mapping[str, Any]) -> Figure:
    figure, axes = _figure(2, 3)
    samples = part["samples"]
    ways: Sequence[tuple[str, Mapping[str, bool]]] = (
        ("The Hub's page: requests/s", PLAIN),
        ("Random users' pages: requests/s", OF_USERS),
        ("New connections: requests/s", {**PLAIN, "close": True}),
        ("HTTPS: requests/s", {**PLAIN, "tls": True}),
        ("HTTPS, new connections: requests/s", {**PLAIN, "tls": True, "close": True}),
        ("1 MiB: requests/s", {**PLAIN, "large": True}),
    )
    sizes = sorted({existing for (existing,) in distinct(samples, "existing")})
    for plot, (title, way) in zip(axes, ways, strict=True):
        bars = [
            (name, size, median_of(samples, "per_second", contender=name, existing=size, **way))
            for name in _NAMES
            for size in sizes
            if name != "direct"  # its bars would dwarf all others
        ]
        _grouped(plot, [(name, f"{size:,}", value) for name, size, value in bars if value is not None])
        plot.set(title=title)
    legend(figure, axes[0])
    return figure


def _websockets(part: Mapping[str, Any]) -> Figure:
    figure, (rate, latency, memory) = _figure(1, 3)
    for axes, samples, what, scale, title in (
        (rate, part["echoes"], "per_second", 1, "WebSocket echoes per second"),
        (latency, part["echoes"], "p99_ms", 1, "99th percentile of an echo, ms"),
        (memory, part["opened"], "bytes_per_socket", 1024, "Memory of the proxy per open socket, KiB"),
    ):
        known = [sample for sample in samples if sample[what] is not None]
        bars = [(name, "", median_of(known, what, contender=name)) for name in _NAMES]
        _grouped(axes, [(name, label, value / scale) for name, label, value in bars if value is not None])
        axes.set(title=title)
    legend(figure, rate)
    return figure


def _churn(part: Mapping[str, Any]) -> Figure:
    figure, plots = _figure(1, 2)
    for axes, what, title in zip(plots, ("requests", "messages"), ("a request", "a message"), strict=True):
        bars = []
        for name in _NAMES:
            for existing, changing in sorted(distinct(part["samples"], "existing", "changing")):
                mine = having(part["samples"], contender=name, existing=existing, changing=changing)
                p99 = median_of((sample[what] for sample in mine), "p99_ms")
                if p99 is not None:
                    bars.append((name, f"{existing:,}, {'churn' if changing else 'quiet'}", p99))
        _grouped(axes, bars)
        axes.set(title=f"99th percentile of {title}, ms")
    legend(figure, plots[0])
    return figure


def _busy(part: Mapping[str, Any]) -> Figure:
    figure, plots = _figure(1, 2)
    for axes, what, title in zip(plots, ("p50_ms", "p99_ms"), ("Median", "99th percentile"), strict=True):
        bars = []
        for name in _NAMES:
            for busy in (False, True):
                value = median_of(part["samples"], what, contender=name, busy=busy)
                if value is not None:
                    bars.append((name, "busy" if busy else "quiet", value))
        _grouped(axes, bars)
        axes.set(title=f"{title} of a request, ms, with a Hub that is quiet, or busy")
    legend(figure, plots[0])
    return figure


def _restart(part: Mapping[str, Any]) -> Figure:
    events = [event for (event,) in distinct(part["samples"], "event")]
    figure, plots = _figure(1, max(len(events), 1))
    for axes, event in zip(plots, events, strict=False):
        bars = []
        for existing, name in distinct(part["samples"], "existing", "contender"):
            times = [
                part["parameters"]["seconds"] if sample["cut_off_s"] is None else sample["cut_off_s"]
                for sample in having(part["samples"], existing=existing, contender=name, event=event)
            ]
            if times:
                bars.append((name, f"{existing:,}", max(times)))
        bars.sort(key=lambda bar: list(_NAMES).index(bar[0]))
        _grouped(axes, bars, for_good=part["parameters"]["seconds"])
        axes.set(title=f"Seconds cut off when\n{event}")
        axes.set_yscale("symlog", linthresh=0.1)
    legend(figure, *plots)
    return figure


_DRAWN: Mapping[str, Callable[[Mapping[str, Any]], Figure]] = {
    "routes": _routes,
    "requests": _requests,
    "websockets": _websockets,
    "churn": _churn,
    "busy": _busy,
    "restart": _restart,
}


def _figure(rows: int, columns: int) -> tuple[Figure, list[Axes]]:
    # Leaves room for the legend at the top, and for a line at the bottom.
    engine = ConstrainedLayoutEngine(rect=(0, 0.03, 1, 0.87 if rows == 1 else 0.92))
    figure = Figure(figsize=(3.4 * columns if columns > 2 else 9, 2.9 * rows + 0.5), layout=engine)
    return figure, [figure.add_subplot(rows, columns, number + 1) for number in range(rows * columns)]


def _grouped(axes: Axes, bars: Sequence[tuple[str, str, float]], for_good: float | None = None) -> None:
    """Draw bars, grouped by contender, with the value above and a label below each.

    Args:
        axes: Where to draw.
        bars: The contender, label and value of each bar.
        for_good: The value that stands for an endless time, if there is one.
    """
    positions = list(_positions(bars))
    is_crowded = len(bars) > 6  # horizontal texts would overlap
    for position, (name, _, value) in zip(positions, bars, strict=True):
        drawn = axes.bar(position, value, width=0.9, color=_NAMES[name][1], label=_NAMES[name][0])
        text = "for good" if value == for_good else _short(value)
        axes.bar_label(drawn, [text], fontsize=6.5, padding=2, rotation=90 if is_crowded else 0)
    axes.set_xticks(positions, [label for _, label, _ in bars], fontsize=6.5, rotation=45 if is_crowded else 0)
    axes.margins(y=0.2 if is_crowded else 0.12)


def _short(value: float) -> str:
    if value >= 1000:
        return f"{value / 1000:.3g}k"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _positions(bars: Sequence[tuple[str, str, float]]) -> Iterator[float]:
    position = 0.0
    for number, (name, _, _) in enumerate(bars):
        yield position
        is_last = number + 1 == len(bars) or bars[number + 1][0] != name
        position += 1.6 if is_last else 1.0


def legend(figure: Figure, *axes: Axes) -> None:
    """Put one legend above all plots."""
    shown = {}
    for each in axes:
        handles, labels = each.get_legend_handles_labels()
        shown.update({label: handle for handle, label in zip(handles, labels, strict=True) if label not in shown})
    figure.legend(list(shown.values()), list(shown), loc="upper left", ncols=max(len(shown), 1), fontsize=8)
