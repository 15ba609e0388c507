"""The part ``routes``: how long adding and deleting routes takes, depending on their number. I/O: by its workers.

All contenders are up at the same time, each with the same table, and take turns, so that a slow moment of the machine hits
all of them alike: what counts are the ratios between them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from .bench import Bench, Contestant, in_turns
from .contenders import MOST_OF_ROUTES, OF_ROUTES
from .remote import Remote

# Seconds between two turns.
_PAUSE = 0.05

# Seconds for which the parts of a contender are watched while nothing happens.
_IDLE_SECONDS = 15.0

# Large enough for the memory per route to be exact.
_MEMORY_ROUTES = 10_000


@dataclass(frozen=True)
class Options:
    """What is measured.

    Attributes:
        existing: The sizes of the table at which single changes and bursts are measured.
        burst: How many routes a burst changes at once.
        burst_existing: The size of the table for the ratios to one reload; unless it is in ``existing``, only bursts are
            measured at it.
        repeat: How many single adds and deletes each contender makes, at most.
        bursts: How many bursts each contender makes, at most.
        seconds: How long each contender may take for each of the two at each size; it always makes one of each.
    """

    existing: tuple[int, ...] = (0, 100, 1_000, 5_000, 10_000, 50_000)
    burst: int = 200
    burst_existing: int = 5_000
    repeat: int = 20
    bursts: int = 3
    seconds: float = 15.0


async def measure(bench: Bench, options: Options, result: dict[str, Any]) -> None:
    """Measure all contenders but ``direct``, which has no routes; fills ``result``, also if it is interrupted."""
    result.update(parameters=asdict(options), levels=[], memory=None, commits=[])
    for existing in _levels(options):
        await _measure(bench, options, existing, result["levels"])
    for existing in options.existing:
        commits = await _alone(bench, "ours", "commits", existing)
        if commits is not None:
            result["commits"].append({"existing": existing, **commits})
    result["memory"] = await _alone(bench, "ours", "memory", _MEMORY_ROUTES)
    if "before" in bench.installed:
        result["memory_before"] = await _alone(bench, "before", "memory", _MEMORY_ROUTES)


def _levels(options: Options) -> list[int]:
    also = {options.burst_existing} if options.burst and options.bursts else set()
    return sorted({*options.existing} | also)


async def _measure(bench: Bench, options: Options, existing: int, levels: list[dict[str, Any]]) -> None:
    """Measure all contenders at one size of the table."""
    with_singles = existing in options.existing
    contestants: list[Contestant] = []
    try:
        await _start_all(bench, existing, contestants)
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
            if contestant.is_up and contestant.name == "etcd":
                contestant.result["idle"] = await contestant.ask("idle", seconds=_IDLE_SECONDS)
        for contestant in contestants:
            if contestant.is_up and contestant.name in ("ours", "before") and with_singles:
                await _restart(contestant)
            if contestant.is_up:
                contestant.result["stop"] = await contestant.ask("stop")
    finally:
        for contestant in contestants:
            await contestant.remote.close()
        results = {contestant.name: contestant.result for contestant in contestants}
        levels.append({"existing": existing, "contenders": results})


async def _start_all(bench: Bench, existing: int, contestants: list[Contestant]) -> None:
    """Start one after another; each is appended before it is started, so that it can be cleaned up."""
    for name in bench.installed:
        if name != "direct" and (name not in OF_ROUTES or existing <= MOST_OF_ROUTES):
            contestants.append(bench.contestant(name, existing))
            contestants[-1].result["start"] = await contestants[-1].start()


async def _restart(contestant: Contestant) -> None:
    """Kill the Hub's process, and start a new one that finds the running proxy with its table."""
    before = contestant.remote
    await before.kill()
    contestant.remote = Remote(contestant.name, replace(before.settings), before.interpreter)
    contestant.remote.inherit(before)
    await contestant.remote.start()
    contestant.result["restart"] = await contestant.ask("start", fill=False)
    if contestant.is_up:
        contestant.result["restart_get_all"] = await contestant.ask("get_all")


async def _alone(bench: Bench, name: str, command: str, routes: int) -> dict[str, Any] | None:
    """Have one contender carry out one command with a table of some size, in a process that does nothing else."""
    if name not in bench.installed:
        return None
    contestant = bench.contestant(name, routes)
    try:
        await contestant.remote.start()
        return await contestant.ask(command)
    finally:
        await contestant.remote.close()


async def _take_turns(
    contestants: Sequence[Contestant], kind: str, size: int, rounds: int, seconds: float, existing: int
) -> None:
    """Have the contestants make changes in turns, until all have made all rounds or used up their time."""
    spent = dict.fromkeys((contestant.name for contestant in contestants), 0.0)
    for contestant in contestants:
        contestant.result[kind] = {"add": [], "delete": []}
    # In a random order, as the slowest may disturb the next one: its Traefik still collects garbage.
    for contestant in in_turns(contestants, rounds, f"{existing} routes: {kind}"):
        if spent[contestant.name] > seconds:
            continue
        await asyncio.sleep(_PAUSE)
        begin = time.monotonic()
        answer = await contestant.ask("change", size=min(size, contestant.most_at_once))
        spent[contestant.name] += time.monotonic() - begin
        if answer is not None:
            contestant.result[kind]["add"].append(answer["add"])
            contestant.result[kind]["delete"].append(answer["delete"])
