"""The part ``churn``: what users notice while routes are changed all the time. I/O: sockets, workers.

Requests and messages are sent at fixed times, and latencies are counted from these times: a slow proxy does not get fewer of
them. Quiet periods alternate with periods in which routes are added and deleted without a pause. Nothing may fail in either.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, NamedTuple

from traefik_toml_proxy.conformance.client import Connection

from .bench import Bench, Contestant, in_turns, started
from .stats import spread
from .waiting import within
from .websockets import connect, echo, socket_url
from .workload import SERVER_HEADER, existing_routespec

_PATIENCE = 10


@dataclass(frozen=True)
class Options:
    """What is measured.

    Attributes:
        existing: The sizes of the table.
        seconds: How long each period is.
        rounds: How many periods of each kind there are for each contender.
        connections: How many connections, and how many sockets, are open; each belongs to another user.
        each_per_second: How many requests or messages per second are sent over each of them.
        new_per_second: How many requests per second open a connection of their own.
    """

    existing: tuple[int, ...] = (1_000, 10_000)
    seconds: float = 5.0
    rounds: int = 3
    connections: int = 10
    each_per_second: float = 10.0
    new_per_second: float = 20.0


@dataclass
class _Results:
    """The latencies of requests or messages, and the failures."""

    times: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    async def record(self, planned: float, action: Callable[[], Awaitable[None]]) -> None:
        """Run an action, and record how long after its planned time it was done, or why it failed."""
        try:
            await within(_PATIENCE, action())
        except Exception as error:  # noqa: BLE001 - whatever it is, users would have noticed it
            self.failed.append(repr(error)[:200])
        else:
            self.times.append((time.perf_counter() - planned) * 1000)


async def measure(bench: Bench, options: Options, result: dict[str, Any]) -> None:
    """Measure all contenders; fills ``result``, also if it is interrupted."""
    result.update(parameters=asdict(options), samples=[], failures=[])
    contestants = bench.contestants(options.existing, bench.addresses.pages)
    async with started(contestants, result["failures"]) as up:
        for contestant in in_turns(up, options.rounds, "churn"):
            for changing in (False, True) if contestant.name != "direct" else (False,):
                with contestant.failures_recorded():
                    result["samples"].append(await _sample(contestant, options, changing=changing))


async def _sample(contestant: Contestant, options: Options, *, changing: bool) -> dict[str, Any]:
    requests, messages = _Results(), _Results()
    async with AsyncExitStack() as stack:
        load = await _prepare(contestant, options, stack, requests, messages)
        done = asyncio.Event()
        work = asyncio.gather(*(each(done) for each in load))
        try:
            # A contender that needs longer for its last change is also sent requests for longer.
            answer = await contestant.remote.ask("churn", seconds=options.seconds) if changing else None
            if answer is None:
                await asyncio.sleep(options.seconds)
        finally:
            done.set()
            await work
    return {
        "contender": contestant.name,
        "existing": contestant.existing,
        "changing": changing,
        "changes": answer["changes"] if answer else 0,
        "changes_per_second": answer["changes"] / answer["seconds"] if answer else 0.0,
        "failed": len(requests.failed) + len(messages.failed),
        "first_failures": [*requests.failed[:3], *messages.failed[:3]],
        "requests": spread(requests.times or [_PATIENCE * 1000]),
        "messages": spread(messages.times or [_PATIENCE * 1000]),
    }


async def _prepare(
    contestant: Contestant, options: Options, stack: AsyncExitStack, requests: _Results, messages: _Results
) -> list[Callable[[asyncio.Event], Awaitable[None]]]:
    """Open the connections and sockets; return the load to run on them concurrently."""
    url = contestant.remote.settings.public_url
    users = max(contestant.existing, 1)
    load: list[Callable[[asyncio.Event], Awaitable[None]]] = []
    for number in range(options.connections):
        user = number * users // options.connections
        page = existing_routespec(user) + "lab"
        connection = await stack.enter_async_context(Connection(url))
        await _ask(connection, page)
        socket = await connect(socket_url(url, user))
        stack.callback(socket.close)
        # Spread them over time.
        schedule = _Schedule(options.each_per_second, number / options.connections / options.each_per_second)
        load.append(partial(schedule.run, requests, partial(_ask, connection, page)))
        load.append(partial(schedule.run, messages, partial(echo, socket)))
    load.append(partial(_Schedule(options.new_per_second).run, requests, partial(_ask_anew, url)))
    return load


class _Schedule(NamedTuple):
    """Fixed times to do something: so many per second, after an initial delay."""

    per_second: float
    delay: float = 0.0

    async def run(self, results: _Results, action: Callable[[], Awaitable[None]], done: asyncio.Event) -> None:
        """Run an action at these times until ``done`` is set, but never twice at once."""
        begin = time.perf_counter() + self.delay
        for number in itertools.count():
            planned = begin + number / self.per_second
            if done.is_set():
                return
            await asyncio.sleep(max(planned - time.perf_counter(), 0))
            await results.record(planned, action)


async def _ask(connection: Connection, page: str) -> None:
    response = await connection.request("GET", page)
    if response.status != 200 or response.head.get(SERVER_HEADER) is None:
        raise ConnectionError(f"{response.status} for {page}")


async def _ask_anew(url: str) -> None:
    async with Connection(url) as connection:
        await _ask(connection, "/hub/home")
