"""What every Activity must do, as one function for each promise of :class:`traefik_toml_proxy.seams.Activity`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta, timezone
from typing import Protocol

from traefik_toml_proxy.seams import Activity

from .waiting import eventually


class Stage(Protocol):
    """An activity, and the proxy that it watches."""

    @property
    def activity(self) -> Activity:
        """The activity."""

    async def add(self, routespec: str) -> None:
        """Add a route with a target of its own, or replace the one with this routespec."""

    async def delete(self, routespec: str) -> None:
        """Delete the route."""

    async def use(self, routespec: str) -> None:
        """Send a request for the route."""

    async def notice(self) -> None:
        """Wait until the activity has noticed, or could have noticed, everything that was sent so far."""

    async def fall_silent(self) -> None:
        """Stop the proxy."""


async def _seen(stage: Stage, routespec: str) -> datetime:
    async def seen() -> datetime | None:
        return (await stage.activity.last_seen()).get(routespec)

    found: datetime = await eventually(seen, what=f"{routespec} is seen")
    return found


async def a_route_that_was_not_used_is_left_out(stage: Stage) -> None:
    """Nothing is known about it."""
    await stage.add("/user/ada/")
    await stage.notice()

    assert await stage.activity.last_seen() == {}


async def a_route_that_was_used_has_the_time(stage: Stage) -> None:
    """With a time zone; other routes are left out."""
    await stage.add("/user/ada/")
    await stage.add("/user/bob/")
    before = datetime.now(timezone.utc)
    await stage.use("/user/ada/")
    at = await _seen(stage, "/user/ada/")

    # The kernel counts in ticks of a few milliseconds.
    assert timedelta(seconds=-0.05) <= at - before
    assert at <= datetime.now(timezone.utc)
    assert set(await stage.activity.last_seen()) == {"/user/ada/"}


async def the_time_stays_while_the_route_is_not_used(stage: Stage) -> None:
    """Whatever happens on other routes."""
    await stage.add("/user/ada/")
    await stage.add("/user/bob/")
    await stage.use("/user/ada/")
    at = await _seen(stage, "/user/ada/")
    await stage.use("/user/bob/")
    await _seen(stage, "/user/bob/")

    assert (await stage.activity.last_seen())["/user/ada/"] == at


async def the_time_goes_forward_with_each_use(stage: Stage) -> None:
    """Also over a connection that is kept open."""
    await stage.add("/user/ada/")
    times = []
    for _ in range(3):
        await stage.use("/user/ada/")
        await stage.notice()
        times.append(await _seen(stage, "/user/ada/"))

    assert times == sorted(set(times))


async def a_deleted_route_is_left_out_at_once(stage: Stage) -> None:
    """Before anything else is noticed."""
    await stage.add("/user/ada/")
    await stage.use("/user/ada/")
    await _seen(stage, "/user/ada/")
    await stage.delete("/user/ada/")

    assert await stage.activity.last_seen() == {}


async def a_route_that_is_added_again_starts_anew(stage: Stage) -> None:
    """At once: it may be a new server."""
    await stage.add("/user/ada/")
    await stage.use("/user/ada/")
    await _seen(stage, "/user/ada/")
    await stage.delete("/user/ada/")
    await stage.add("/user/ada/")
    at_once = await stage.activity.last_seen()
    await stage.notice()
    later = await stage.activity.last_seen()
    await stage.use("/user/ada/")

    assert (at_once, later) == ({}, {})
    assert await _seen(stage, "/user/ada/")


async def what_is_known_stays_known_in_silence(stage: Stage) -> None:
    """While the proxy is down, as for a restart, nothing is forgotten, and nothing raises."""
    await stage.add("/user/ada/")
    await stage.use("/user/ada/")
    at = await _seen(stage, "/user/ada/")
    await stage.fall_silent()
    await stage.notice()

    assert await stage.activity.last_seen() == {"/user/ada/": at}


CONTRACT: list[Callable[[Stage], Awaitable[None]]] = [
    a_route_that_was_not_used_is_left_out,
    a_route_that_was_used_has_the_time,
    the_time_stays_while_the_route_is_not_used,
    the_time_goes_forward_with_each_use,
    a_deleted_route_is_left_out_at_once,
    a_route_that_is_added_again_starts_anew,
    what_is_known_stays_known_in_silence,
]
