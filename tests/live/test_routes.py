"""Routes through a real Traefik keep JupyterHub's contract for a proxy (jupyterhub/proxy.py, class Proxy)."""

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
    """What differs between any two versions of the file: inode, time, content (the revision included)."""
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
async def test_a_route_is_got_as_it_was_added(proxy: TraefikTomlProxy, routespec: str) -> None:
    """Routespec (with the trailing slash that JupyterHub gives it), target and data come back to the byte."""
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


async def test_what_is_got_are_fresh_copies(proxy: TraefikTomlProxy) -> None:
    """Whatever the Hub does to a dict that it gave or was given, the route table stays as it is."""
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


async def test_a_route_serves_its_prefix_on_whole_segments(proxy: TraefikTomlProxy, make_backend: BackendMaker) -> None:
    """``/user/a`` serves ``/user/a``, ``/user/a/``, ``/user/a?x=1`` and ``/user/a/b``, but never ``/user/ab``."""
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
async def test_a_trailing_slash_makes_no_other_route(
    proxy: TraefikTomlProxy, make_backend: BackendMaker, added: str, deleted: str
) -> None:
    """With and without it, a routespec is the same route: one to get, to serve and to delete."""
    alice = await make_backend("alice")
    await proxy.add_route(added, alice.url, {})
    assert (await get(proxy.public_url, "/user/a/x")).by == "alice"
    assert list(await proxy.get_all_routes()) == ["/user/a/"]

    await proxy.delete_route(deleted)

    assert await proxy.get_all_routes() == {}
    assert (await get(proxy.public_url, "/user/a/x")).status == 404


@pytest.mark.parametrize(("first", "second"), [("/user/a/", "/user/a/server/"), ("/user/a/server/", "/user/a/")])
async def test_a_default_server_and_a_named_one_come_and_go_without_each_other(
    proxy: TraefikTomlProxy, make_backend: BackendMaker, first: str, second: str
) -> None:
    """A named server lies under the default server's path; removing either leaves the other as it was."""
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
    """A server that was started again is on another port; the next request goes there, every time."""
    backends = [await make_backend(f"start {number}") for number in range(4)]

    served = []
    for backend in backends * 5:
        await proxy.add_route("/user/a/", backend.url, {})
        served.append((await get(proxy.public_url, "/user/a/")).by)

    assert [backend.name for backend in backends] * 5 == served


async def test_every_route_is_live_when_its_own_add_returns(
    proxy: TraefikTomlProxy, make_backend: BackendMaker
) -> None:
    """Also when hundreds are added at once, each call returns only when its route is served, or is not any more."""
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
    """As configurable-http-proxy does for extra_routes: ``/docs/x`` at a target ``/site`` asks for ``/site/docs/x``."""
    site = await make_backend("site")
    await proxy.add_route("/docs/", site.url + "/site", {"extra": True})
    await proxy.add_route("/slash/", site.url + "/site/", {"extra": True})

    paths = ["/docs", "/docs/", "/docs/x?y=1", "/slash", "/slash/x"]
    arrived = [(await get(proxy.public_url, path)).seen["path"] for path in paths]

    assert ["/site" + path for path in paths] == arrived
    assert (await proxy.get_all_routes())["/slash/"]["target"] == site.url + "/site/"


async def test_a_target_without_a_path_gets_the_request_s_alone(
    proxy: TraefikTomlProxy, make_backend: BackendMaker
) -> None:
    """Changing between a target with a path and one without leaves nothing of the old one."""
    site = await make_backend("site")

    arrived = []
    for path in ("", "/a", "", "/", "/a/b"):
        await proxy.add_route("/docs/", site.url + path, {})
        arrived.append((await get(proxy.public_url, "/docs/x")).seen["path"])

    assert arrived == ["/docs/x", "/a/docs/x", "/docs/x", "/docs/x", "/a/b/docs/x"]


async def test_an_unchanged_add_writes_nothing(proxy: TraefikTomlProxy, make_backend: BackendMaker) -> None:
    """The Hub re-adds every extra route at each check; the file stays the same one, revision included."""
    site = await make_backend("site")
    data = {"extra": True, "order": {"b": 1, "a": 2}}
    await proxy.add_route("/docs/", site.url + "/site", data)
    await proxy.add_route("/user/a/", site.url, {})
    before = _state(proxy)

    await proxy.add_route("/docs", site.url + "/site", dict(data))
    await asyncio.gather(*(proxy.add_route("/docs/", site.url + "/site", data) for _ in range(50)))

    assert before == _state(proxy)


async def test_changed_data_alone_is_kept(proxy: TraefikTomlProxy) -> None:
    """The same target with other data is a change, and the last one stays."""
    await proxy.add_route("/user/a/", "http://127.0.0.1:1", {"server_name": ""})
    await proxy.add_route("/user/a/", "http://127.0.0.1:1", {"server_name": "b"})

    assert (await proxy.get_route("/user/a/") or {})["data"] == {"server_name": "b"}


async def test_deleting_what_is_not_there_only_warns(proxy: TraefikTomlProxy, caplog: pytest.LogCaptureFixture) -> None:
    """The Hub deletes routes to be sure; nothing is written, and one line names the routespec."""
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
    """A host without host routing, or none with it, is refused by every call, as JupyterHub's tests ask."""
    proxy = make_proxy(host_routing=host_routing)
    await proxy.start()

    with pytest.raises(ValueError, match="using host-routing"):
        await proxy.add_route(routespec, "http://127.0.0.1:1", {})
    with pytest.raises(ValueError, match="using host-routing"):
        await proxy.get_route(routespec)
    with pytest.raises(ValueError, match="using host-routing"):
        await proxy.delete_route(routespec)
    assert await proxy.get_all_routes() == {}


async def test_hosts_have_routes_of_their_own(make_proxy: ProxyMaker, make_backend: BackendMaker) -> None:
    """With host routing the host, whatever its case and port, and the path decide; `/` is for all hosts."""
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


async def test_a_host_of_its_own_comes_before_the_route_for_all_hosts(
    make_proxy: ProxyMaker, make_backend: BackendMaker
) -> None:
    """Also at the root: as many hosts as there are, each has its own, and any other has the Hub's."""
    proxy = make_proxy(host_routing=True)
    await proxy.start()
    backend = await make_backend("all")
    hosts = [f"h{number}.example.org" for number in range(40)]
    await proxy.add_route("/", f"{backend.url}/hub", {})
    await asyncio.gather(*(proxy.add_route(f"{host}/", f"{backend.url}/{host}", {}) for host in hosts))

    arrived = [(await get(proxy.public_url, "/x", host=host)).seen["path"] for host in [*hosts, "h.example.org"]]

    assert [f"/{host}/x" for host in [*hosts, "hub"]] == arrived


async def test_a_hub_at_a_base_url(proxy: TraefikTomlProxy, make_backend: BackendMaker) -> None:
    """Below ``/@/space%20word/`` everything is served in each spelling of the prefix, and nothing beside it is."""
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
    """The Hub may delete a route before it starts the proxy; an add, which could not be served, is an error."""
    proxy = make_proxy()

    await proxy.delete_route("/user/a/")

    assert await proxy.get_all_routes() == {}
    assert await proxy.get_route("/user/a/") is None
    with pytest.raises(ProxyError, match="has not been started"):
        await proxy.add_route("/user/a/", "http://127.0.0.1:1", {})
