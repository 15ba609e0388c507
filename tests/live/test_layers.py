"""In a real Traefik, layers route as a flat table does, and as configurable-http-proxy does."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from support.backend import get
from support.chp import CHP_COMMAND, Chp
from support.fixtures import BackendMaker, ProxyMaker
from support.hostile import LONG_TEXTS, NAMES, as_browsers_send, escaped
from support.strategies import read_toml

from traefik_toml_proxy import TraefikTomlProxy
from traefik_toml_proxy.errors import ConfigurationError
from traefik_toml_proxy.routes import Route
from traefik_toml_proxy.traefik import layers
from traefik_toml_proxy.traefik.names import Names

# Names that configurable-http-proxy accepts, too: not too long, and without an encoded slash.
SHORT_NAMES = [name for name in NAMES if name not in LONG_TEXTS and "/" not in name]

# Users and their named servers, names with common prefixes, a user with many servers, other places.
ROUTES = [
    "/",
    *(f"/user/{escaped(name)}/" for name in SHORT_NAMES),
    *(f"/user/{escaped(name)}/{escaped(name)}/" for name in SHORT_NAMES[::5]),
    *(f"/user/student{number:04}/" for number in range(0, 300, 3)),
    *(f"/user/busy/{number}/" for number in range(150)),
    "/user/busy/",
    "/services/two words/",
    "/services/x@y/",
    "/@/space%20word/user/a/",
]
# All users' names have a common prefix, so the routes outside it have their own parent.
STUDENTS = [routespec for routespec in ROUTES if "/user/" not in routespec or "/student" in routespec]
RESERVED = ["/", "/user/busy/", "/services/x@y/", *(f"/user/@{number:04}/" for number in range(0, 300, 3))]
REQUESTS = [
    "/",
    "/hub/login?next=%2Fuser%2Fa%2F",
    "/user",
    "/user/",
    "/user//",
    "/user/studen",
    "/user/student",
    "/user/student/0003",
    "/services/x%40y/z",
    "/services/two%20words",
    "/%40/space%20word/user/a/x",
    *(f"/user/student{number:04}{after}" for number in range(30) for after in ("", "/", "/lab", "x")),
    *(f"/user/{at}{number:04}{after}" for at in ("@", "%40") for number in range(7) for after in ("", "/lab", "x")),
    *(f"/user/busy/{number}{after}" for number in range(0, 160, 7) for after in ("", "/", "/lab", "x")),
    *(f"/user/busy{after}" for after in ("", "/", "//", "/lab", "x")),
    *(
        f"/user/{form(name)}{after}"
        for name in SHORT_NAMES
        for form in (escaped, as_browsers_send)
        for after in ("", "/lab", "x", f"/{escaped(name)}/lab", f"/{escaped(name)}x")
    ),
]

HOST_ROUTES = [
    "/",
    *(f"u-{number:03}.example.org/" for number in range(0, 300, 3)),
    *(f"{host}/user/{name}/" for host in ("a.example.org", "ab.example.org", "b") for name in ("x", "xy", "x@y", "z")),
    "a.example.org/",
    "a/",
    "a.b/",
    "a-b/",
    "a_b/",
]
# All but one have a common prefix.
HOSTS_OF_USERS = ["/", *(routespec for routespec in HOST_ROUTES if routespec.startswith(("u-", "a.example.org/")))]
HOST_REQUESTS = [
    (host, path)
    for host in (
        *(f"u-{number:03}.example.org" for number in range(30)),
        *("a.example.org", "ab.example.org", "b", "a", "a.b", "a-b", "a_b", "a.", "a.b.", "ab", "u-003", "127.0.0.1"),
        *("u-003.example.org:8000", "U-003.example.org", "u-003.example.org.", "u-003.example.org.evil.example"),
        *("xu-003.example.org", "example.u-003.org", "v-003.example.org", "t-003.example.org"),
    )
    for path in ("/", "/user/x", "/user/xy/z", "/user/x@y/", "/user/x%40y", "/user/")
]


async def _route(proxy: TraefikTomlProxy, make_backend: BackendMaker, routespecs: list[str]) -> dict[str, str]:
    """Add routes whose targets' paths show which of them a request has taken."""
    backend = await make_backend("all")
    tags = {f"route-{number}": routespec for number, routespec in enumerate(routespecs)}
    await asyncio.gather(*(proxy.add_route(spec, f"{backend.url}/{tag}", {}) for tag, spec in tags.items()))
    return tags


