"""With a real Traefik, routes keep JupyterHub's contract for proxies (jupyterhub/proxy.py, class Proxy)."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from support.backend import get
from support.fixtures import BackendMaker, ProxyMaker

from traefik_toml_proxy import ProxyError, TraefikTomlProxy


def _state(proxy: TraefikTomlProxy) -> tuple[int, int, bytes]:
    """Return what differs between any two versions of the file: inode, time and content."""
    path = Path(proxy.state_dir) / "dynamic.toml"
    status = path.stat()
    return status.st_ino, status.st_mtime_ns, path.read_bytes()


ROUTESPECS = [
    "/",
    "/has%20space/foo/",
    "/missing-trailing/slash",
    "/has/@/",
    "/has/" + quote("üñîçø∂é"),
    "/has/üñîçø∂é/",
    "/has/%c3%a9/",
    "/%41/needless%7Eescapes",
    "/UPPER/Case/",
    "/@/space%20word/user/a/",
    "//leading/slashes",
    "/in//the/middle/",
]


@pytest.mark.parametrize("routespec", ROUTESPECS)
async def test_a_route_is_returned_as_it_was_added(proxy: TraefikTomlProxy, routespec: str) -> None:
    """Routespec (with JupyterHub's trailing slash), target and data come back byte for byte."""
    target = "https://LOCALHOST:1234/Path/%7e/"
    data: dict[str, Any] = {"user": "ä", "server_name": "", "n": [1, 2.5, None, True, {"deep": {}}]}
    key = routespec.rstrip("/") + "/"
    expected = {"routespec": key, "target": target, "data": data}

    await proxy.add_route(routespec, target, data)

    assert expected == await proxy.get_route(routespec)
    assert expected == await proxy.get_route(key)
    assert {key: expected} == await proxy.get_all_routes()

    await proxy.delete_route(routespec)
    assert await proxy.get_route(routespec) is None
    assert await proxy.get_all_routes() == {}


async def test_returned_routes_are_copies(proxy: TraefikTomlProxy) -> None:
    """Changing a dict that was passed in or returned does not change the route table."""
    given = {"user": "a", "list": [1]}
    await proxy.add_route("/user/a/", "http://127.0.0.1:1", given)
    expected = {"routespec": "/user/a/", "target": "http://127.0.0.1:1", "data": {"user": "a", "list": [1]}}

    given["list"].append(2)  # type: ignore[attr-defined] # a list, as was just written
    one, all_of_them = await proxy.get_route("/user/a/"), await proxy.get_all_routes()
    assert one is not None
    one["data"]["list"].clear()
    one["data"].pop("user")
    all_of_them["/user/a/"]["data"]["list"].append(3)
    all_of_them.clear()

    assert expected == await proxy.get_route("/user/a/")
    assert {"/user/a/": expected} == await proxy.get_all_routes()


async def test_a_route_matches_its_prefix_on_whole_segments(
    proxy: TraefikTomlProxy, make_backend: BackendMaker
) -> None:
    """``/user/a`` matches ``/user/a``, ``/user/a/``, ``/user/a?x=1`` and ``/user/a/b``, but not ``/user/ab``."""
    hub, alice = await make_backend("hub"), await make_backend("alice")
    await proxy.add_route("/", hub.url, {})
    await proxy.add_route("/user/a", alice.url, {})

    paths = ["/user/a", "/user/a/", "/user/a?x=1", "/user/a/?x=1", "/user/a/b", "/user/a//", "/user/a/b/c?d#e"]
    served = [(await get(proxy.public_url, path)).by for path in paths]
    others = ["/user/ab", "/user/ab/", "/user", "/user/", "/USER/a/", "/user/A/", "/x/user/a/", "/user/a%2Fb", "/"]
    not_served = [(await get(proxy.public_url, path)).by for path in others]

    assert ["alice"] * len(paths) == served
    assert ["hub"] * len(others) == not_served


@pytest.mark.parametrize("added", ["/user/a", "/user/a/"])
@pytest.mark.parametrize("deleted", ["/user/a", "/user/a/"])
async def test_a_trailing_slash_makes_no_difference(
    proxy: TraefikTomlProxy, make_backend: BackendMaker, added: str, deleted: str
) -> None:
    """With or without it, a routespec names the same route in every call."""
    alice = await make_backend("alice")
    await proxy.add_route(added, alice.url, {})
    assert (await get(proxy.public_url, "/user/a/x")).by == "alice"
    assert list(await proxy.get_all_routes()) == ["/user/a/"]

    await proxy.delete_route(deleted)

    assert await proxy.get_all_routes() == {}
    assert (await get(proxy.public_url, "/user/a/x")).status == 404


@pytest.mark.parametrize(("first", "second"), [("/user/a/", "/user/a/server/"), ("/user/a/server/", "/user/a/")])
async def test_a_default_server_and_a_named_one_are_independent(
    proxy: TraefikTomlProxy, make_backend: BackendMaker, first: str, second: str
) -> None:
    """A named server is below the default server's path; deleting either leaves the other as it was."""
    backends = {"/": await make_backend("hub"), first: await make_backend(first), second: await make_backend(second)}
    for routespec, backend in backends.items():
        await proxy.add_route(routespec, backend.url, {})
    asked = ["/user/a/server", "/user/a/server/x", "/user/a/serverx", "/user/a/x", "/user/a"]
    below = {"/user/a/": [path for path in asked if path in asked[2:]], "/user/a/server/": asked[:2]}

    async def answers() -> dict[str, str | None]:
        return {path: (await get(proxy.public_url, path)).by for path in asked}

    both = {path: routespec for routespec, paths in below.items() for path in paths}
    assert both == await answers()

    await proxy.delete_route(first)
    fallback = {"/user/a/": "/", "/user/a/server/": "/user/a/"}[first]
    now = both | dict.fromkeys(below[first], backends.get(fallback, backends["/"]).name)
    assert now == await answers()

    await proxy.add_route(first, backends[first].url, {})
    assert both == await answers()


async def test_a_changed_target_is_live_when_add_returns(proxy: TraefikTomlProxy, make_backend: BackendMaker) -> None:
    """A restarted server has another port; the next request always goes there."""
    backends = [await make_backend(f"start {number}") for number in range(4)]

    served = []
    for backend in backends * 5:
        await proxy.add_route("/user/a/", backend.url, {})
        served.append((await get(proxy.public_url, "/user/a/")).by)

    assert [backend.name for backend in backends] * 5 == served


async def test_every_route_is_live_when_its_own_add_returns(
    proxy: TraefikTomlProxy, make_backend: BackendMaker
) -> None:
    """Even if hundreds are added or deleted at once, each call returns only when its own change is live."""
    backend = await make_backend("all")

    async def one_user(number: int) -> tuple[str | None, int]:
        routespec = f"/user/u{number}/"
        await proxy.add_route(routespec, backend.url, {"user": f"u{number}"})
        served = (await get(proxy.public_url, routespec)).by
        await proxy.delete_route(routespec)
        return served, (await get(proxy.public_url, routespec)).status

    outcomes = await asyncio.gather(*map(one_user, range(200)))

    assert outcomes == [("all", 404)] * 200
    assert await proxy.get_all_routes() == {}


async def test_the_path_of_a_target_is_put_before_the_request_s(
    proxy: TraefikTomlProxy, make_backend: BackendMaker
) -> None:
    """As with configurable-http-proxy, a request for ``/docs/x`` reaches a target ``/site`` as ``/site/docs/x``."""
    site = await make_backend("site")
    await proxy.add_route("/docs/", site.url + "/site", {"extra": True})
    await proxy.add_route("/slash/", site.url + "/site/", {"extra": True})

    paths = ["/docs", "/docs/", "/docs/x?y=1", "/slash", "/slash/x"]
    arrived = [(await get(proxy.public_url, path)).seen["path"] for path in paths]

    assert ["/site" + path for path in paths] == arrived
    assert (await proxy.get_all_routes())["/slash/"]["target"] == site.url + "/site/"


async def test_a_target_without_a_path_gets_only_the_request_s_path(
    proxy: TraefikTomlProxy, make_backend: BackendMaker
) -> None:
    """Nothing of the old target's path remains after a change."""
    site = await make_backend("site")

    arrived = []
    for path in ("", "/a", "", "/", "/a/b"):
        await proxy.add_route("/docs/", site.url + path, {})
        arrived.append((await get(proxy.public_url, "/docs/x")).seen["path"])

    assert arrived == ["/docs/x", "/a/docs/x", "/docs/x", "/docs/x", "/a/b/docs/x"]


async def test_an_unchanged_add_writes_nothing(proxy: TraefikTomlProxy, make_backend: BackendMaker) -> None:
    """The Hub adds its extra routes again at each check; the file and its revision stay the same."""
    site = await make_backend("site")
    data = {"extra": True, "order": {"b": 1, "a": 2}}
    await proxy.add_route("/docs/", site.url + "/site", data)
    await proxy.add_route("/user/a/", site.url, {})
    before = _state(proxy)

    await proxy.add_route("/docs", site.url + "/site", dict(data))
    await asyncio.gather(*(proxy.add_route("/docs/", site.url + "/site", data) for _ in range(50)))

    assert before == _state(proxy)


async def test_changed_data_alone_is_kept(proxy: TraefikTomlProxy) -> None:
    """The same target with other data is a change."""
    await proxy.add_route("/user/a/", "http://127.0.0.1:1", {"server_name": ""})
    await proxy.add_route("/user/a/", "http://127.0.0.1:1", {"server_name": "b"})

    assert (await proxy.get_route("/user/a/") or {})["data"] == {"server_name": "b"}


async def test_deleting_a_missing_route_only_warns(proxy: TraefikTomlProxy, caplog: pytest.LogCaptureFixture) -> None:
    """The Hub may delete a route that is not there; nothing is written, and a warning names the routespec."""
    await proxy.add_route("/user/a/", "http://127.0.0.1:1", {})
    before = _state(proxy)
    caplog.clear()

    await proxy.delete_route("/user/a/b")
    await proxy.delete_route("/user/%zz/")

    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert warnings == ["There is no route '/user/a/b/' to delete", "There is no route '/user/%zz/' to delete"]
    assert before == _state(proxy)


@pytest.mark.parametrize(("host_routing", "routespec"), [(False, "host.name/path/"), (True, "/path/")])
async def test_a_routespec_of_the_other_kind_is_a_value_error(
    make_proxy: ProxyMaker, host_routing: bool, routespec: str
) -> None:
    """Every call refuses a host without host routing, or a missing one with it, as JupyterHub's tests require."""
    proxy = make_proxy(host_routing=host_routing)
    await proxy.start()

    with pytest.raises(ValueError, match="using host-routing"):
        await proxy.add_route(routespec, "http://127.0.0.1:1", {})
    with pytest.raises(ValueError, match="using host-routing"):
        await proxy.get_route(routespec)
    with pytest.raises(ValueError, match="using host-routing"):
        await proxy.delete_route(routespec)
    assert await proxy.get_all_routes() == {}


async def test_with_host_routing_each_host_has_its_own_routes(
    make_proxy: ProxyMaker, make_backend: BackendMaker
) -> None:
    """The host, whatever its case and port, and the path decide; ``/`` is for all hosts."""
    proxy = make_proxy(host_routing=True)
    await proxy.start()
    names = ["hub", "a", "a-named", "b", "services", "longer"]
    hub, a, named, b, services, longer = [await make_backend(name) for name in names]
    await proxy.add_route("/", hub.url, {"hub": True})
    await proxy.add_route("a.example.org/user/a", a.url, {})
    await proxy.add_route("a.example.org/user/a/named/", named.url, {})
    await proxy.add_route("B.Example.org/user/b/", b.url, {})
    await proxy.add_route("services.example.org/services/it's/", services.url, {})
    await proxy.add_route("host.name//has%20space/foo/", longer.url, {})

    asked = {
        ("a.example.org", "/user/a"): "a",
        ("A.EXAMPLE.org:8000", "/user/a/x"): "a",
        ("a.example.org.", "/user/a/"): "a",
        ("a.example.org", "/user/a/named/x"): "a-named",
        ("a.example.org", "/user/ab"): "hub",
        ("a.example.org", "/"): "hub",
        ("xa.example.org", "/user/a/"): "hub",
        ("b.example.org", "/user/a/"): "hub",
        ("b.example.org", "/user/b/"): "b",
        ("services.example.org", "/services/it%27s/"): "services",
        ("host.name", "//has%20space/foo/x"): "longer",
        ("127.0.0.1", "/user/a/"): "hub",
        ("[::1]:8000", "/user/a/"): "hub",
    }
    answers = {(host, path): (await get(proxy.public_url, path, host=host)).by for host, path in asked}

    assert asked == answers
    assert (await proxy.get_route("B.Example.org/user/b") or {})["routespec"] == "B.Example.org/user/b/"


async def test_a_host_s_own_route_has_priority_over_the_one_for_all_hosts(
    make_proxy: ProxyMaker, make_backend: BackendMaker
) -> None:
    """That holds at the root as well: each host has its own route, and any other gets the Hub's."""
    proxy = make_proxy(host_routing=True)
    await proxy.start()
    backend = await make_backend("all")
    hosts = [f"h{number}.example.org" for number in range(40)]
    await proxy.add_route("/", f"{backend.url}/hub", {})
    await asyncio.gather(*(proxy.add_route(f"{host}/", f"{backend.url}/{host}", {}) for host in hosts))

    arrived = [(await get(proxy.public_url, "/x", host=host)).seen["path"] for host in [*hosts, "h.example.org"]]

    assert [f"/{host}/x" for host in [*hosts, "hub"]] == arrived


async def test_a_hub_at_a_base_url(proxy: TraefikTomlProxy, make_backend: BackendMaker) -> None:
    """Below ``/@/space%20word/``, every spelling of the prefix is served, and nothing outside it."""
    hub, alice = await make_backend("hub"), await make_backend("alice")
    await proxy.add_route("/@/space%20word/", hub.url, {"hub": True})
    await proxy.add_route("/@/space%20word/user/a/", alice.url, {"user": "a", "server_name": ""})

    paths = {
        "/@/space%20word/hub/login": "hub",
        "/%40/space%20word": "hub",
        "/@/space%20word/user/a/lab": "alice",
        "/%40/space%20word/user/a": "alice",
        "/@/space%20word/user/ab": "hub",
        "/@/space%20words/": None,
        "/@/space+word/": None,
        "/@/": None,
        "/": None,
        "/user/a/": None,
    }
    assert paths == {path: (await get(proxy.public_url, path)).by for path in paths}


async def test_before_start_there_are_no_routes(make_proxy: ProxyMaker) -> None:
    """The Hub may delete a route before it starts the proxy; adding one is an error."""
    proxy = make_proxy()

    await proxy.delete_route("/user/a/")

    assert await proxy.get_all_routes() == {}
    assert await proxy.get_route("/user/a/") is None
    with pytest.raises(ProxyError, match="has not been started"):
        await proxy.add_route("/user/a/", "http://127.0.0.1:1", {})
