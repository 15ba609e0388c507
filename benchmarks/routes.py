"""The command ``routes``: how long adding and deleting routes takes, beside how many there are. I/O: by its workers.

All contenders are up at the same time, each with the same table, and take turns: the machine's moods meet all of them
alike, and what counts are the ratios between them.
"""

from __future__ import annotations

import asyncio
import random
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .contenders import CONTENDERS, Settings, find_chp, find_traefik, traefik_version
from .machine import describe_machine, describe_versions, now
from .processes import free_ports
from .remote import Backend, Remote, WorkerFailed
from .report import ratios
from .tables import Servers

# Between two turns, in seconds.
_PAUSE = 0.05

# A table of less tells nothing of the memory of one route.
_MEMORY_ROUTES = 1_000


@dataclass(frozen=True)
class Options:
    """What the command line says.

    Attributes:
        existing: The sizes of the table at which single changes and bursts are measured.
        burst: How many routes are changed at once.
        burst_existing: The size of the table at which only bursts are measured, for the ratios to one reload.
        repeat: How many single adds and deletes of each contender, at most.
        bursts: How many bursts of each contender, at most.
        seconds: How long each contender may take at each table for each of the two; one of each is always made.
        contenders: Whom to compare.
        traefik: The Traefik binary; "" to look for it.
        chp: The configurable-http-proxy command; "" to look for it.
    """

    existing: tuple[int, ...] = (0, 1_000, 10_000)
    burst: int = 200
    burst_existing: int = 5_000
    repeat: int = 50
    bursts: int = 3
    seconds: float = 60.0
    contenders: tuple[str, ...] = tuple(CONTENDERS)
    traefik: str = ""
    chp: str = ""


@dataclass
class _Contestant:
    """One contender at one table: its worker, and what it was seen to do so far."""

    name: str
    remote: Remote
    most_at_once: int
    result: dict[str, Any] = field(default_factory=dict)

    @property
    def is_up(self) -> bool:
        """Whether it can be asked for more."""
        return "failed" not in self.result

    async def ask(self, do: str, **arguments: Any) -> dict[str, Any] | None:
        """Ask the worker; a failure is noted and ends it."""
        try:
            return await self.remote.ask(do, **arguments)
        except WorkerFailed as error:
            self.result["failed"] = str(error)
            _progress(f"FAILED {error}")
            return None


def run(options: Options) -> dict[str, Any]:
    """Measure, and return everything as plain JSON."""
    return asyncio.run(_run(options))


async def _run(options: Options) -> dict[str, Any]:
    _cancel_on_signals()
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="routes-benchmark-", ignore_cleanup_errors=True) as folder:
        async with Backend() as addresses:
            bench = _Bench(options, Path(folder), Servers(addresses["hub"], addresses["user"]))
            described = await bench.describe()
            memory, interrupted = None, False
            try:
                for existing in _levels(options):
                    await bench.measure(existing, with_singles=existing in options.existing)
                memory = await bench.memory()
            except asyncio.CancelledError:
                interrupted = True  # what was measured until then is reported
    result: dict[str, Any] = {
        "command": "routes",
        "date": now(),
        "interrupted": interrupted,
        "seconds_taken": time.monotonic() - begin,
        "machine": describe_machine(),
        "versions": {
            **describe_versions(),
            "traefik": traefik_version(bench.traefik) if bench.traefik else "not installed",
            **{name: value["version"] for name, value in described.items() if value["version"]},
        },
        "parameters": {
            "existing": list(options.existing),
            "burst": options.burst,
            "burst_existing": options.burst_existing,
            "repeat": options.repeat,
            "bursts": options.bursts,
            "seconds": options.seconds,
        },
        "contenders": {name: value["status"] for name, value in described.items()},
        "levels": bench.levels,
        "memory": memory,
    }
    result["ratios"] = ratios(result)
    return result


def _cancel_on_signals() -> None:
    """Have Ctrl-C and SIGTERM cancel this task once: what was started is ended on the way out, also if asked again."""
    me = asyncio.current_task()
    assert me is not None
    asked: list[int] = []

    def cancel(number: int) -> None:
        if not asked:
            me.cancel()
        asked.append(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, cancel, number)


def _levels(options: Options) -> list[int]:
    also = {options.burst_existing} if options.burst and options.bursts else set()
    return sorted({*options.existing} | also)


