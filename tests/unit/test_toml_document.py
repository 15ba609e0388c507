"""traefik_toml_proxy.stores.toml_document: a snapshot as the text of the TOML file, and back."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from support.strategies import read_toml

from traefik_toml_proxy.errors import ConfigurationError
from traefik_toml_proxy.routes import Place, Route, RouteTable, Snapshot
from traefik_toml_proxy.stores import toml_document, toml_text
from traefik_toml_proxy.stores.toml_document import NewerFormat, TomlRenderer, namespace_in, read_snapshot
from traefik_toml_proxy.traefik.dynamic import Certificate, DynamicSettings, ErrorPages
from traefik_toml_proxy.traefik.layers import FEW_ROUTES
from traefik_toml_proxy.traefik.names import Names

NAMES = Names()
ALICE = Route.checked("/user/alice/", "http://127.0.0.1:8001", {"user": "alice"})
BOB = Route.checked("/user/bob/", "http://127.0.0.1:8002/base", {"user": "bob"})
ALICE_NAME = NAMES.route(ALICE)
CHANGED = (
    '(HeaderRegexp(\\"Forwarded\\", \\"^\\") || HeaderRegexp(\\"X-Scheme\\", \\"^\\") || '
    '(!HeaderRegexp(\\"Accept-Encoding\\", \\".\\") && !HeaderRegexp(\\"Range\\", \\".\\") && !Method(\\"HEAD\\")))'
)
ALICE_LINE = '{"routespec":"/user/alice/","target":"http://127.0.0.1:8001","data":{"user":"alice"}}'


def settings(**changes: Any) -> DynamicSettings:
    """Return default settings with these changes."""
    return DynamicSettings(**{"entry_point": "http", "secret_path": "/secret"} | changes)


def renderer_for(**changes: Any) -> TomlRenderer:
    """Return a renderer for default settings with these changes."""
    return TomlRenderer(settings(**changes), writer="a test")


def rendered(*routes: Route, revision: int = 7, **changes: Any) -> str:
    """Return the text of a snapshot of these routes."""
    return renderer_for(**changes).render(Snapshot(revision, RouteTable(routes))).decode()


def test_the_whole_file_for_one_route() -> None:
    """It has routers for the revision, the front routers, and for each route a router, a service, and JupyterHub's data."""
    expected = f"""\
# Written by a test.
# Do not edit: the proxy overwrites this file whenever a route changes, or when it sees an edit.
# To add settings of your own, use c.TraefikProxy.extra_dynamic_config in jupyterhub_config.py.

[http.routers.jupyterhub-secret]
rule = "PathPrefix(\\"/secret/\\")"
entryPoints = ["http"]
priority = 1000000

[http.routers.jupyterhub-revision]
rule = "Path(\\"/secret/revision\\")"
priority = 1
parentRefs = ["jupyterhub-secret"]
middlewares = ["jupyterhub-revision"]
service = "noop@internal"

[http.routers.jupyterhub-anywhere]
rule = "Path(\\"/secret/anywhere\\")"
priority = 1000001
middlewares = ["jupyterhub-revision"]
service = "noop@internal"

[http.routers.jupyterhub-secret.observability]
accessLogs = false

[http.routers.jupyterhub-anywhere.observability]
accessLogs = false

[http.middlewares.jupyterhub-front-changed.headers.customRequestHeaders]
Forwarded = ""
X-Scheme = ""
Accept-Encoding = "identity"

[jupyterhub]
format = 2
revision = 7
count = 1

[http.middlewares.jupyterhub-revision.headers.customResponseHeaders]
X-Jupyterhub-Routes-Revision = "7"

[jupyterhub.routes]
{ALICE_NAME} = '{ALICE_LINE}'

[http.routers.jupyterhub-front]
rule = "PathPrefix(\\"/\\")"
entryPoints = ["http"]
priority = 1

[http.routers.jupyterhub-front-changed]
rule = "{CHANGED}"
entryPoints = ["http"]
priority = 2
middlewares = ["jupyterhub-front-changed"]

[http.routers.{ALICE_NAME}]
rule = "Path(\\"/user/alice\\") || PathPrefix(\\"/user/alice/\\")"
priority = 3
service = "{ALICE_NAME}"
parentRefs = ["jupyterhub-front", "jupyterhub-front-changed"]

[[http.services.{ALICE_NAME}.loadBalancer.servers]]
url = "http://127.0.0.1:8001"
"""

    assert expected == rendered(ALICE, shared_places=(Place("", ()),))


