"""Cases of the Python interface, ``jupyterhub.proxy.Proxy``. Does I/O through the stage."""

from __future__ import annotations

import asyncio

from ..case import Failed, Group, Level, Options, expect, expect_equal
from ..stage import Stage

GROUP = Group("api")
_R, _E = Level.REQUIRED, Level.EXPECTED

_MANY = 200
_DATA = {"user": "ada", "server_name": "", "nested": {"a": [1, 2.5, None, True, 'ü"\\']}}


@GROUP.case("empty-at-start", _R, "jupyterhub/app.py:3877-3879")
async def _empty_at_start(stage: Stage) -> None:
    """As soon as ``start`` has returned, ``get_all_routes`` can be called, and returns a dict."""
    routes = await stage.proxy.get_all_routes()
    expect(isinstance(routes, dict), f"get_all_routes returned {type(routes).__name__}")


@GROUP.case(
    "round-trip", _R, "jupyterhub/proxy.py: Proxy.get_all_routes; its keys and targets are compared in check_routes"
)
async def _round_trip(stage: Stage) -> None:
    """``get_all_routes`` returns the routespec, target and data of each route exactly as they were added."""
    targets = {
        "/": "http://127.0.0.1:1001",
        "/user/ada/": "http://127.0.0.1:1002",
        "/user/b@c%20d%27/": "http://127.0.0.1:1003",
    }
    for routespec, target in targets.items():
        await stage.add(routespec, target, {**_DATA, "for": routespec})
    routes = await stage.proxy.get_all_routes()
    for routespec, target in targets.items():
        route = routes.get(routespec)
        if route is None:
            raise Failed(f"{routespec} is not among the routes {sorted(routes)}")
        data = {key: value for key, value in route["data"].items() if key not in ("last_activity", "jupyterhub")}
        expect_equal(route["routespec"], routespec, "the routespec")
        expect_equal(route["target"], target, f"the target of {routespec}")
        expect_equal(data, {**_DATA, "for": routespec}, f"the data of {routespec}")


@GROUP.case("get-route", _E, "jupyterhub/proxy.py: Proxy.get_route")
async def _get_route(stage: Stage) -> None:
    """``get_route`` returns the route of a routespec, and None where there is none."""
    await stage.add("/user/ada/", "http://127.0.0.1:1001", {"user": "ada"})
    route = await stage.proxy.get_route("/user/ada/")
    expect(route is not None, "get_route('/user/ada/') returned None")
    expect_equal((route or {}).get("target"), "http://127.0.0.1:1001", "the target")
    expect_equal(await stage.proxy.get_route("/user/bob/"), None, "get_route('/user/bob/')")


@GROUP.case("without-slash", _E, "jupyterhub/proxy.py: Proxy.validate_routespec")
async def _without_slash(stage: Stage) -> None:
    """A routespec without the trailing slash is the same as one with it."""
    backend = await stage.backend("ada")
    await stage.add("/user/ada", backend)
    expect("/user/ada/" in await stage.proxy.get_all_routes(), "/user/ada/ is not among the routes")
    await stage.expect_by(backend, "/user/ada/")
    await stage.proxy.delete_route("/user/ada")
    expect("/user/ada/" not in await stage.proxy.get_all_routes(), "/user/ada/ is still among the routes")


@GROUP.case("add-again", _R, "jupyterhub/proxy.py:465-467: extra routes are added again at each check")
async def _add_again(stage: Stage) -> None:
    """Adding a route again changes nothing, however often it is done."""
    backend = await stage.backend("ada")
    for _ in range(3):
        await stage.add("/user/ada/", backend, {"user": "ada"})
    await stage.expect_by(backend, "/user/ada/")
    expect_equal(list(await stage.proxy.get_all_routes()), ["/user/ada/"], "the routes")


@GROUP.case("replace", _R, "jupyterhub/proxy.py: check_routes adds a route anew when its target has changed")
async def _replace(stage: Stage) -> None:
    """Adding a routespec with another target and other data replaces both."""
    await stage.add("/user/ada/", "http://127.0.0.1:1001", {"user": "old"})
    await stage.add("/user/ada/", "http://127.0.0.1:1002", {"user": "new"})
    route = (await stage.proxy.get_all_routes())["/user/ada/"]
    expect_equal((route["target"], route["data"].get("user")), ("http://127.0.0.1:1002", "new"), "target and user")


