"""Cases of routing: which route a request takes. Does I/O through the stage."""

from __future__ import annotations

from ..case import Group, Level, Options, expect_equal
from ..stage import Stage

GROUP = Group("routing")
_R, _E, _B = Level.REQUIRED, Level.EXPECTED, Level.BEYOND
_HOSTS = Options(host_routing=True)


@GROUP.case("below", _R, "jupyterhub/docs/source/howto/proxy.md: a routespec is a prefix")
async def _below(stage: Stage) -> None:
    """A route gets the requests for its own path and for everything below."""
    ada = await stage.served("/user/ada/")
    for path in ("/user/ada/", "/user/ada/lab", "/user/ada/lab/tree/x.ipynb", "/user/ada/api/kernels?1"):
        await stage.expect_by(ada, path)


@GROUP.case("exact", _E, "configurable-http-proxy test/proxy_spec.js: 'trailing slash' cases")
async def _exact(stage: Stage) -> None:
    """A route gets the request for its own path without the last slash, with a query or without."""
    ada = await stage.served("/user/ada/")
    for path in ("/user/ada", "/user/ada?next=/hub/"):
        await stage.expect_by(ada, path)


@GROUP.case("whole-segments", _R, "configurable-http-proxy lib/trie.js: a trie of whole segments")
async def _whole_segments(stage: Stage) -> None:
    """A route never gets the requests of a longer name that begins in the same way."""
    hub = await stage.served("/")
    await stage.served("/user/ada/")
    for path in ("/user/adam", "/user/adam/lab", "/user/ada2/", "/user/ada.b/"):
        await stage.expect_by(hub, path)


@GROUP.case(
    "longest-wins", _R, "configurable-http-proxy test/trie_spec.js: 'trie_get'; named servers: jupyterhub/user.py:684"
)
async def _longest_wins(stage: Stage) -> None:
    """Of all routes that begin a path, the longest one gets the request, in whatever order they were added."""
    lab = await stage.served("/user/ada/lab/")
    hub = await stage.served("/")
    ada = await stage.served("/user/ada/")
    await stage.expect_by(lab, "/user/ada/lab/tree")
    await stage.expect_by(ada, "/user/ada/label")
    await stage.expect_by(hub, "/hub/login")


@GROUP.case("named-goes", _R, "jupyterhub/user.py: named servers live below the default server")
async def _named_goes(stage: Stage) -> None:
    """When the route below another one is deleted, its requests go to the one above."""
    ada = await stage.served("/user/ada/")
    await stage.served("/user/ada/gpu/")
    await stage.proxy.delete_route("/user/ada/gpu/")
    await stage.expect_soon_by(ada, "/user/ada/gpu/lab")
    await stage.expect_by(ada, "/user/ada/lab")


@GROUP.case("default-goes", _R, "jupyterhub/user.py: named servers live below the default server")
async def _default_goes(stage: Stage) -> None:
    """When the route above another one is deleted, the one below stays."""
    hub = await stage.served("/")
    await stage.served("/user/ada/")
    gpu = await stage.served("/user/ada/gpu/")
    await stage.proxy.delete_route("/user/ada/")
    await stage.expect_soon_by(hub, "/user/ada/lab")
    await stage.expect_by(gpu, "/user/ada/gpu/lab")


@GROUP.case("root", _R, "jupyterhub/app.py:1144-1191: the Hub's routespec is '/'")
async def _root(stage: Stage) -> None:
    """The route ``/`` gets whatever no other route gets."""
    hub = await stage.served("/")
    for path in ("/", "/hub/home", "/user/ada/", "/favicon.ico", "/?x=/user/ada/"):
        await stage.expect_by(hub, path)


@GROUP.case("base-url", _R, "jupyterhub/app.py:737-761: JupyterHub.base_url", options=Options(base_url="/jupyter/"))
async def _base_url(stage: Stage) -> None:
    """A Hub at a base_url, and its users, are found below it."""
    hub = await stage.served("/jupyter/")
    ada = await stage.served("/jupyter/user/ada/")
    await stage.expect_by(hub, "/jupyter/hub/home")
    await stage.expect_by(ada, "/jupyter/user/ada/lab")