def test_the_path_of_a_target_is_kept() -> None:
    """By default, Traefik drops the path of a server's URL (pkg/proxy/httputil/proxy.go:96-102)."""
    servers = {
        service["loadBalancer"]["servers"][0]["url"]: service["loadBalancer"]["servers"][0].get("preservePath")
        for service in read_toml(rendered(ALICE, BOB))["http"]["services"].values()
    }

    assert servers == {"http://127.0.0.1:8001": None, "http://127.0.0.1:8002/base": True}


def test_routers_at_the_top_ask_for_tls_where_the_entry_point_does_not() -> None:
    """With ``router_tls``, they are for TLS connections; their children must not say so."""
    for router_tls in (False, True):
        for router in read_toml(rendered(ALICE, router_tls=router_tls))["http"]["routers"].values():
            assert ("tls" in router) == (router_tls and "parentRefs" not in router)


def test_a_default_certificate_is_named() -> None:
    """Without one, Traefik makes an RSA key at each reload (pkg/tls/tlsmanager.go:363-378)."""
    tree = read_toml(rendered(default_certificate=lambda: Certificate("/hub.crt", "/hub.key")))

    expected = {"stores": {"default": {"defaultCertificate": {"certFile": "/hub.crt", "keyFile": "/hub.key"}}}}
    assert expected == tree["tls"]


def test_the_writer_s_name_cannot_end_the_comment_or_start_a_template() -> None:
    """Traefik's templates also work in comments."""
    renderer = TomlRenderer(settings(), writer="a\nb {{ env }} \N{SNOWMAN}")
    first, second = renderer.render(Snapshot(1, RouteTable())).decode().splitlines()[:2]

    assert first == r"# Written by a\nb (( env }} \u2603."
    assert second.startswith("# Do not edit")


def test_routes_are_sorted_by_routespec() -> None:
    """The file does not depend on the order in which routes were added."""
    assert rendered(ALICE, BOB) == rendered(BOB, ALICE)


def noted_texts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list to which the routespec of each route is added when its text is made, not taken from the cache."""
    made: list[str] = []
    make = toml_document._route_line

    def noted(route: Route, name: str) -> bytes:
        made.append(route.routespec)
        return make(route, name)

    monkeypatch.setattr(toml_document, "_route_line", noted)
    return made


def test_an_unchanged_route_is_not_rendered_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the fragments of new and changed routes are made, so a change among 10,000 routes costs little."""
    renderer = renderer_for()
    made = noted_texts(monkeypatch)
    moved = Route.checked("/user/bob/", "http://127.0.0.1:9", {})

    for revision, routes in enumerate([[ALICE, BOB], [BOB, ALICE], [ALICE, moved], [moved], [moved, ALICE]]):
        renderer.render(Snapshot(revision, RouteTable(routes)))

    assert made == ["/user/alice/", "/user/bob/", "/user/bob/", "/user/alice/"]


MANY = [Route.checked(f"/user/{number:03}/", "http://127.0.0.1:1", {}) for number in range(FEW_ROUTES)]


