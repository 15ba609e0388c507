"""Cases of routing: which route a request takes. Does I/O through the stage."""

from __future__ import annotations

from ..case import Group, Level, Options, expect_equal
from ..stage import Stage

GROUP = Group("routing")
_R, _E, _B = Level.REQUIRED, Level.EXPECTED, Level.BEYOND
_HOSTS = Options(host_routing=True)


@GROUP.case("below", _R, "jupyterhub/docs/source/howto/proxy.md: a routespec is a prefix")
async def _below(stage: Stage) -> None:
    """A route gets the requests for its own path and for everything below it."""
    ada = await stage.serve("/user/ada/")
    for path in ("/user/ada/", "/user/ada/lab", "/user/ada/lab/tree/x.ipynb", "/user/ada/api/kernels?1"):
        await stage.expect_by(ada, path)


@GROUP.case("exact", _E, "configurable-http-proxy test/proxy_spec.js: 'trailing slash' cases")
async def _exact(stage: Stage) -> None:
    """A route gets the requests for its own path without the trailing slash, with or without a query."""
    ada = await stage.serve("/user/ada/")
    for path in ("/user/ada", "/user/ada?next=/hub/"):
        await stage.expect_by(ada, path)


@GROUP.case("whole-segments", _R, "configurable-http-proxy lib/trie.js: a trie of whole segments")
async def _whole_segments(stage: Stage) -> None:
    """A route never gets the requests for a longer name that starts with its own."""
    hub = await stage.serve("/")
    await stage.serve("/user/ada/")
    for path in ("/user/adam", "/user/adam/lab", "/user/ada2/", "/user/ada.b/"):
        await stage.expect_by(hub, path)


@GROUP.case(
    "longest-wins", _R, "configurable-http-proxy test/trie_spec.js: 'trie_get'; named servers: jupyterhub/user.py:684"
)
async def _longest_wins(stage: Stage) -> None:
    """Of all routes that are a prefix of the path, the longest gets the request, whatever order they were added in."""
    lab = await stage.serve("/user/ada/lab/")
    hub = await stage.serve("/")
    ada = await stage.serve("/user/ada/")
    await stage.expect_by(lab, "/user/ada/lab/tree")
    await stage.expect_by(ada, "/user/ada/label")
    await stage.expect_by(hub, "/hub/login")


@GROUP.case("named-goes", _R, "jupyterhub/user.py: named servers live below the default server")
async def _named_goes(stage: Stage) -> None:
    """When a route below another one is deleted, its requests go to the one above."""
    ada = await stage.serve("/user/ada/")
    await stage.serve("/user/ada/gpu/")
    await stage.proxy.delete_route("/user/ada/gpu/")
    await stage.expect_soon_by(ada, "/user/ada/gpu/lab")
    await stage.expect_by(ada, "/user/ada/lab")


@GROUP.case("default-goes", _R, "jupyterhub/user.py: named servers live below the default server")
async def _default_goes(stage: Stage) -> None:
    """When a route above another one is deleted, the one below stays."""
    hub = await stage.serve("/")
    await stage.serve("/user/ada/")
    gpu = await stage.serve("/user/ada/gpu/")
    await stage.proxy.delete_route("/user/ada/")
    await stage.expect_soon_by(hub, "/user/ada/lab")
    await stage.expect_by(gpu, "/user/ada/gpu/lab")


@GROUP.case("root", _R, "jupyterhub/app.py:1144-1191: the Hub's routespec is '/'")
async def _root(stage: Stage) -> None:
    """The route ``/`` gets every request that no other route gets."""
    hub = await stage.serve("/")
    for path in ("/", "/hub/home", "/user/ada/", "/favicon.ico", "/?x=/user/ada/"):
        await stage.expect_by(hub, path)


@GROUP.case("base-url", _R, "jupyterhub/app.py:737-761: JupyterHub.base_url", options=Options(base_url="/jupyter/"))
async def _base_url(stage: Stage) -> None:
    """A Hub with a base_url, and its users, are reached below it."""
    hub = await stage.serve("/jupyter/")
    ada = await stage.serve("/jupyter/user/ada/")
    await stage.expect_by(hub, "/jupyter/hub/home")
    await stage.expect_by(ada, "/jupyter/user/ada/lab")


@GROUP.case(
    "outside-base-url", _E, "configurable-http-proxy lib/configproxy.js: 404", options=Options(base_url="/jupyter/")
)
async def _outside_base_url(stage: Stage) -> None:
    """A request outside of the base_url is answered with 404 by the proxy."""
    await stage.serve("/jupyter/")
    response = await stage.expect_by(None, "/other")
    expect_equal(response.status, 404, "the status")


