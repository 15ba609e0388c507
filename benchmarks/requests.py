"""The part ``requests``: requests per second, latencies and processor time, by the number of routes. I/O: runs wrk.

All contenders are up at the same time, with all sizes of the table, and take turns. wrk sends requests over 16 connections
as fast as it gets responses. It shares the machine with the proxy and the server behind it, so only ratios mean something.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from .bench import Bench, Contestant, in_turns, progress, started
from .contenders import FLOORS
from .load import results_of
from .workload import LARGE_PATH, existing_routespec

_SCRIPT = Path(__file__).with_name("wrk.lua")


class Kind(NamedTuple):
    """A kind of request.

    Attributes:
        of_users: Whether the pages are those of random users, else the Hub's.
        large: Whether the response is 1 MiB, else a few bytes.
        close: Whether each request has a connection of its own.
        tls: Whether the public entry point is HTTPS.
    """

    of_users: bool
    large: bool
    close: bool
    tls: bool


@dataclass(frozen=True)
class Options:
    """What is measured.

    Attributes:
        existing: The sizes of the table.
        seconds: How long wrk runs each time.
        rounds: How often it runs for each contender.
        connections: How many connections it has.
    """

    existing: tuple[int, ...] = (0, 1_000, 10_000)
    seconds: int = 2
    rounds: int = 4
    connections: int = 16


def kinds(*, tls: bool) -> Iterator[Kind]:
    """Yield all kinds of requests, over HTTPS or HTTP."""
    for large in (False, True):
        for close in (False, True):
            yield Kind(False, large, close, tls)
    yield Kind(True, False, False, tls)


async def measure(bench: Bench, options: Options, result: dict[str, Any]) -> None:
    """Measure all contenders; fills ``result``, also if it is interrupted."""
    result.update(parameters=asdict(options), samples=[], failures=[])
    wrk = shutil.which("wrk")
    if wrk is None:
        result["failures"].append("wrk is not installed (on Debian: apt-get install wrk)")
        progress(result["failures"][0])
        return
    for tls in (False, True):
        async with started(bench.contestants(options.existing, tls=tls), result["failures"]) as up:
            for kind in kinds(tls=tls):
                able = [each for each in up if each.existing or each.name in FLOORS or not kind.of_users]
                for contestant in in_turns(able, options.rounds, f"requests {describe(kind)}:"):
                    with contestant.failures_recorded():
                        result["samples"].append(await _ask(wrk, contestant, kind, options))


def describe(kind: Kind) -> str:
    """Return a kind in words."""
    return ", ".join(
        [
            "HTTPS" if kind.tls else "HTTP",
            "pages of random users" if kind.of_users else "the Hub's page",
            "1 MiB" if kind.large else "small",
            "new connections" if kind.close else "keep-alive",
        ]
    )


async def _ask(wrk: str, contestant: Contestant, kind: Kind, options: Options) -> dict[str, Any]:
    path = LARGE_PATH if kind.large else "/hub/home"
    users = 0
    if kind.of_users:
        users = contestant.existing or max(options.existing)  # the floors serve the pages of any
        path = existing_routespec(0).replace("000000", "%06d") + "lab"
    url = contestant.remote.settings.public_url + "/"
    before = await contestant.remote.ask("cpu")
    sample = await results_of(
        wrk,
        "--threads=1",
        f"--connections={options.connections}",
        f"--duration={options.seconds}s",
        "--timeout=30s",
        f"--script={_SCRIPT}",
        url,
        "--",
        path,
        str(users),
        "close" if kind.close else "keep",
        seconds=options.seconds,
    )
    after = await contestant.remote.ask("cpu")
    return {
        "contender": contestant.name,
        "existing": contestant.existing,
        **kind._asdict(),
        **sample,
        "per_second": sample["requests"] / sample["seconds"],
        "cpu_us": (after["seconds"] - before["seconds"]) / max(sample["requests"], 1) * 1e6,
    }