def routers_of(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the parent routers of regions in a file, and the routers of routes."""
    routers = read_toml(text)["http"]["routers"]
    routes = {name: router for name, router in routers.items() if NAMES.is_route(name)}
    parents = {name for router in routes.values() for name in router["parentRefs"]}
    return {name: routers[name] for name in parents if "entryPoints" not in routers[name]}, routes


def test_many_routes_are_children_of_parents() -> None:
    """The parents are children of the front routers; routes have rule, priority and service as in a flat table."""
    parents, children = routers_of(rendered(*MANY, router_tls=True))

    name = NAMES.route(MANY[7])
    rest = {"rule": 'Path("/user/007") || PathPrefix("/user/007/")', "priority": 3, "service": name}
    assert {"parentRefs": children[name]["parentRefs"], **rest} == children[name]
    assert {NAMES.route(route) for route in MANY} == children.keys()
    assert {"rule", "parentRefs", "priority"} == set().union(*parents.values())


def test_a_route_that_moves_to_another_parent_is_not_rendered_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the names of its parents are exchanged; what comes out is what a new renderer makes."""
    renderer = renderer_for()
    renderer.render(Snapshot(1, RouteTable(MANY)))
    made = noted_texts(monkeypatch)
    more = [Route.checked(f"/user/0{number:03}/", "http://127.0.0.1:1", {}) for number in range(50)]

    again = renderer.render(Snapshot(2, RouteTable([*MANY, *more])))

    assert sorted(route.routespec for route in more) == sorted(made)
    assert rendered(*MANY, *more, revision=2) == again.decode()


def test_the_admin_can_add_to_a_parent() -> None:
    """The parent is in the file once, with the admin's settings merged in."""
    name = min(routers_of(rendered(*MANY))[0])

    parents, _ = routers_of(rendered(*MANY, extra={"http": {"routers": {name: {"middlewares": ["m"]}}}}))

    assert parents[name]["middlewares"] == ["m"]
    assert "rule" in parents[name]


@pytest.mark.parametrize(
    ("extra", "where", "expected"),
    [
        ({"tls": {"options": {"default": {"minVersion": "x"}}}}, ("tls", "options", "default", "minVersion"), "x"),
        ({"http": {"middlewares": {"m": {"compress": {}}}}}, ("http", "middlewares", "m", "compress"), {}),
        ({"http": {"routers": {"own": {"rule": "r"}}}}, ("http", "routers", "own", "rule"), "r"),
        (
            {"http": {"routers": {"jupyterhub-revision": {"priority": 5}}}},
            ("http", "routers", "jupyterhub-revision", "priority"),
            5,
        ),
        ({"http": {"routers": {ALICE_NAME: {"service": "x"}}}}, ("http", "routers", ALICE_NAME, "service"), "x"),
        ({"http": {"routers": {"jupyterhub-front": {"tls": {}}}}}, ("http", "routers", "jupyterhub-front", "tls"), {}),
        (
            {"http": {"services": {ALICE_NAME: {"loadBalancer": {"passHostHeader": False}}}}},
            ("http", "services", ALICE_NAME, "loadBalancer"),
            {"servers": [{"url": "http://127.0.0.1:8001"}], "passHostHeader": False},
        ),
    ],
)
def test_the_admin_s_settings_are_merged_and_win(
    extra: dict[str, Any], where: tuple[str, ...], expected: object
) -> None:
    """That includes the router and service of a route; the routes are read back unchanged."""
    text = rendered(ALICE, extra=extra)

    found: Any = read_toml(text)
    for key in where:
        found = found[key]
    assert expected == found
    snapshot = read_snapshot(text)
    assert snapshot is not None
    assert list(snapshot.table) == [ALICE]


def test_the_admin_s_settings_for_a_route_stay_without_the_route() -> None:
    """While a route does not exist, a router with its name is only the admin's."""
    extra = {"http": {"routers": {ALICE_NAME: {"service": "s"}}}}

    assert read_toml(rendered(BOB, extra=extra))["http"]["routers"][ALICE_NAME] == {"service": "s"}


@pytest.mark.parametrize(
    "extra",
    [
        {"tls": {}},
        {"http": {}},
        {"http": {"routers": {}, "services": {}}},
        {"tcp": {"routers": {}}},
        {"http": {"routers": {ALICE_NAME: {"service": "x"}}}},
    ],
)
def test_no_section_is_empty(extra: dict[str, Any]) -> None:
    """Traefik refuses the whole file for an empty section (paerser/parser/nodes_metadata.go:81,137)."""
    tree = read_toml(rendered(ALICE, extra=extra))

    assert {} not in tree.values()
    assert [name for section in tree.values() for name, value in section.items() if value == {}] == []


def test_a_single_value_in_the_root_is_kept() -> None:
    """An extra setting need not be a table; Traefik decides whether it is valid."""
    assert read_toml(rendered(extra={"note": "x"}))["note"] == "x"


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        ({"jupyterhub": {}}, "has a root table 'jupyterhub'"),
        ({"JupyterHub": {}}, "has a root table 'jupyterhub'"),
        ({"a": "\ud800"}, "lone surrogate"),
        ({"a": object()}, "cannot be kept"),
        ({"a": {'"': 1}}, "cannot be kept"),
        ({"a": [1, "x"]}, "read back"),
        ({"http": []}, "'http' and everything in it must be tables"),
        ({"http": None}, "'http' and everything in it must be tables"),
        ({"http": {"routers": ["x"]}}, "'http' and everything in it must be tables"),
        ({"http": {"routers": {"x": 1}}}, "everything in 'http.routers' must be tables"),
    ],
)
def test_extra_configuration_that_would_cost_the_routes_is_refused(extra: dict[str, Any], reason: str) -> None:
    """It is refused at start; later, the file with all routes could not be read back."""
    with pytest.raises(ConfigurationError, match=f"extra_dynamic_config.*{reason}"):
        renderer_for(extra=extra)


