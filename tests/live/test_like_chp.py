"""Requests reach the same server as with configurable-http-proxy, the reference for routing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import NamedTuple

import pytest
import pytest_asyncio
from support.backend import get
from support.chp import CHP_COMMAND, Chp
from support.fixtures import BackendMaker, ProxyMaker
from support.hostile import LONG_TEXTS, NAMES, as_browsers_send, escaped

from traefik_toml_proxy import TraefikTomlProxy
from traefik_toml_proxy.routes import Route, RouteTable

pytestmark = pytest.mark.skipif(
    CHP_COMMAND is None,
    reason="configurable-http-proxy is neither on PATH nor named by the environment variable CHP_COMMAND",
)

# Routespecs as JupyterHub makes them: for the Hub, users, named servers, services, and an admin's extra routes.
ROUTES = [
    "/",
    "/user/a/",
    "/user/ab/",
    "/user/a/b/",
    "/user/A/",
    "/user/a.b/",
    "/user/deep/er/and/deeper/",
    "/user/x@y.z/",
    "/user/it%27s/",
    "/user/plus%2Bsign/",
    "/user/two%20words/",
    "/user/%E7%A7%80%E6%A8%B9/",
    "/user/~/",
    "/user/semi%3Bcolon/",
    "/user/per%25cent/",
    "/user/server/with%2Fslash/",
    "/user/(%5B%7B%7C%7D%5D)%2A%3F%23/",
    "/services/two words/",
    "/services/it's/",
    "/services/a+b;c,d=e&f:g!h$i/",
    "/services/x@y/",
    "/services/(z)*/",
    "/services/üñîçø∂é/",
    "/%40/space%20word/user/a/",
]

# Paths as browsers and JupyterHub send them: from the address bar, links, redirects, JavaScript's encodeURIComponent.
REQUESTS = [
    "/",
    "/hub/login?next=%2Fuser%2Fa%2F",
    "/favicon.ico",
    "/user",
    "/user/",
    "/user/a",
    "/user/a/",
    "/user/a?x=1",
    "/user/a/?x=/user/ab/",
    "/user/a//",
    "/user/a//b",
    "/user//a/",
    "/user/a/x/../y",
    "/user/a/lab/tree/b",
    "/user/a/b",
    "/user/a/b/",
    "/user/a/b/c/d",
    "/user/a/bc",
    "/user/ab",
    "/user/ab/c",
    "/user/abc",
    "/user/A/",
    "/user/A/b/",
    "/USER/a/",
    "/user/a/files/x%2Fy%2Fz",
    "/user/a/proxy/8888/http://x//y",
    "/user/a.b",
    "/user/a.b/",
    "/user/a-b/",
    "/user/axb/",
    "/user/%61/",
    "/user/a%2Eb/",
    "/user/deep",
    "/user/deep/er",
    "/user/deep/er/and/deeper",
    "/user/deep/er/and/deeper/",
    "/user/deep/er/and/deeper/x/y",
    "/user/x@y.z/",
    "/user/x%40y.z/",
    "/user/x%40y%2Ez/lab",
    "/user/x",
    "/user/it's/",
    "/user/it%27s/",
    "/user/plus+sign/",
    "/user/plus%2Bsign/",
    "/user/plus%2bsign/",
    "/user/plus%20sign/",
    "/user/two%20words",
    "/user/two%20words/lab?x=two%20words",
    "/user/two+words/",
    "/user/two%2520words/",
    "/user/%E7%A7%80%E6%A8%B9/",
    "/user/%e7%a7%80%e6%a8%b9/lab",
    "/user/%E7%A7%80/",
    "/user/~/",
    "/user/%7E/",
    "/user/%7e",
    "/user/semi;colon/",
    "/user/semi%3Bcolon/",
    "/user/semi%3bcolon",
    "/user/semi/",
    "/user/per%25cent/",
    "/user/per%2525cent/",
    "/user/server/with%2Fslash/",
    "/user/server/with%2fslash/x",
    "/user/server/with",
    "/user/([%7B%7C%7D])*%3F%23/",
    "/user/(%5B%7B%7C%7D%5D)%2A%3F%23/x",
    "/user/%28%5B%7B%7C%7D%5D%29%2A%3F%23",
    "/user/(%5B%7B|%7D%5D)*%3F%23/",
    "/services/two%20words/",
    "/services/two%20words",
    "/services/it's/",
    "/services/it%27s/x",
    "/services/a+b;c,d=e&f:g!h$i/",
    "/services/a%2Bb%3Bc%2Cd%3De%26f%3Ag%21h%24i/",
    "/services/x@y/",
    "/services/x%40y",
    "/services/(z)*/",
    "/services/%28z%29%2A/x",
    "/services/%C3%BC%C3%B1%C3%AE%C3%A7%C3%B8%E2%88%82%C3%A9/x",
    "/services/z/",
    "/@/space%20word/user/a/",
    "/%40/space%20word/user/a/x",
    "/@/space%20word/user/",
    "/@/space+word/user/a",
    "/x/user/a/",
    "/x/user/x@y.z/",
    "/user/user/it%27s/",
]

# Host and path. A browser sends the host in lower case, and the port unless it is the scheme's default.
HOST_ROUTES = [
    "/",
    "a.example.org/user/a/",
    "a.example.org/",
    "b.example.org/user/b%27/x@y/",
    "u-0a--deadbeef.example.org/",
    "services.example.org/services/two words/",
    "localhost/deep/er/",
]
HOST_REQUESTS = [
    (host, path)
    for host in (
        "a.example.org",
        "a.example.org:8000",
        "b.example.org",
        "u-0a--deadbeef.example.org:443",
        "services.example.org",
        "example.org",
        "xa.example.org",
        "a.example.org.evil.example",
        "localhost:1234",
        "127.0.0.1",
    )
    for path in (
        "/",
        "/user/a",
        "/user/a/x",
        "/user/ab",
        "/user/b'/x@y/z",
        "/user/b%27/x%40y",
        "/services/two%20words/",
        "/deep",
        "/deep/er",
        "/deep/er/x?y",
    )
]


class Difference(NamedTuple):
    """A request that reaches another server, and why that is right."""

    ours: str | None
    chp: str | None
    why: str


# Neither browsers (they resolve dots themselves) nor JupyterHub send any of these.
DIFFERENCES = {
    "/user%2Fa/x": Difference("/", "/user/a/", "an encoded slash is part of a segment, and does not end one"),
    "/user/a%2Fx": Difference("/", "/user/a/", "an encoded slash is part of a segment, and does not end one"),
    "/user/a%2Fb/x": Difference("/", "/user/a/b/", "an encoded slash is part of a segment, and does not end one"),
    "/user/ab%2F": Difference("/", "/user/ab/", "an encoded slash is part of a segment, and does not end one"),
    "/user/server/with/slash/": Difference("/", "/user/server/with%2Fslash/", "and so it is in a routespec"),
    "//x/user/ab/": Difference("/", "/user/ab/", "a second slash does not begin a host"),
    "/user/a/../ab/": Difference("/user/a/", "/user/ab/", "dots are not resolved; browsers have done it"),
    "/user/a/%2e%2e/ab/": Difference("/user/a/", "/user/ab/", "dots are not resolved; browsers have done it"),
    "/x/../user/a/": Difference("/", "/user/a/", "dots are not resolved; browsers have done it"),
    "/user\\a/": Difference("/", "/user/a/", "a backslash is a character, not a slash"),
    "/user/%zz/": Difference(None, None, "400 here, 500 there: the path is no address"),
    "//": Difference("/", None, "500 there"),
    "/user/%FF/": Difference("/", None, "500 there: it is not UTF-8"),
    "/user/\xfc/": Difference("/", None, "400 there: raw bytes beyond ASCII"),
    "*": Difference(None, "/", "the whole server has no path"),
}


@pytest_asyncio.fixture
async def chp() -> AsyncIterator[Chp]:
    """A configurable-http-proxy without routes."""
    async with Chp() as started:
        yield started


async def _route_both(
    proxy: TraefikTomlProxy, chp: Chp, make_backend: BackendMaker, routespecs: list[str]
) -> dict[str, str]:
    """Add the same routes to both; the targets' paths show which route a request has taken."""
    backend = await make_backend("both")
    tags = {f"route-{number}": routespec for number, routespec in enumerate(routespecs)}
    await asyncio.gather(*(proxy.add_route(spec, f"{backend.url}/{tag}", {}) for tag, spec in tags.items()))
    for tag, spec in tags.items():
        await chp.add_route(spec, f"{backend.url}/{tag}")
    return tags


