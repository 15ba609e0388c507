"""The part ``restart``: how long users are cut off when the Hub, the proxy or both go down. I/O: sockets, processes.

A real JupyterHub has many users with running servers in its database. Some of these users request a page many times per
second, each time over a new connection. A user is cut off for the longest time between two responses of the server.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

from traefik_toml_proxy.conformance.client import Connection
from traefik_toml_proxy.conformance.ports import free_ports
from traefik_toml_proxy.conformance.wire import BrokenMessage

from .bench import Bench, progress
from .contenders import FLOORS, IN_THE_HUB, OF_ROUTES
from .contenders.floor import Floor
from .hub import Hub
from .standing import write_database
from .waiting import within
from .workload import SERVER_HEADER, Servers, existing_routespec

# Seconds between two requests of a user, and for one request at most.
_PAUSE = 0.02
_PATIENCE = 5

# A longer time between two responses, in seconds, counts as being cut off even if no request fails.
_NOTICED = 0.25

# How many seconds everything must work for an event to be over.
_CALM = 1.0


@dataclass(frozen=True)
class Options:
    """What is measured.

    Attributes:
        existing: How many users have running servers.
        rounds: How often each event happens.
        users: How many of the users request pages.
        apart: Seconds before each event: a proxy that dies several times in a row may be restarted more slowly.
        seconds: After how many seconds users count as cut off for good.
    """

    existing: tuple[int, ...] = (100, 1_000)
    rounds: int = 3
    users: int = 5
    apart: float = 12.0
    seconds: float = 60.0


@dataclass
class _User:
    """A user who requests a page all the time.

    Attributes:
        page: The path of the page.
        answered: When the server last responded.
        well_since: Since when no request has failed; infinity if the last one has.
        longest: The longest time between two responses.
        failed: How many requests got no response.
    """

    page: str
    answered: float = field(default_factory=time.perf_counter)
    well_since: float = float("inf")
    longest: float = 0.0
    failed: int = 0

    def reset(self) -> None:
        """Start counting again."""
        self.longest, self.failed = 0.0, 0

    async def keep_asking(self, url: str) -> None:
        """Send requests until cancelled."""
        while True:
            ok = False
            with suppress(OSError, BrokenMessage, ValueError, IndexError, asyncio.TimeoutError):
                ok = await within(_PATIENCE, _is_answered(url, self.page, "user"))
            now = time.perf_counter()
            if ok:
                self.longest = max(self.longest, now - self.answered)
                self.answered = now
                self.well_since = min(self.well_since, now)
            else:
                self.failed += 1
                self.well_since = float("inf")
            await asyncio.sleep(_PAUSE)


async def _is_answered(url: str, page: str, server: str) -> bool:
    async with Connection(url) as connection:
        response = await connection.request("GET", page, [("Connection", "close")])
        return response.status == 200 and (response.head.get(SERVER_HEADER) or "hub") == server


async def measure(bench: Bench, options: Options, result: dict[str, Any]) -> None:
    """Measure all contenders, one after another; fills ``result``, also if it is interrupted."""
    result.update(parameters=asdict(options), samples=[], starts=[], failures=[])
    for existing in options.existing:
        for name in [name for name in bench.installed if name not in (*FLOORS, *OF_ROUTES)]:
            try:
                await _measure(bench, options, name, existing, result)
            except (TimeoutError, asyncio.TimeoutError, RuntimeError) as error:
                result["failures"].append(f"{name} with {existing} routes: {error}")
                progress(f"restart: FAILED {result['failures'][-1]}")
    if "floor" in bench.installed:
        await _measure_floor(bench, options, result)


async def _measure(bench: Bench, options: Options, name: str, existing: int, result: dict[str, Any]) -> None:
    """Measure one contender at one size of the table."""
    remote = bench.contestant(name, existing).remote
    settings = remote.settings
    database = bench.folder / f"{settings.public_port}.sqlite"
    await write_database(database, existing, bench.addresses.user)
    (hub_port,) = free_ports(1)
    hub = Hub(name, settings, remote.interpreter, database, hub_port)
    users = _users(existing, options.users)
    is_inside = name in IN_THE_HUB

    async def is_well() -> bool:
        if hub.has_ended:
            raise RuntimeError(f"the Hub has ended:\n{hub.tail()}")
        return (is_inside or bool(hub.proxies())) and await _is_answered(settings.public_url, "/hub/health", "hub")

    async def start() -> None:
        begin = time.perf_counter()
        await hub.start()
        await _until_well(users, is_well, options.seconds)
        taken = time.perf_counter() - begin - _CALM
        result["starts"].append({"contender": name, "existing": existing, "seconds": taken})

    asking = [asyncio.create_task(user.keep_asking(settings.public_url)) for user in users]
    try:
        await start()
        for event, cause in _events(hub, is_inside=is_inside).items():
            for turn in range(options.rounds):
                await asyncio.sleep(options.apart)
                sample = await _event(users, cause, is_well, options.seconds)
                result["samples"].append({"contender": name, "existing": existing, "event": event, **sample})
                cut_off = "for good" if sample["cut_off_s"] is None else f"for {sample['cut_off_s']:.2f} s"
                text = f"restart: {existing} routes: {name}: {event} {turn + 1}/{options.rounds}: cut off {cut_off}"
                progress(text, replaces=turn > 0)
                if sample["cut_off_s"] is None:
                    await hub.close()
                    await start()
                    break
    finally:
        for task in asking:
            task.cancel()
        await hub.close()


def _events(hub: Hub, *, is_inside: bool) -> dict[str, Callable[[], Awaitable[None]]]:
    """Return what can happen to a Hub and its proxy, by its name. A proxy inside the Hub cannot be killed alone."""

    async def restart_hub() -> None:
        await hub.stop()
        await hub.start()

    async def kill_proxy() -> None:
        hub.kill_proxy()

    async def kill_both() -> None:
        await hub.kill()
        hub.kill_proxy()
        await hub.start()

    alone = {} if is_inside else {"the proxy is killed": kill_proxy}
    return {"the Hub is restarted": restart_hub, **alone, "both are killed": kill_both}


async def _measure_floor(bench: Bench, options: Options, result: dict[str, Any]) -> None:
    """Measure the floor: a bare Traefik with one route is killed and restarted at once."""
    server = bench.addresses.user
    settings = bench.contestant("floor", 0, Servers(server, server)).remote.settings
    floor = Floor(settings)
    await asyncio.to_thread(floor.prepare)
    user = _User("/lab")

    async def kill_proxy() -> None:
        await asyncio.to_thread(restart)

    def restart() -> None:
        floor.crash()
        asyncio.run(floor.start())  # in a thread, since it blocks

    async def is_well() -> bool:
        return True

    asking = asyncio.create_task(user.keep_asking(settings.public_url))
    try:
        await asyncio.to_thread(asyncio.run, floor.start())
        await _until_well([user], is_well, options.seconds)
        for _ in range(options.rounds):
            sample = await _event([user], kill_proxy, is_well, options.seconds)
            result["samples"].append({"contender": "floor", "existing": 0, "event": "the proxy is killed", **sample})
    finally:
        asking.cancel()
        await floor.stop()


def _users(existing: int, count: int) -> list[_User]:
    numbers = {number * (existing - 1) // max(count - 1, 1) for number in range(count)}
    return [_User(existing_routespec(number) + "lab") for number in sorted(numbers)]


async def _event(
    users: list[_User],
    cause: Callable[[], Awaitable[None]],
    is_well: Callable[[], Awaitable[bool]],
    seconds: float,
) -> dict[str, Any]:
    """Cause an event, and return how long users were cut off: None if they still are after ``seconds``."""
    for user in users:
        user.reset()
    begin = time.perf_counter()
    await cause()
    try:
        await _until_well(users, is_well, seconds)
    except TimeoutError:
        return {"cut_off_s": None, "well_after_s": None, "failed": sum(user.failed for user in users)}
    failed = sum(user.failed for user in users)
    longest = max(user.longest for user in users)
    return {
        "cut_off_s": longest if failed or longest > _NOTICED else 0.0,
        "longest_s": longest,
        "well_after_s": time.perf_counter() - begin - _CALM,
        "failed": failed,
    }


async def _until_well(users: list[_User], is_well: Callable[[], Awaitable[bool]], seconds: float) -> None:
    """Wait until the Hub has responded, and no user's request has failed, for a while.

    Raises:
        TimeoutError: If that takes more than ``seconds``.
    """
    end = time.perf_counter() + seconds
    hub_since = float("inf")
    while time.perf_counter() < end:
        try:
            hub_is_well = await within(_PATIENCE, is_well())
        except (OSError, BrokenMessage, ValueError, IndexError, asyncio.TimeoutError):
            hub_is_well = False
        now = time.perf_counter()
        hub_since = min(hub_since, now) if hub_is_well else float("inf")
        if now - max(hub_since, *(user.well_since for user in users)) > _CALM:
            return
        await asyncio.sleep(0.1)
    cut_off = sum(user.well_since == float("inf") for user in users)
    raise TimeoutError(
        f"not recovered after {seconds:.0f} s: {cut_off} of {len(users)} users are cut off, "
        f"the Hub is {'down' if hub_since == float('inf') else 'up'}"
    )
