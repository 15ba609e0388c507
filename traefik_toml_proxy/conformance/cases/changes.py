"""Cases of changing routes while people work. Does I/O through the stage."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ..case import Group, Level, expect, expect_equal
from ..client import Connection
from ..stage import Stage
from ..wire import BrokenMessage
from .websockets import connected, echoing

GROUP = Group("changes")
_R, _E, _B = Level.REQUIRED, Level.EXPECTED, Level.BEYOND

# The most seconds for which routes are changed under load.
_SECONDS = 10.0
_CHANGES = 200
_REQUESTS = 2_000
_CLIENTS = 8


@GROUP.case(
    "live-when-added", _R, "jupyterhub/handlers/base.py:1210: the browser is sent to the route right after", seconds=90
)
async def _live_when_added(stage: Stage) -> None:
    """When ``add_route`` returns, the very next request reaches the target."""
    hub = await stage.serve("/")
    backend = await stage.backend("ada")
    for number in range(20):
        await stage.add(f"/user/ada{number}/", backend)
        await stage.expect_by(backend, f"/user/ada{number}/")
    await stage.expect_by(hub, "/hub/")


@GROUP.case("gone-when-deleted", _E, "jupyterhub/handlers/base.py:1438: the server is stopped right after", seconds=90)
async def _gone_when_deleted(stage: Stage) -> None:
    """When ``delete_route`` returns, no request reaches the target any more."""
    hub = await stage.serve("/")
    for number in range(10):
        await stage.serve(f"/user/ada{number}/")
    for number in range(10):
        await stage.proxy.delete_route(f"/user/ada{number}/")
        await stage.expect_by(hub, f"/user/ada{number}/")


@GROUP.case("moved-when-replaced", _R, "jupyterhub/proxy.py: check_routes corrects targets", seconds=90)
async def _moved_when_replaced(stage: Stage) -> None:
    """When ``add_route`` with another target returns, the very next request reaches the new target."""
    one, two = await stage.backend("one"), await stage.backend("two")
    for number in range(10):
        backend = (one, two)[number % 2]
        await stage.add("/user/ada/", backend)
        await stage.expect_by(backend, "/user/ada/")


class _Users:
    """Clients that send requests all the time, each over its own connection, and record what goes wrong.

    An asynchronous context manager, which ends them.
    """

    def __init__(self, stage: Stage, target: str, name: str) -> None:
        self.failures: list[str] = []
        self.asked = 0
        self._target, self._name, self._ending = target, name, False
        self._tasks = [asyncio.create_task(self._keep_asking(stage.connect())) for _ in range(_CLIENTS)]

    async def _keep_asking(self, connection: Connection) -> None:
        try:
            async with connection:
                while not self._ending:
                    response = await connection.request("GET", self._target)
                    self.asked += 1
                    if response.by != self._name or response.status != 200:
                        self.failures.append(f"{response.status} by {response.by}")
        except (OSError, BrokenMessage) as error:
            self.failures.append(f"{type(error).__name__}: {error}")

    @property
    def have_failed(self) -> bool:
        """Whether all connections have failed."""
        return all(task.done() for task in self._tasks)

    async def __aenter__(self) -> _Users:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._ending = True
        if kind is not None:
            for task in self._tasks:
                task.cancel()
        # If this is cancelled, gather cancels them as well.
        ended = await asyncio.gather(*self._tasks, return_exceptions=True)
        errors = [error for error in ended if isinstance(error, Exception)]
        if errors and kind is None:
            raise errors[0]


async def _change(stage: Stage, enough: Callable[[], bool] = lambda: True) -> int:
    """Add, replace and delete other routes until that is enough, or time is up; return the number of changes."""
    loop = asyncio.get_running_loop()
    changes, end = 0, loop.time() + _SECONDS
    while loop.time() < end and not (changes >= _CHANGES and enough()):
        specs = [f"/user/other{number}/" for number in range(10)]
        await asyncio.gather(*(stage.add(spec, "http://127.0.0.1:1001") for spec in specs))
        await asyncio.gather(*(stage.add(spec, "http://127.0.0.1:1002") for spec in specs[:5]))
        await asyncio.gather(*(stage.proxy.delete_route(spec) for spec in specs))
        changes += 25
    return changes


@GROUP.case("others-lose-nothing", _R, "JupyterHub changes routes while people work", seconds=90)
async def _others_lose_nothing(stage: Stage) -> None:
    """While routes are added, replaced and deleted, no request to any other route fails."""
    backend = await stage.serve("/user/ada/")
    async with _Users(stage, "/user/ada/x", backend.name) as users:
        changes = await _change(stage, lambda: users.asked >= _REQUESTS or users.have_failed)
    failed = len(users.failures)
    expect(not failed, f"{failed} requests failed, and {users.asked} got a response: {users.failures[:3]}")
    expect(changes and users.asked, f"{changes} changes and {users.asked} requests are too few to tell")


@GROUP.case("moving-loses-nothing", _B, "a route whose target changes has a target at any time", seconds=90)
async def _moving_loses_nothing(stage: Stage) -> None:
    """While a route moves from one target to another and back, no request for it fails."""
    one, two = await stage.backend("same"), await stage.backend("same")
    await stage.add("/user/ada/", one)
    async with _Users(stage, "/user/ada/x", "same") as users:
        loop = asyncio.get_running_loop()
        end, moves = loop.time() + _SECONDS / 2, 0
        while loop.time() < end and moves < _CHANGES:
            await stage.add("/user/ada/", (two, one)[moves % 2])
            moves += 1
    expect(not users.failures, f"{len(users.failures)} of {users.asked} requests failed: {users.failures[:3]}")


@GROUP.case("websocket-lives", _R, "a kernel's websocket is open for hours", seconds=90)
async def _websocket_lives(stage: Stage) -> None:
    """A websocket stays open and passes messages while 200 changes are made to other routes."""
    async with echoing(stage), connected(stage, "/user/ada/ws") as socket:
        changing = asyncio.create_task(_change(stage))
        count = 0
        try:
            while not changing.done():
                await socket.write_message(str(count))
                expect_equal(await socket.read_message(), str(count), "the echo")
                count += 1
                await asyncio.sleep(0.01)
            await changing
        finally:
            changing.cancel()
            await asyncio.gather(changing, return_exceptions=True)
        expect(count, "no message was sent")


@GROUP.case("own-websocket-lives", _E, "a user's second server is stopped while the first one is used")
async def _own_websocket_lives(stage: Stage) -> None:
    """A websocket stays open while routes below its own are added and deleted."""
    async with echoing(stage), connected(stage, "/user/ada/ws") as socket:
        for number in range(3):
            await stage.add(f"/user/ada/server{number}/", "http://127.0.0.1:1001")
            await stage.proxy.delete_route(f"/user/ada/server{number}/")
            await socket.write_message(str(number))
            expect_equal(await socket.read_message(), str(number), "the echo")