async def _taken(url: str, path: str, tags: dict[str, str], *, host: str | None = None) -> str | None:
    """Return the routespec of the route that a request takes, or None if it reaches no server."""
    seen = (await get(url, path, host=host)).seen
    return tags[seen["path"].split("/")[1]] if seen else None


async def _all_taken(url: str, paths: list[str], tags: dict[str, str]) -> dict[str, str | None]:
    return {path: await _taken(url, path, tags) for path in paths}


def _defined(path: str, routespecs: Iterable[str], *, host: str = "127.0.0.1") -> str | None:
    """Return the routespec of the route that a request takes by the definition, RouteTable.match."""
    table = RouteTable(Route.checked(routespec, "http://127.0.0.1:1", {}) for routespec in routespecs)
    route = table.match(host, path.partition("?")[0])
    return route.routespec if route else None


async def test_what_browsers_and_jupyterhub_send_takes_the_same_route(
    proxy: TraefikTomlProxy, chp: Chp, make_backend: BackendMaker
) -> None:
    """That includes raw and encoded reserved characters, spaces, Unicode, case and slashes."""
    tags = await _route_both(proxy, chp, make_backend, ROUTES)

    ours = await _all_taken(proxy.public_url, REQUESTS, tags)
    chps = await _all_taken(chp.url, REQUESTS, tags)

    assert ours == chps
    assert ours == {path: _defined(path, ROUTES) for path in REQUESTS}