def test_a_snapshot_is_read_back() -> None:
    """The revision and each route come back unchanged."""
    snapshot = read_snapshot(rendered(ALICE, BOB, revision=12))

    assert snapshot is not None
    assert snapshot.revision == 12
    assert list(snapshot.table) == [ALICE, BOB]


def test_a_snapshot_without_routes_is_read_back() -> None:
    """An empty table is a table."""
    snapshot = read_snapshot(rendered(revision=3))

    assert snapshot is not None
    assert (snapshot.revision, len(snapshot.table)) == (3, 0)


def test_many_routes_are_read_back() -> None:
    """Each comes back once."""
    routes = [Route.checked(f"/user/{number:04}/", "http://127.0.0.1:1", {"n": number}) for number in range(230)]

    snapshot = read_snapshot(rendered(*routes))

    assert snapshot is not None
    assert list(snapshot.table) == routes


def test_a_route_that_is_there_twice_is_refused() -> None:
    """If somebody has copied a part of the file, there is no telling which of the two is meant."""
    routes = [Route.checked(f"/user/{number:04}/", "http://127.0.0.1:1", {}) for number in range(230)]
    text = rendered(*routes)
    line = next(line for line in text.splitlines(keepends=True) if line.startswith("user-0000"))
    begin = "[jupyterhub.routes]\n"

    with pytest.raises(ValueError, match="has a route twice"):
        read_snapshot(text.replace(begin, begin + line))
    with pytest.raises(ValueError, match="Duplicate keys"):
        read_snapshot(text.replace(begin, begin + "# a comment\n" + line))


def test_a_file_without_its_end_is_refused() -> None:
    """Wherever it is cut off, either all routes are read or an error is raised; never only some of them."""
    routes = [Route.checked(f"/user/{number:04}/", "http://127.0.0.1:1", {}) for number in range(4)]
    text = rendered(*routes, revision=123)
    last_line = text.index("\n", text.index("user-0003"))

    for end in range(1, last_line):
        with pytest.raises(ValueError, match=r"missing|incomplete|TOML|table|changed|line|format"):
            read_snapshot(text[:end])
    for end in range(last_line, len(text)):
        with contextlib.suppress(ValueError):  # what is left of the routers may not be TOML
            found = read_snapshot(text[:end])
            assert found is not None
            assert list(found.table) == routes


@pytest.mark.parametrize("text", ["", "\n", " \n\t\n"])
def test_an_empty_file_has_no_snapshot(text: str) -> None:
    """A file may be truncated, or still empty before the first start."""
    assert read_snapshot(text) is None


def test_a_file_of_a_newer_format_is_refused_with_its_number() -> None:
    """It is told apart from one that is broken, whatever else is in it."""
    text = rendered(ALICE).replace("format = 2\n", "format = 12\n") + "[and then something = that no TOML has"

    with pytest.raises(NewerFormat, match="have format 12; this version reads formats up to 2") as caught:
        read_snapshot(text)

    assert (caught.value.found, caught.value.known, caught.value.writer) == (12, 2, "# Written by a test.")


def test_no_route_and_no_setting_can_make_a_file_look_newer() -> None:
    """The number is looked for at the beginning of a line, and a line never begins within a value."""
    newer = "\n[jupyterhub]\nformat = 9\n"
    route = Route.checked("/user/x/", "http://127.0.0.1:1", {newer: newer})

    snapshot = read_snapshot(rendered(route, extra={"x": {"y": newer}}))

    assert snapshot is not None
    assert list(snapshot.table) == [route]


OWN = "[jupyterhub]\nformat = 2\nrevision = 1\ncount = 1\n"
ROUTES = "[jupyterhub.routes]\n"