class _Bench:
    """What all tables have in common."""

    def __init__(self, options: Options, folder: Path, servers: Servers) -> None:
        self.options = options
        self.folder = folder
        self.servers = servers
        self.traefik = find_traefik(options.traefik)
        self.chp = find_chp(options.chp)
        self.installed: dict[str, int] = {}
        self.levels: list[dict[str, Any]] = []
        self._folders = 0

    def _remote(self, name: str, existing: int, dynamic_file: str = "") -> Remote:
        public_port, api_port = free_ports(2)
        self._folders += 1
        settings = Settings(
            folder=str(self.folder / f"{self._folders}-{name}"),
            public_port=public_port,
            api_port=api_port,
            servers=self.servers,
            existing=existing,
            traefik=self.traefik,
            chp=self.chp,
            dynamic_file=dynamic_file,
        )
        return Remote(name, settings)

    async def describe(self) -> dict[str, dict[str, str]]:
        """Ask each contender whether it is there, and for its version."""
        found = {}
        for name in self.options.contenders:
            remote = self._remote(name, 0)
            try:
                await remote.start()
                answer = await remote.ask("describe")
            except WorkerFailed as error:
                answer = {"missing": str(error), "version": ""}
            finally:
                await remote.close()
            if not answer["missing"]:
                self.installed[name] = answer["most_at_once"]
            status = f"not installed: {answer['missing']}" if answer["missing"] else "installed"
            found[name] = {"status": status, "version": answer["version"]}
            _progress(f"{name}: {status} {answer['version']}")
        return found

    async def measure(self, existing: int, *, with_singles: bool) -> None:
        """Measure all contenders at one table, and add what was found to ``levels``, also if interrupted."""
        options = self.options
        contestants: list[_Contestant] = []
        try:
            await self._start_all(existing, contestants)
            if with_singles:
                await _take_turns(contestants, "single", 1, options.repeat, options.seconds, existing)
            if options.burst and options.bursts:
                await _take_turns(contestants, "burst", options.burst, options.bursts, options.seconds, existing)
            for contestant in contestants:
                if contestant.is_up and contestant.name != "floor":
                    contestant.result["get_all"] = await contestant.ask("get_all")
                if contestant.is_up:
                    contestant.result["usage"] = await contestant.ask("usage")
            for contestant in contestants:
                if contestant.is_up and contestant.name == "ours" and with_singles:
                    await self._restart(contestant)
                if contestant.is_up:
                    contestant.result["stop"] = await contestant.ask("stop")
        finally:
            for contestant in contestants:
                await contestant.remote.close()
            results = {contestant.name: contestant.result for contestant in contestants}
            self.levels.append({"existing": existing, "only_bursts": not with_singles, "contenders": results})

    async def _start_all(self, existing: int, contestants: list[_Contestant]) -> None:
        """Start one after the other; appends each before anything can go wrong with it."""
        copied = ""
        # Ours first: the floor takes its file.
        for name in sorted(self.installed, key=lambda name: name != "ours"):
            remote = self._remote(name, existing, copied if name == "floor" else "")
            contestant = _Contestant(name, remote, self.installed[name])
            contestants.append(contestant)
            await remote.start()
            started = await contestant.ask("start", fill=True)
            if started is None:
                continue
            _progress(
                f"{existing} routes: {name} starts in {started['start_ms']:.0f} ms, "
                f"is filled in {started['fill_ms'] / 1000:.1f} s with {started['routes']} routes"
            )
            contestant.result["start"] = started
            if name == "floor":
                contestant.result["file"] = "copied from ours" if copied else "made like that of ours"
            if name == "ours":
                to = self.folder / f"dynamic-{existing}.toml"
                answer = await contestant.ask("copy", to=str(to))
                copied = str(to) if answer and answer["characters"] else ""

    async def _restart(self, contestant: _Contestant) -> None:
        """Let the process of the Hub die, and a new one start beside what it finds: the table as it was."""
        before = contestant.remote
        await before.kill()
        contestant.remote = Remote(contestant.name, replace(before.settings))
        contestant.remote.inherit(before)
        await contestant.remote.start()
        contestant.result["restart"] = await contestant.ask("start", fill=False)
        if contestant.is_up:
            contestant.result["restart_get_all"] = await contestant.ask("get_all")

    async def memory(self) -> dict[str, Any] | None:
        """Measure what a route of ours costs in Python's memory, in a process that does nothing else."""
        if "ours" not in self.installed:
            return None
        routes = max(*self.options.existing, _MEMORY_ROUTES)
        contestant = _Contestant("ours", self._remote("ours", routes), 0)
        try:
            await contestant.remote.start()
            answer = await contestant.ask("memory")
            if contestant.is_up:
                await contestant.ask("stop")
        finally:
            await contestant.remote.close()
        return answer if answer is not None else contestant.result


async def _take_turns(
    contestants: Sequence[_Contestant], kind: str, size: int, rounds: int, seconds: float, existing: int
) -> None:
    """Let each make a change, then each the next, until all have had their rounds or used up their time."""
    spent = dict.fromkeys((contestant.name for contestant in contestants), 0.0)
    for contestant in contestants:
        contestant.result[kind] = {"add": [], "delete": []}
    order = random.Random(0)
    for turn in range(rounds):
        # Not always the same one after the slowest, whose Traefik may still have memory to tidy.
        for contestant in order.sample(contestants, len(contestants)):
            if not contestant.is_up or spent[contestant.name] > seconds:
                continue
            await asyncio.sleep(_PAUSE)
            at_once = min(size, contestant.most_at_once)
            begin = time.monotonic()
            answer = await contestant.ask("change", size=at_once)
            spent[contestant.name] += time.monotonic() - begin
            if answer is not None:
                contestant.result[kind]["add"].append(answer["add"])
                contestant.result[kind]["delete"].append(answer["delete"])
        _progress(f"{existing} routes: {kind} {turn + 1}/{rounds}", replaces=turn > 0)


def _progress(text: str, *, replaces: bool = False) -> None:
    back = "\x1b[1A\x1b[K" if replaces and sys.stderr.isatty() else ""  # one line up, and wipe it
    print(f"{back}{text}", file=sys.stderr, flush=True)