async def test_without_a_hub_route_the_same_requests_get_404(
    proxy: TraefikTomlProxy, chp: Chp, make_backend: BackendMaker
) -> None:
    """Both proxies answer a request without a route themselves."""
    tags = await _route_both(proxy, chp, make_backend, ROUTES[1:])

    ours = {path: (await get(proxy.public_url, path)).status for path in REQUESTS}
    chps = {path: (await get(chp.url, path)).status for path in REQUESTS}

    assert tags
    assert ours == chps


async def test_the_path_that_arrives_is_the_same(proxy: TraefikTomlProxy, chp: Chp, make_backend: BackendMaker) -> None:
    """A target's path is put before the request's, with the same slashes as in configurable-http-proxy."""
    backend = await make_backend("both")
    for routespec, path in {
        "/none": "",
        "/slash": "/",
        "/path": "/a/b",
        "/ended": "/a/b/",
        "/odd": "/it's%20%2F;@",
    }.items():
        await proxy.add_route(routespec, backend.url + path, {})
        await chp.add_route(routespec, backend.url + path)
    requests = [
        f"{routespec}{rest}"
        for routespec in ("/none", "/slash", "/path", "/ended", "/odd")
        for rest in ("", "/", "?x", "/y", "/y/", "/y//z?a=%2F", "/%2F%40@")
    ]

    ours = {path: (await get(proxy.public_url, path)).seen.get("path") for path in requests}
    chps = {path: (await get(chp.url, path)).seen.get("path") for path in requests}

    assert ours == chps


async def test_hosts_are_distinguished_in_the_same_way(make_proxy: ProxyMaker, make_backend: BackendMaker) -> None:
    """With JupyterHub.subdomain_host, the host (without its port) and the path decide; ``/`` is for all other hosts."""
    proxy = make_proxy(host_routing=True)
    await proxy.start()
    async with Chp(host_routing=True) as chp:
        tags = await _route_both(proxy, chp, make_backend, HOST_ROUTES)

        ours = {(h, p): await _taken(proxy.public_url, p, tags, host=h) for h, p in HOST_REQUESTS}
        chps = {(h, p): await _taken(chp.url, p, tags, host=h) for h, p in HOST_REQUESTS}

    assert ours == chps
    assert ours == {(h, p): _defined(p, HOST_ROUTES, host=h) for h, p in HOST_REQUESTS}


async def test_hostile_names_take_the_same_route(proxy: TraefikTomlProxy, chp: Chp, make_backend: BackendMaker) -> None:
    """Quotes, backslashes, braces, control characters, Unicode: both find the user's server, whatever the name."""
    # Node refuses paths of 10,000 characters, and configurable-http-proxy splits names at an encoded slash.
    names = [name for name in NAMES if name not in LONG_TEXTS and "/" not in name]
    tags = await _route_both(proxy, chp, make_backend, ["/", *(f"/user/{escaped(name)}/" for name in names)])
    forms = [form(name) for name in names for form in (escaped, as_browsers_send)]
    requests = [
        f"{before}/user/{form}{after}" for form in forms for before, after in [("", "/lab"), ("/x", ""), ("", "x")]
    ]

    ours = await _all_taken(proxy.public_url, requests, tags)
    chps = await _all_taken(chp.url, requests, tags)

    assert ours == chps
    assert ours == {path: _defined(path, tags.values()) for path in requests}


async def test_known_differences_of_hosts(make_proxy: ProxyMaker, make_backend: BackendMaker) -> None:
    """Hosts are compared as is usual on the web: without regard to case or to a dot at the end."""
    proxy = make_proxy(host_routing=True)
    await proxy.start()
    routes = ["/", "A-B.example.org/"]
    hosts = ["a-b.example.org", "A-b.example.org", "a-b.example.org.", "A-B.example.org"]
    async with Chp(host_routing=True) as chp:
        tags = await _route_both(proxy, chp, make_backend, routes)

        ours = [await _taken(proxy.public_url, "/", tags, host=host) for host in hosts]
        chps = [await _taken(chp.url, "/", tags, host=host) for host in hosts]

    assert ours == ["A-B.example.org/"] * 4
    assert chps == ["/", "/", "/", "A-B.example.org/"]


async def test_known_differences(proxy: TraefikTomlProxy, chp: Chp, make_backend: BackendMaker) -> None:
    """These are all kinds of known differences; the documentation lists them."""
    tags = await _route_both(proxy, chp, make_backend, ROUTES)

    taken = {
        path: (await _taken(proxy.public_url, path, tags), await _taken(chp.url, path, tags)) for path in DIFFERENCES
    }

    assert taken == {path: (difference.ours, difference.chp) for path, difference in DIFFERENCES.items()}