def entry(name: str, routespec: str = "/a/", target: str = "http://h:1", data: str = "{}") -> str:
    """Return the line of one route in our table."""
    return f"""{name} = '{{"routespec":"{routespec}","target":"{target}","data":{data}}}'\n"""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[http", "Key group not on a line by itself"),
        ("[http]\na = 1\n", "so this package did not write it"),
        ("jupyterhub = 1\n", "so this package did not write it"),
        ("[jupyterhub]\nrevision = 1\n", "have format None"),
        ("[jupyterhub]\nformat = 0\nrevision = 1\n", "have format 0; this version reads 1 to 2"),
        ("[jupyterhub]\nformat = '2'\nrevision = 1\n", "have format '2'; this version reads 1 to 2"),
        ("[jupyterhub]\nformat = 1\nrevision = 1\n", "should have None routes, but has 0"),
        ("[jupyterhub]\nformat = 2\n", "has been changed"),
        ("[jupyterhub]\nformat = 2\nrevision = -1\n", "has been changed"),
        ("[jupyterhub]\nformat = 2\nrevision = true\n", "has been changed"),
        ("[jupyterhub]\nformat = 2\nrevision = 10000000000000000\n", "has been changed"),
        (OWN + 'x = "\\Uffffffff"\n', "not TOML .OverflowError|not in range"),
        (OWN + "routes = 1\n", "has been changed"),
        (OWN, "should have 1 routes, but has 0: its end is missing"),
        ("[jupyterhub]\nformat = 2\nrevision = 1\n", "should have None routes, but has 0"),
        (OWN + ROUTES + "x = 1\n\n[x]\n", "a route in it is incomplete: '1'"),
        (OWN + ROUTES + """x = '{"routespec":"/a/"}'\n[x]\n""", "a route in it is incomplete"),
        (OWN + "[jupyterhub.routes.x]\nroutespec = '/a/'\n", "a route in it is incomplete"),
        (OWN + ROUTES + entry("x") + entry("y"), "should have 1 routes, but has 2"),
        (OWN + ROUTES + entry("x", routespec="a") + "\n[x]\n", "'a' is refused: it has no path"),
        (OWN + ROUTES + entry("x", target="ftp://h") + "\n[x]\n", "does not start with http"),
        (OWN + ROUTES + entry("x", data="[]") + "\n[x]\n", "its data is not a dict"),
        (OWN + ROUTES + entry("x", data="{") + "\n[x]\n", "Expecting"),
        (OWN + ROUTES + entry("x", data="[" * 100_000) + "\n[x]\n", "nested too deeply"),
        (
            OWN.replace("count = 1", "count = 2") + ROUTES + entry("x") + entry("y", routespec="/%61/") + "\n[x]\n",
            "is the same place in another spelling",
        ),
    ],
)
def test_a_file_that_is_not_ours_is_refused_with_a_reason(text: str, reason: str) -> None:
    """Text that this package cannot have written is not read as routes."""
    with pytest.raises(ValueError, match=reason):
        read_snapshot(text)


def test_a_namespace_is_in_every_name_and_the_routes_are_read_back() -> None:
    """Also in our own table. The next Hub may have another one."""
    text = rendered(
        *MANY, names=Names("h2"), error_pages=ErrorPages("http://127.0.0.1:8081/hub/", "http://127.0.0.1:1")
    )
    tree = read_toml(text)

    assert [name for table in tree["http"].values() for name in table if not name.startswith("h2_")] == []
    assert {name for name in tree["jupyterhub"]["routes"] if name.startswith("h2_")} == tree["jupyterhub"][
        "routes"
    ].keys()
    snapshot = read_snapshot(text)
    assert snapshot is not None
    assert set(snapshot.table) == set(MANY)


def test_a_file_with_a_namespace_is_read_without_parsing_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """With thousands of routes, that would hold up everything else in the process."""
    text = rendered(*MANY, names=Names("h2"))
    parsed: list[str] = []

    def noted(some: str) -> dict[str, Any]:
        parsed.append(some)
        return toml_text.loads(some)

    monkeypatch.setattr(toml_document, "loads", noted)
    read_snapshot(text)

    assert len("".join(parsed)) < len(text) / 10


def test_the_namespace_of_a_file_is_found() -> None:
    """Files without one, and other files, have none."""
    certificate = Certificate("/hub.crt", "/hub.key")
    texts = [
        rendered(ALICE, names=Names("physics-2"), default_certificate=lambda: certificate),
        rendered(names=Names("physics-2")),
        rendered(ALICE),
        "",
        'namespace = "a"\n',
    ]

    assert [namespace_in(text) for text in texts] == ["physics-2", "physics-2", "", "", ""]
    assert read_toml(texts[0])["jupyterhub"]["namespace"] == "physics-2"
