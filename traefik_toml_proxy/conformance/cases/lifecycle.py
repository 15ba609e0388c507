"""Cases of starting, stopping, crashing and recovering. Does I/O through the stage."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

from ..case import Group, Level, NotOffered, expect, expect_equal
from ..stage import Stage, eventually
from ..wire import BrokenMessage

GROUP = Group("lifecycle")
_R, _E, _B = Level.REQUIRED, Level.EXPECTED, Level.BEYOND


async def _listens(stage: Stage) -> bool:
    where = urlsplit(stage.url)
    try:
        _, writer = await asyncio.open_connection(where.hostname, where.port)
    except OSError:
        return False
    writer.close()
    return True


def _needs_start(stage: Stage) -> None:
    if not stage.proxy.should_start:
        raise NotOffered("the proxy is started and stopped outside of the Hub")


@GROUP.case("stop", _R, "jupyterhub/app.py:3608-3656", fresh=True, seconds=60)
async def _stop(stage: Stage) -> None:
    """``stop`` ends the proxy within 10 seconds, after which nothing listens at its address."""
    await stage.start()
    _needs_start(stage)
    expect(await _listens(stage), "nothing listened after start()")
    stopped = stage.proxy.stop()
    if asyncio.iscoroutine(stopped):
        await stopped
    await eventually(lambda: _not(_listens(stage)), 10, "the end of the proxy")


async def _not(value: object) -> bool:
    return not await value  # type: ignore[misc]


@GROUP.case("start-again", _E, "jupyterhub/app.py: a stopped Hub is started again", fresh=True, seconds=120)
async def _start_again(stage: Stage) -> None:
    """After ``stop``, a new Hub can start the proxy again at once, and its routes are served."""
    await stage.start()
    _needs_start(stage)
    await stage.serve("/user/ada/")
    stopped = stage.proxy.stop()
    if asyncio.iscoroutine(stopped):
        await stopped
    await stage.start()
    ada = await stage.serve("/user/ada/")
    await stage.expect_by(ada, "/user/ada/")


@GROUP.case(
    "hub-killed", _R, "jupyterhub/proxy.py: ConfigurableHTTPProxy._check_previous_process", fresh=True, seconds=120
)
async def _hub_killed(stage: Stage) -> None:
    """After a Hub was killed, a new one can start although the old proxy is still running, and its routes are served."""
    backend = await stage.backend("ada")
    await stage.subject.leave_behind(stage.setting, {"/": stage.hub.url, "/user/ada/": backend.url})
    await stage.start()
    await stage.add("/", stage.hub)
    await stage.add("/user/ada/", backend)
    await stage.expect_by(backend, "/user/ada/")
    await stage.expect_by(stage.hub, "/hub/")


@GROUP.case("hub-away", _E, "jupyterhub: users keep working while the Hub is restarted", fresh=True, seconds=120)
async def _hub_away(stage: Stage) -> None:
    """While the Hub is down, users reach their servers."""
    backend = await stage.backend("ada")
    await stage.subject.leave_behind(stage.setting, {"/": stage.hub.url, "/user/ada/": backend.url})
    await stage.expect_by(backend, "/user/ada/")


@GROUP.case("hub-back", _B, "jupyterhub/app.py:3877: the Hub asks for the existing routes", fresh=True, seconds=120)
async def _hub_back(stage: Stage) -> None:
    """While a new Hub takes over the running proxy, no user is cut off, and the Hub learns the existing routes."""
    backend = await stage.backend("ada")
    await stage.subject.leave_behind(stage.setting, {"/": stage.hub.url, "/user/ada/": backend.url})
    failed: list[str] = []
    starting = asyncio.create_task(stage.start())
    while not starting.done():
        try:
            async with stage.connect() as connection:
                response = await connection.request("GET", "/user/ada/")
                if response.by != "ada":
                    failed.append(str(response.status))
        except (OSError, BrokenMessage) as error:
            failed.append(type(error).__name__)
        await asyncio.sleep(0.01)
    await starting
    expect(not failed, f"{len(failed)} requests failed meanwhile, the first with {failed[:1]}")
    expect_equal(sorted(await stage.proxy.get_all_routes()), ["/", "/user/ada/"], "the routes")


@GROUP.case(
    "proxy-killed", _E, "jupyterhub/proxy.py: ConfigurableHTTPProxy.check_running, every 5 s", fresh=True, seconds=120
)
async def _proxy_killed(stage: Stage) -> None:
    """When the proxy's process is killed, it comes back by itself within 30 seconds and serves the Hub."""
    await stage.start()
    await stage.add("/", stage.hub, {"hub": True})
    await stage.expect_by(stage.hub, "/hub/")
    await stage.subject.kill()

    async def serves_the_hub() -> bool:
        try:
            async with stage.connect() as connection:
                return (await connection.request("GET", "/hub/")).by == "hub"
        except (OSError, BrokenMessage):
            return False

    await eventually(serves_the_hub, 30, "serving the Hub again")


@GROUP.case("proxy-killed-users", _B, "no user should have to wait for the Hub's next check", fresh=True, seconds=120)
async def _proxy_killed_users(stage: Stage) -> None:
    """When the proxy's process is killed, all routes are served again within 5 seconds, without the Hub's help."""
    await stage.start()
    backend = await stage.backend("ada")
    await stage.add("/user/ada/", backend, {"user": "ada", "server_name": ""})
    await stage.subject.kill()

    async def serves_ada() -> bool:
        try:
            async with stage.connect() as connection:
                return (await connection.request("GET", "/user/ada/")).by == "ada"
        except (OSError, BrokenMessage):
            return False

    await eventually(serves_ada, 5, "serving the user again")
