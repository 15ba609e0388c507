"""Cases of activity: when a user was last seen, which JupyterHub's idle culler relies on. Does I/O through the stage."""

from __future__ import annotations

import asyncio
from datetime import datetime, timezone
from typing import Any

from dateutil.parser import parse

from ..case import Group, Level, NotOffered, expect
from ..stage import Stage, eventually
from .websockets import connected, echoing

GROUP = Group("activity")
_E = Level.EXPECTED
_SOURCE = "jupyterhub/app.py:3690-3739: update_last_activity"
# How late a proxy may know, in seconds. JupyterHub asks once in five minutes, and again and again in these cases.
_DELAY = 5.0


async def _reported(stage: Stage, routespec: str) -> datetime | None:
    data: dict[str, Any] = (await stage.proxy.get_all_routes())[routespec]["data"]
    if "last_activity" not in data:
        return None
    when: datetime = parse(data["last_activity"])
    return when if when.tzinfo else when.replace(tzinfo=timezone.utc)


async def _last_activity(stage: Stage, routespec: str) -> datetime:
    """Return the last activity of a route that is not used now.

    Raises:
        NotOffered: If the proxy does not report it.
    """
    end = asyncio.get_running_loop().time() + _DELAY
    while await _reported(stage, routespec) is None:
        if asyncio.get_running_loop().time() > end:
            raise NotOffered("its routes have no last_activity; JupyterHub has it from the servers themselves")
        await asyncio.sleep(0.1)
    await asyncio.sleep(1.1)  # it may have been of something earlier
    when = await _reported(stage, routespec)
    if when is None:
        raise NotOffered("the last_activity of a route has gone")
    return when


async def _expect_activity(stage: Stage, routespec: str, after: datetime) -> None:
    """Check that the last activity of a route becomes later than ``after``, and that it is now."""

    async def has_changed() -> bool:
        when = await _reported(stage, routespec)
        return when is not None and when > after

    await eventually(has_changed, _DELAY, "last_activity has not changed")
    when = await _reported(stage, routespec)
    expect(
        when and abs((datetime.now(timezone.utc) - when).total_seconds()) < 2 * _DELAY,
        f"it is {when}, which is not now",
    )


@GROUP.case("requests", _E, _SOURCE)
async def _requests(stage: Stage) -> None:
    """A request to a user's server updates the ``last_activity`` of its route, and of no other route."""
    ada = await stage.serve("/user/ada/")
    await stage.serve("/user/bob/")
    await stage.expect_by(ada, "/user/ada/")
    before = await _last_activity(stage, "/user/ada/"), await _reported(stage, "/user/bob/")
    await stage.expect_by(ada, "/user/ada/")
    await _expect_activity(stage, "/user/ada/", before[0])
    expect(await _reported(stage, "/user/bob/") == before[1], "another user's has changed as well")


@GROUP.case("websockets", _E, _SOURCE)
async def _websockets(stage: Stage) -> None:
    """A message over an open websocket updates ``last_activity``, as when a user types in a terminal."""
    async with echoing(stage), connected(stage, "/user/ada/ws") as socket:
        await socket.write_message("hello")
        await socket.read_message()
        before = await _last_activity(stage, "/user/ada/")
        await socket.write_message("hello again")
        await socket.read_message()
        await _expect_activity(stage, "/user/ada/", before)


@GROUP.case("no-activity", _E, _SOURCE)
async def _no_activity(stage: Stage) -> None:
    """Listing the routes and changing other routes do not update ``last_activity``."""
    ada = await stage.serve("/user/ada/")
    await stage.expect_by(ada, "/user/ada/")
    before = await _last_activity(stage, "/user/ada/")
    await stage.add("/user/bob/", ada)
    await asyncio.sleep(1.1)
    await stage.proxy.get_all_routes()
    await asyncio.sleep(0.5)
    expect(await _reported(stage, "/user/ada/") == before, "it has changed")
