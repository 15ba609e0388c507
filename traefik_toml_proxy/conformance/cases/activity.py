"""Cases of activity: when a user was last seen, which JupyterHub's idle culler relies on. Does I/O through the stage."""

from __future__ import annotations

import asyncio
from datetime import datetime, timezone
from typing import Any

from dateutil.parser import parse

from ..case import Group, Level, NotOffered, expect
from ..stage import Stage
from .websockets import connected, echoing

GROUP = Group("activity")
_E = Level.EXPECTED
_SOURCE = "jupyterhub/app.py:3690-3739: update_last_activity"


async def _last_activity(stage: Stage, routespec: str) -> datetime:
    data: dict[str, Any] = (await stage.proxy.get_all_routes())[routespec]["data"]
    if "last_activity" not in data:
        raise NotOffered("its routes have no last_activity; JupyterHub has it from the servers themselves")
    when: datetime = parse(data["last_activity"])
    return when if when.tzinfo else when.replace(tzinfo=timezone.utc)


@GROUP.case("requests", _E, _SOURCE)
async def _requests(stage: Stage) -> None:
    """A request to a user's server updates the ``last_activity`` of its route, and of no other route."""
    ada = await stage.serve("/user/ada/")
    await stage.serve("/user/bob/")
    await stage.expect_by(ada, "/user/ada/")
    before = await _last_activity(stage, "/user/ada/"), await _last_activity(stage, "/user/bob/")
    await asyncio.sleep(1.1)
    await stage.expect_by(ada, "/user/ada/")
    await asyncio.sleep(0.1)
    after = await _last_activity(stage, "/user/ada/"), await _last_activity(stage, "/user/bob/")
    expect(after[0] > before[0], "it has not changed")
    expect(after[1] == before[1], "another user's has changed as well")
    expect(abs((datetime.now(timezone.utc) - after[0]).total_seconds()) < 5, f"it is {after[0]}, which is not now")


@GROUP.case("websockets", _E, _SOURCE)
async def _websockets(stage: Stage) -> None:
    """A message over an open websocket updates ``last_activity``, as when a user types in a terminal."""
    async with echoing(stage), connected(stage, "/user/ada/ws") as socket:
        await socket.write_message("hello")
        await socket.read_message()
        before = await _last_activity(stage, "/user/ada/")
        await asyncio.sleep(1.1)
        await socket.write_message("hello again")
        await socket.read_message()
        await asyncio.sleep(0.1)
        expect(await _last_activity(stage, "/user/ada/") > before, "it has not changed")


@GROUP.case("no-activity", _E, _SOURCE)
async def _no_activity(stage: Stage) -> None:
    """Listing the routes and changing other routes do not update ``last_activity``."""
    ada = await stage.serve("/user/ada/")
    await stage.expect_by(ada, "/user/ada/")
    before = await _last_activity(stage, "/user/ada/")
    await asyncio.sleep(1.1)
    await stage.add("/user/bob/", ada)
    expect(await _last_activity(stage, "/user/ada/") == before, "it has changed")
