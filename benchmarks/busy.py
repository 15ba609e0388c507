"""The part ``busy``: what users notice while the Hub computes. I/O: sockets, workers.

A Hub that is busy holds Python's interpreter, and a proxy in the same process with it. Here the thread of the Hub computes
for a share of the time, in pieces, as when it writes a long list of users. Requests are sent at fixed times by a program of
its own (``paced_client.py``).
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass
from typing import Any

from .bench import Bench, Contestant, in_turns, started
from .contenders import FLOORS
from .interpreter import this_interpreter
from .load import results_of
from .workload import existing_routespec

# How many seconds longer the Hub computes than requests are sent, since the program that sends them has to start.
_START_SECONDS = 2.0


@dataclass(frozen=True)
class Options:
    """What is measured.

    Attributes:
        existing: The size of the table.
        share: For which share of the time the Hub computes.
        piece_ms: How long it computes at once.
        per_second: How many requests are sent per second.
        connections: Over how many connections; each belongs to another user.
        seconds: How long each period is.
        rounds: How many periods of each kind there are for each contender.
    """

    existing: int = 1_000
    share: float = 0.3
    piece_ms: float = 20.0
    per_second: float = 200.0
    connections: int = 20
    seconds: float = 5.0
    rounds: int = 5


async def measure(bench: Bench, options: Options, result: dict[str, Any]) -> None:
    """Measure all contenders; fills ``result``, also if it is interrupted."""
    result.update(parameters=asdict(options), samples=[], failures=[])
    async with started(bench.contestants([options.existing]), result["failures"]) as up:
        for contestant in in_turns(up, options.rounds, "busy"):
            # The floors have no Hub.
            for busy in (False,) if contestant.name in FLOORS else (False, True):
                with contestant.failures_recorded():
                    result["samples"].append(await _sample(contestant, options, busy=busy))


async def _sample(contestant: Contestant, options: Options, *, busy: bool) -> dict[str, Any]:
    users = max(contestant.existing, 1)
    numbers = (number * users // options.connections for number in range(options.connections))
    asking = results_of(
        this_interpreter().executable,
        "-m",
        "benchmarks.paced_client",
        str(contestant.remote.settings.public_port),
        str(options.seconds),
        str(options.per_second),
        *(existing_routespec(number) + "lab" for number in numbers),
        seconds=options.seconds,
    )
    share = options.share if busy else 0.0
    computing = contestant.remote.ask(
        "compute", share=share, piece=options.piece_ms / 1000, seconds=options.seconds + _START_SECONDS
    )
    measured, computed = await asyncio.gather(asking, computing)
    return {"contender": contestant.name, "busy": busy, **computed, **measured}