async def _route_chp(chp: Chp, proxy: TraefikTomlProxy) -> None:
    for routespec, route in (await proxy.get_all_routes()).items():
        await chp.add_route(routespec, route["target"])


async def _taken(url: str, requests: list[tuple[str | None, str]], tags: dict[str, str]) -> dict[object, object]:
    """Return, for each request (a host and a path), the routespec of its route, or the status if it has none."""
    taken: dict[object, object] = {}
    for host, path in requests:
        answer = await get(url, path, host=host)
        taken[host, path] = tags[answer.seen["path"].split("/")[1]] if answer.seen else answer.status
    return taken


async def _flatten(proxy: TraefikTomlProxy, monkeypatch: pytest.MonkeyPatch, more: str = "/flat/") -> None:
    """Make the proxy write a flat table; it adds a route that no request matches."""
    assert _layered(proxy)
    monkeypatch.setattr(layers, "FEW_ROUTES", 1_000_000)
    await proxy.add_route(more, "http://127.0.0.1:1", {})
    assert not _layered(proxy)


def _routers(proxy: TraefikTomlProxy) -> dict[str, dict[str, Any]]:
    text = Path(proxy.state_dir, "dynamic.toml").read_text(encoding="utf-8")
    routers: dict[str, dict[str, Any]] = read_toml(text)["http"]["routers"]
    return routers


def _layered(proxy: TraefikTomlProxy) -> bool:
    """Return whether a route has a parent that is itself a child, of the front routers."""
    routers = _routers(proxy)
    return any("parentRefs" in routers[name] for router in routers.values() for name in router.get("parentRefs", ()))


def _has_one_outside(proxy: TraefikTomlProxy) -> bool:
    return any("!(" in router["rule"] for router in _routers(proxy).values())


@pytest.mark.parametrize(
    ("routespecs", "one_outside"),
    [(ROUTES, False), (ROUTES[1:], False), (STUDENTS, True), (STUDENTS[1:], True), (RESERVED, True)],
    ids=["with the Hub", "without the Hub", "students", "students without the Hub", "reserved"],
)
async def test_requests_take_the_routes_of_a_flat_table(
    proxy: TraefikTomlProxy,
    make_backend: BackendMaker,
    monkeypatch: pytest.MonkeyPatch,
    routespecs: list[str],
    one_outside: bool,
) -> None:
    """Requests that match a parent but none of its children go to the Hub, or get 404 if there is no route for it."""
    tags = await _route(proxy, make_backend, routespecs)
    requests: list[tuple[str | None, str]] = [(None, path) for path in REQUESTS]
    assert _has_one_outside(proxy) == one_outside

    in_layers = await _taken(proxy.public_url, requests, tags)
    await _flatten(proxy, monkeypatch)

    assert await _taken(proxy.public_url, requests, tags) == in_layers