@GROUP.case(
    "odd-base-url",
    _E,
    "jupyterhub/traitlets.py:15-22: a base_url may be percent-encoded",
    options=Options("/@/space%20word/"),
)
async def _odd_base_url(stage: Stage) -> None:
    """A base_url with a space and an at sign, as JupyterHub's own tests use it, works."""
    hub = await stage.serve("/@/space%20word/")
    ada = await stage.serve("/@/space%20word/user/ada/")
    await stage.expect_by(hub, "/@/space%20word/hub/home")
    await stage.expect_by(ada, "/@/space%20word/user/ada/lab")


@GROUP.case("nobody", _E, "configurable-http-proxy test/proxy_spec.js: '404 …'")
async def _nobody(stage: Stage) -> None:
    """A request that no route matches is answered with 404 by the proxy."""
    await stage.serve("/user/ada/")
    response = await stage.expect_by(None, "/user/bob/")
    expect_equal(response.status, 404, "the status")


@GROUP.case("case", _E, "RFC 3986 section 6.2.2.1: paths are case-sensitive; so are JupyterHub's routes")
async def _case(stage: Stage) -> None:
    """Paths are case-sensitive."""
    hub = await stage.serve("/")
    lower, upper = await stage.serve("/user/ada/"), await stage.serve("/user/ADA/")
    await stage.expect_by(lower, "/user/ada/x")
    await stage.expect_by(upper, "/user/ADA/x")
    await stage.expect_by(hub, "/USER/ada/x")


@GROUP.case("query", _E, "RFC 3986 section 3.4: the query is not part of the path")
async def _query(stage: Stage) -> None:
    """The query does not affect the choice of the route."""
    hub, ada = await stage.serve("/"), await stage.serve("/user/ada/")
    await stage.expect_by(hub, "/hub?/user/ada/")
    await stage.expect_by(ada, "/user/ada?/user/bob/")


@GROUP.case("deep", _E, "configurable-http-proxy test/trie_spec.js: 'trie_sub_paths'")
async def _deep(stage: Stage) -> None:
    """A route may be many segments deep, with no other routes on the way."""
    hub, deep = await stage.serve("/"), await stage.serve("/a/b/c/d/e/f/g/h/")
    await stage.expect_by(deep, "/a/b/c/d/e/f/g/h/i")
    await stage.expect_by(hub, "/a/b/c/d/e/f/g")


@GROUP.case("host", _R, "jupyterhub/app.py:1167-1177, user.py:694-704: JupyterHub.subdomain_host", options=_HOSTS)
async def _host(stage: Stage) -> None:
    """With host routing, the Host header chooses the route, and ``/`` gets all other hosts."""
    hub = await stage.serve("/")
    ada = await stage.serve("ada.example.org/user/ada/")
    bob = await stage.serve("bob.example.org/user/bob/")
    await stage.expect_by(ada, "/user/ada/lab", [("Host", "ada.example.org")])
    await stage.expect_by(bob, "/user/bob/lab", [("Host", "bob.example.org")])
    await stage.expect_by(hub, "/user/ada/lab", [("Host", "bob.example.org")])
    await stage.expect_by(hub, "/user/ada/lab", [("Host", "hub.example.org")])


@GROUP.case(
    "host-port", _E, "RFC 9110 section 7.2: a Host header may have a port; routespecs have none", options=_HOSTS
)
async def _host_port(stage: Stage) -> None:
    """The port in a Host header is ignored."""
    await stage.serve("/")
    ada = await stage.serve("ada.example.org/")
    await stage.expect_by(ada, "/x", [("Host", "ada.example.org:8000")])


@GROUP.case("host-case", _B, "RFC 9110 section 4.2.3: a host is case-insensitive", options=_HOSTS)
async def _host_case(stage: Stage) -> None:
    """The Host header is case-insensitive."""
    await stage.serve("/")
    ada = await stage.serve("ada.example.org/")
    await stage.expect_by(ada, "/x", [("Host", "Ada.Example.ORG")])


@GROUP.case("host-whole", _E, "configurable-http-proxy lib/configproxy.js: hosts are compared whole", options=_HOSTS)
async def _host_whole(stage: Stage) -> None:
    """A host that only starts or ends like another one is a different host."""
    hub = await stage.serve("/")
    await stage.serve("ada.example.org/")
    for host in ("xada.example.org", "ada.example.org.evil.example", "example.org", "x.ada.example.org"):
        await stage.expect_by(hub, "/x", [("Host", host)])