@GROUP.case("delete", _R, "jupyterhub/proxy.py: Proxy.delete_route")
async def _delete(stage: Stage) -> None:
    """``get_all_routes`` no longer returns a deleted route, and still returns all others."""
    for name in ("ada", "bob"):
        await stage.add(f"/user/{name}/", "http://127.0.0.1:1001", {"user": name})
    await stage.proxy.delete_route("/user/ada/")
    expect_equal(list(await stage.proxy.get_all_routes()), ["/user/bob/"], "the routes")


@GROUP.case(
    "delete-missing", _R, "jupyterhub/docs/source/howto/proxy.md: deleting a route that does not exist must not fail"
)
async def _delete_missing(stage: Stage) -> None:
    """Deleting a route that does not exist does not raise."""
    await stage.proxy.delete_route("/user/nobody/")


@GROUP.case("bad-routespec", _R, "jupyterhub/proxy.py: Proxy.validate_routespec")
async def _bad_routespec(stage: Stage) -> None:
    """Without host routing, adding a routespec that starts with a host raises ValueError."""
    try:
        await stage.add("hub.example.org/user/ada/", "http://127.0.0.1:1001")
    except ValueError:
        return
    raise Failed("it was accepted")


@GROUP.case("host-needed", _E, "jupyterhub/proxy.py: Proxy.validate_routespec", options=Options(host_routing=True))
async def _host_needed(stage: Stage) -> None:
    """With host routing, adding a routespec without a host raises ValueError, except for ``/``."""
    await stage.add("/", "http://127.0.0.1:1001")
    try:
        await stage.add("/user/ada/", "http://127.0.0.1:1001")
    except ValueError:
        return
    raise Failed("it was accepted")


@GROUP.case("many-at-once", _R, "jupyterhub/proxy.py:475: check_routes changes all routes in one gather", seconds=90)
async def _many_at_once(stage: Stage) -> None:
    """Hundreds of routes can be added and deleted concurrently, and none is lost or left over."""
    specs = [f"/user/{number:03}/" for number in range(_MANY)]
    await asyncio.gather(*(stage.add(spec, "http://127.0.0.1:1001") for spec in specs))
    expect_equal(sorted(await stage.proxy.get_all_routes()), specs, "the routes after adding")
    await asyncio.gather(*(stage.proxy.delete_route(spec) for spec in specs[::2]))
    expect_equal(sorted(await stage.proxy.get_all_routes()), specs[1::2], "the routes after deleting every second one")


@GROUP.case("one-fails", _R, "jupyterhub/proxy.py:475: when one call in a gather raises, the others go on", seconds=60)
async def _one_fails(stage: Stage) -> None:
    """When one of several concurrent changes is refused, the others are made."""
    backend = await stage.backend("ada")
    specs = ["/user/a/", "no-host-here/", "/user/b/"]
    results = await asyncio.gather(*(stage.add(spec, backend) for spec in specs), return_exceptions=True)
    expect(isinstance(results[1], Exception), "the bad routespec was accepted")
    expect_equal((results[0], results[2]), (None, None), "the results of the others")
    expect_equal(sorted(await stage.proxy.get_all_routes()), ["/user/a/", "/user/b/"], "the routes")


@GROUP.case("fresh-copies", _E, "jupyterhub/tests/conftest.py: JupyterHub's tests change what get_all_routes returns")
async def _fresh_copies(stage: Stage) -> None:
    """Modifying what ``get_all_routes`` returned, or the data that was added, changes no route."""
    data = {"user": "ada", "list": [1]}
    await stage.add("/user/ada/", "http://127.0.0.1:1001", data)
    data["list"] = "changed"
    route = (await stage.proxy.get_all_routes())["/user/ada/"]
    route["data"]["user"] = "changed"
    route["target"] = "changed"
    again = (await stage.proxy.get_all_routes())["/user/ada/"]
    expect_equal(
        (again["target"], again["data"].get("user"), again["data"].get("list")),
        ("http://127.0.0.1:1001", "ada", [1]),
        "what is returned the second time",
    )