@pytest.mark.skipif(CHP_COMMAND is None, reason="configurable-http-proxy is not installed")
@pytest.mark.parametrize("routespecs", [ROUTES, STUDENTS, RESERVED], ids=["all", "students", "reserved"])
async def test_requests_take_the_routes_of_chp(
    proxy: TraefikTomlProxy, make_backend: BackendMaker, routespecs: list[str]
) -> None:
    """configurable-http-proxy is the reference, for hundreds of routes as for a few.

    Its own table fails (500) for what it does not know that is or lies below a name that every JavaScript object has.
    """
    tags = await _route(proxy, make_backend, routespecs)
    names = ("constructor", "__proto__")
    failing = tuple(f"/user/{name}" + (f"/{name}/lab" if f"/user/{name}/" in routespecs else "") for name in names)
    requests: list[tuple[str | None, str]] = [(None, path) for path in REQUESTS if not path.startswith(failing)]
    assert _layered(proxy)

    async with Chp() as chp:
        await _route_chp(chp, proxy)
        expected = await _taken(chp.url, requests, tags)

    assert expected == await _taken(proxy.public_url, requests, tags)


@pytest.mark.parametrize(
    ("routespecs", "one_outside"), [(HOST_ROUTES, False), (HOSTS_OF_USERS, True)], ids=["all", "of users"]
)
async def test_hosts_are_distinguished_as_in_a_flat_table(
    make_proxy: ProxyMaker,
    make_backend: BackendMaker,
    monkeypatch: pytest.MonkeyPatch,
    routespecs: list[str],
    one_outside: bool,
) -> None:
    """There is a host for each user; some have a common prefix or a dot at the end."""
    proxy = make_proxy(host_routing=True)
    await proxy.start()
    tags = await _route(proxy, make_backend, routespecs)
    requests: list[tuple[str | None, str]] = list(HOST_REQUESTS)
    assert _has_one_outside(proxy) == one_outside

    in_layers = await _taken(proxy.public_url, requests, tags)
    await _flatten(proxy, monkeypatch, "flat.example.org/")

    assert await _taken(proxy.public_url, requests, tags) == in_layers


async def test_a_flat_table_grows_into_layers_and_back(proxy: TraefikTomlProxy, make_backend: BackendMaker) -> None:
    """Each route is live when it is added, even the one that turns the table into layers."""
    backend = await make_backend("all")
    names = [f"/user/{number}/" for number in range(layers.FEW_ROUTES + 5)]
    seen = []
    for number, routespec in enumerate(names):
        await proxy.add_route(routespec, f"{backend.url}/{number}", {})
        seen.append((await get(proxy.public_url, f"{routespec}lab")).seen["path"])
    grown = _layered(proxy)
    for routespec in names[:10]:
        await proxy.delete_route(routespec)

    assert [f"/{number}{routespec}lab" for number, routespec in enumerate(names)] == seen
    assert grown
    assert not _layered(proxy)
    assert [(await get(proxy.public_url, routespec)).status for routespec in names[8:12]] == [404, 404, 200, 200]


async def test_the_admin_can_add_to_any_router(make_proxy: ProxyMaker, make_backend: BackendMaker) -> None:
    """A middleware works in layers; what belongs to the front routers is refused before anything starts."""
    routespecs = [f"/user/{number}/" for number in range(layers.FEW_ROUTES)]
    name = Names().route(Route.checked("/user/7/", "http://127.0.0.1:1", {}))
    mark = {"headers": {"customResponseHeaders": {"X-Mark": "seven"}}}
    router: dict[str, Any] = {"middlewares": ["mark"]}
    extra = {"http": {"middlewares": {"mark": mark}, "routers": {name: router}}}
    proxy = make_proxy(extra_dynamic_config=extra)
    await proxy.start()
    tags = await _route(proxy, make_backend, routespecs)
    answers = [await get(proxy.public_url, f"/user/{number}/lab") for number in (6, 7)]
    await proxy.stop()

    assert [tags[answer.seen["path"].split("/")[1]] for answer in answers] == ["/user/6/", "/user/7/"]
    assert [answer.headers.get("x-mark") for answer in answers] == [None, "seven"]

    router["entryPoints"] = ["http"]
    with pytest.raises(ConfigurationError, match=name):
        await make_proxy(extra_dynamic_config=extra).start()