@GROUP.case(
    "outside-base-url", _E, "configurable-http-proxy lib/configproxy.js: 404", options=Options(base_url="/jupyter/")
)
async def _outside_base_url(stage: Stage) -> None:
    """What is not below the base_url is answered with 404 by the proxy."""
    await stage.served("/jupyter/")
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
    hub = await stage.served("/@/space%20word/")
    ada = await stage.served("/@/space%20word/user/ada/")
    await stage.expect_by(hub, "/@/space%20word/hub/home")
    await stage.expect_by(ada, "/@/space%20word/user/ada/lab")


@GROUP.case("nobody", _E, "configurable-http-proxy test/proxy_spec.js: '404 …'")
async def _nobody(stage: Stage) -> None:
    """A request that no route covers is answered with 404 by the proxy."""
    await stage.served("/user/ada/")
    response = await stage.expect_by(None, "/user/bob/")
    expect_equal(response.status, 404, "the status")


@GROUP.case("case", _E, "RFC 3986 section 6.2.2.1: paths are case-sensitive; so are JupyterHub's routes")
async def _case(stage: Stage) -> None:
    """Upper and lower case in a path are different."""
    hub = await stage.served("/")
    lower, upper = await stage.served("/user/ada/"), await stage.served("/user/ADA/")
    await stage.expect_by(lower, "/user/ada/x")
    await stage.expect_by(upper, "/user/ADA/x")
    await stage.expect_by(hub, "/USER/ada/x")


@GROUP.case("query", _E, "RFC 3986 section 3.4: a query is no part of the path")
async def _query(stage: Stage) -> None:
    """What is in the query does not choose the route."""
    hub, ada = await stage.served("/"), await stage.served("/user/ada/")
    await stage.expect_by(hub, "/hub?/user/ada/")
    await stage.expect_by(ada, "/user/ada?/user/bob/")


@GROUP.case("deep", _E, "configurable-http-proxy test/trie_spec.js: 'trie_sub_paths'")
async def _deep(stage: Stage) -> None:
    """Routes may be many segments deep, with nothing on the way there."""
    hub, deep = await stage.served("/"), await stage.served("/a/b/c/d/e/f/g/h/")
    await stage.expect_by(deep, "/a/b/c/d/e/f/g/h/i")
    await stage.expect_by(hub, "/a/b/c/d/e/f/g")


@GROUP.case("host", _R, "jupyterhub/app.py:1167-1177, user.py:694-704: JupyterHub.subdomain_host", options=_HOSTS)
async def _host(stage: Stage) -> None:
    """With host routing, the Host header chooses among the routes, and ``/`` gets all other hosts."""
    hub = await stage.served("/")
    ada = await stage.served("ada.example.org/user/ada/")
    bob = await stage.served("bob.example.org/user/bob/")
    await stage.expect_by(ada, "/user/ada/lab", [("Host", "ada.example.org")])
    await stage.expect_by(bob, "/user/bob/lab", [("Host", "bob.example.org")])
    await stage.expect_by(hub, "/user/ada/lab", [("Host", "bob.example.org")])
    await stage.expect_by(hub, "/user/ada/lab", [("Host", "hub.example.org")])


@GROUP.case(
    "host-port", _E, "RFC 9110 section 7.2: a Host header may have a port; routespecs have none", options=_HOSTS
)
async def _host_port(stage: Stage) -> None:
    """The port in a Host header does not matter."""
    await stage.served("/")
    ada = await stage.served("ada.example.org/")
    await stage.expect_by(ada, "/x", [("Host", "ada.example.org:8000")])


@GROUP.case("host-case", _B, "RFC 9110 section 4.2.3: a host is case-insensitive", options=_HOSTS)
async def _host_case(stage: Stage) -> None:
    """Upper and lower case in a Host header are the same."""
    await stage.served("/")
    ada = await stage.served("ada.example.org/")
    await stage.expect_by(ada, "/x", [("Host", "Ada.Example.ORG")])


@GROUP.case("host-whole", _E, "configurable-http-proxy lib/configproxy.js: hosts are compared whole", options=_HOSTS)
async def _host_whole(stage: Stage) -> None:
    """A host that only ends or begins like another one is another one."""
    hub = await stage.served("/")
    await stage.served("ada.example.org/")
    for host in ("xada.example.org", "ada.example.org.evil.example", "example.org", "x.ada.example.org"):
        await stage.expect_by(hub, "/x", [("Host", host)])
