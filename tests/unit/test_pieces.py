"""traefik_toml_proxy.traefik.pieces: what has not changed since the last snapshot is the same object."""

from __future__ import annotations

from typing import Any

from traefik_toml_proxy.routes import Place, Route, RouteTable, Snapshot
from traefik_toml_proxy.traefik.dynamic import Certificate, DynamicSettings, ErrorPages
from traefik_toml_proxy.traefik.layers import FEW_ROUTES
from traefik_toml_proxy.traefik.names import Names
from traefik_toml_proxy.traefik.pieces import Assembler, Assembly
from traefik_toml_proxy.traefik.transports import Transport, Transports

NAMES = Names()
FRONTS = ("jupyterhub-front", "jupyterhub-front-changed")
PAGES = ErrorPages("http://127.0.0.1:8081/hub/", "http://127.0.0.1:8000")
ALICE = Route.checked("/user/alice/", "http://127.0.0.1:8001", {"user": "alice"})
BOB = Route.checked("/user/bob/", "http://127.0.0.1:8002", {"user": "bob"})
MANY = [Route.checked(f"/user/{number:03}/", "http://127.0.0.1:1", {}) for number in range(FEW_ROUTES)]
MORE = [Route.checked(f"/user/0{number:03}/", "http://127.0.0.1:1", {}) for number in range(50)]


def assembler_for(**changes: Any) -> Assembler:
    """Return an assembler for default settings with these changes."""
    return Assembler(DynamicSettings(**{"entry_point": "http", "secret_path": "/secret"} | changes))


def assembled(assembler: Assembler, *routes: Route, revision: int = 1) -> Assembly:
    """Return the pieces of a table."""
    return assembler.assemble(Snapshot(revision, RouteTable(routes)))


def test_a_route_has_a_router_and_a_service_of_one_name() -> None:
    """And its piece says which route it is for."""
    (piece,) = assembled(assembler_for(), ALICE).routes

    assert (piece.name, piece.parents, piece.route) == (NAMES.route(ALICE), FRONTS, ALICE)
    assert {kind: list(objects) for kind, objects in piece.objects().items()} == {
        "routers": [piece.name],
        "services": [piece.name],
    }


def test_objects_are_fresh_each_time() -> None:
    """Whoever changes them changes no piece."""
    (piece,) = assembled(assembler_for(), ALICE).routes
    piece.objects()["routers"].clear()

    assert piece.objects()["routers"]


def test_an_unchanged_route_keeps_its_piece() -> None:
    """The very same one, also when others come and go, or when an equal route takes its place."""
    assembler = assembler_for()
    (before,) = assembled(assembler, ALICE).routes
    alice_again = Route.checked("/user/alice/", "http://127.0.0.1:8001", {"user": "alice"})
    after, _ = assembled(assembler, alice_again, BOB).routes

    assert after is before


def test_a_changed_route_gets_another_piece() -> None:
    """The other routes keep theirs."""
    assembler = assembler_for()
    alice, bob = assembled(assembler, ALICE, BOB).routes
    moved = Route.checked("/user/bob/", "http://127.0.0.1:9", {"user": "bob"})
    alice_after, bob_after = assembled(assembler, ALICE, moved).routes

    assert alice_after is alice
    assert bob_after.objects is not bob.objects
    assert bob_after.route is moved


def test_a_route_that_comes_back_gets_another_piece() -> None:
    """What is kept belongs to the last snapshot only."""
    assembler = assembler_for()
    _, before = assembled(assembler, ALICE, BOB).routes
    assembled(assembler, ALICE)
    _, after = assembled(assembler, ALICE, BOB).routes

    assert after is not before
    assert after.objects() == before.objects()


def test_routes_are_in_the_order_of_their_keys() -> None:
    """Whatever the order in which they were added."""
    assembler = assembler_for()
    assembled(assembler, BOB)

    assert [piece.route for piece in assembled(assembler, BOB, ALICE).routes] == [ALICE, BOB]


def test_a_route_under_other_parents_keeps_its_objects() -> None:
    """Its piece is another one, but nothing about its router and service has changed."""
    assembler = assembler_for()
    before = {piece.name: piece for piece in assembled(assembler, *MANY).routes}
    after = {piece.name: piece for piece in assembled(assembler, *MANY, *MORE).routes}
    moved = [name for name in before if before[name].parents != after[name].parents]

    assert moved
    assert all(after[name].objects is before[name].objects for name in before)
    assert all((after[name] is before[name]) == (name not in moved) for name in before)


def test_few_routes_are_children_of_the_front_routers() -> None:
    """Many are children of the parents of regions, which are children of the front routers themselves."""
    few, many = assembled(assembler_for(), *MANY[1:]), assembled(assembler_for(), *MANY)
    regions = [piece for piece in many.routers if piece.name != NAMES.front]

    assert {piece.parents for piece in few.routes} == {FRONTS}
    assert [piece.name for piece in few.routers] == [NAMES.front]
    assert {name for piece in many.routes for name in piece.parents} == {piece.name for piece in regions}
    assert all(piece.objects()["routers"][piece.name]["parentRefs"] == list(FRONTS) for piece in regions)


def test_the_routers_above_that_stay_keep_their_pieces() -> None:
    """Those of regions, and the front routers."""
    assembler = assembler_for(error_pages=PAGES)
    before = {piece.name: piece for piece in assembled(assembler, *MANY).routers}
    after = {piece.name: piece for piece in assembled(assembler, *MANY, *MORE).routers}
    stayed = {name for name in before.keys() & after.keys() if before[name].objects() == after[name].objects()}

    assert len(stayed) > 1
    assert NAMES.front in stayed
    assert all(after[name] is before[name] for name in stayed)
    assert list(before)[:2] == [NAMES.front, NAMES.nowhere]


def nowhere_parents(*routespecs: str, **changes: Any) -> list[str] | None:
    """Return the names of the parents of the router for requests without a route; None if there is no such router."""
    routes = [Route.checked(routespec, "http://127.0.0.1:1", {}) for routespec in routespecs]
    found = {piece.name: piece for piece in assembled(assembler_for(**changes), *routes).routers}
    if NAMES.nowhere not in found:
        return None
    names: list[str] = found[NAMES.nowhere].objects()["routers"][NAMES.nowhere]["parentRefs"]
    return names


def test_requests_without_a_route_are_answered_if_all_are_for_the_hub() -> None:
    """It needs the Hub's page, and a front router has no other child as long as there are no routes."""
    assert nowhere_parents(error_pages=PAGES) == list(FRONTS)
    assert nowhere_parents(error_pages=None) is None
    assert nowhere_parents(error_pages=PAGES, shared_places=(Place("", ("hub",)),)) is None


def test_requests_in_a_region_without_a_route_are_answered_as_well() -> None:
    """If no route encloses the whole region, its parent has the router for them among its children."""
    users = [route.routespec for route in MANY]
    routes = assembled(assembler_for(), *MANY).routes
    regions = {*routes[0].parents, *routes[-1].parents}

    assert nowhere_parents("/", *users, error_pages=PAGES) == list(FRONTS)
    assert regions < set(nowhere_parents(*users, error_pages=PAGES) or ())


def front_rule(*routespecs: str, shared_places: tuple[Place, ...] | None) -> str | None:
    """Return the rule of the plain front router, or None if there is none."""
    routes = [Route.checked(routespec, "http://127.0.0.1:1", {}) for routespec in routespecs]
    found = assembled(assembler_for(shared_places=shared_places), *routes).routers
    return found[0].objects()["routers"][NAMES.front]["rule"] if found else None


def test_the_front_router_takes_all_requests_if_they_are_for_the_hub() -> None:
    """Without any route and any page for the rest there is none: a router without children would be an error."""
    assert front_rule("/user/a/", shared_places=None) == 'PathPrefix("/")'
    assert front_rule("/user/a/", shared_places=(Place("", ()), Place("", ("user",)))) == 'PathPrefix("/")'
    assert front_rule(shared_places=None) is None


def test_on_a_shared_entry_point_the_front_router_takes_only_what_has_a_route() -> None:
    """Those of the Hub and its users, whether they are there or not, and all others that are there, the outermost ones."""
    shared = (Place("", ("jh", "user")), Place("", ("jh",)))
    hub = 'Path("/jh") || PathPrefix("/jh/")'

    assert front_rule("/jh/", "/jh/user/a/", "u.example.org/jh/user/b/", shared_places=shared) == hub
    assert front_rule("/docs/a/", "/docs/", "x.example.org/docs/", "/jh/x/", shared_places=shared) == (
        f'Path("/docs") || PathPrefix("/docs/") || {hub} || '
        'Host("x.example.org") && (Path("/docs") || PathPrefix("/docs/"))'
    )


def test_a_place_of_one_host_has_no_routes_of_others() -> None:
    """``JupyterHub.hub_routespec`` may have a host."""
    shared = (Place("hub.example.org", ()), Place("", ("user",)))
    users = 'Path("/user") || PathPrefix("/user/")'

    assert front_rule("hub.example.org/", "a.example.org/user/a/", "docs.example.org/", shared_places=shared) == (
        f'{users} || Host("docs.example.org") && PathPrefix("/") || Host("hub.example.org") && PathPrefix("/")'
    )


def test_the_revision_is_in_its_header() -> None:
    """Nowhere else, so that nothing else changes with it."""
    assembler = assembler_for()
    header = assembled(assembler, ALICE, revision=12).revision.objects()["middlewares"][NAMES.revision]

    assert header == {"headers": {"customResponseHeaders": {"X-Jupyterhub-Routes-Revision": "12"}}}


def test_the_remaining_tree_stays_the_same() -> None:
    """What the admin adds elsewhere is in no piece."""
    assembler = assembler_for(extra={"tls": {"options": {"default": {"minVersion": "VersionTLS13"}}}})
    before, after = assembled(assembler, ALICE), assembled(assembler, ALICE, BOB)

    assert before.remaining["tls"] == {"options": {"default": {"minVersion": "VersionTLS13"}}}
    assert after.remaining is before.remaining


def test_another_certificate_changes_the_remaining_tree_alone() -> None:
    """It is taken from the settings at each snapshot; the pieces of the routes stay the same."""
    certificates = [Certificate("/1.crt", "/1.key"), Certificate("/2.crt", "/2.key"), Certificate("/2.crt", "/2.key")]
    assembler = assembler_for(default_certificate=iter(certificates).__next__)
    first, second, third = (assembled(assembler, ALICE) for _ in certificates)

    named = [one.remaining["tls"]["stores"]["default"]["defaultCertificate"]["certFile"] for one in (first, second)]
    assert named == ["/1.crt", "/2.crt"]
    assert third.remaining is second.remaining
    assert second.routes == first.routes


def test_what_the_admin_adds_to_a_route_moves_between_its_piece_and_the_rest() -> None:
    """While the route is there it is merged into its router; otherwise it is a router of the admin's own."""
    name = NAMES.route(ALICE)
    assembler = assembler_for(extra={"http": {"routers": {name: {"middlewares": ["m"]}}}})
    with_alice, without = assembled(assembler, ALICE, BOB), assembled(assembler, BOB)

    assert with_alice.routes[0].objects()["routers"][name]["middlewares"] == ["m"]
    assert name not in with_alice.remaining["http"]["routers"]
    assert without.remaining["http"]["routers"][name] == {"middlewares": ["m"]}


def test_error_pages_are_only_there_if_the_hub_is() -> None:
    """Whoever replaces an answer needs a page to replace it with."""
    with_pages, without = (assembled(assembler_for(error_pages=pages), ALICE) for pages in (PAGES, None))

    assert NAMES.errors in with_pages.remaining["http"]["middlewares"]
    assert NAMES.errors in with_pages.routers[0].objects()["routers"][NAMES.front]["middlewares"]
    assert NAMES.errors not in without.remaining["http"]["middlewares"]
    assert "middlewares" not in without.routers[0].objects()["routers"][NAMES.front]


def test_a_router_of_the_admin_s_own_can_have_everything() -> None:
    """It is not the router of a route."""
    router = {"rule": "r", "entryPoints": ["x"], "tls": {}}

    remaining = assembled(assembler_for(extra={"http": {"routers": {"own": router}}}), *MANY).remaining

    assert remaining["http"]["routers"]["own"] == router


def test_other_certificates_for_https_targets_change_what_remains_and_no_route() -> None:
    """With the same certificates, in equal objects as well, what remains is the very same object."""
    current = Transports(internal=Transport("one authority"))
    assembler = assembler_for(transports=lambda: current)
    one = assembled(assembler, ALICE)
    current = Transports(internal=Transport("one authority"))
    same = assembled(assembler, ALICE)
    current = Transports(internal=Transport("another authority"))
    other = assembled(assembler, ALICE)

    assert same.remaining is one.remaining
    assert other.remaining["http"]["serversTransports"]["jupyterhub-internal"]["rootCAs"] == ["another authority"]
    assert one.routes[0] is same.routes[0] is other.routes[0]


def test_the_admin_s_additions_to_a_transport_win() -> None:
    """Such as other timeouts, or more servers to trust."""
    extra = {"http": {"serversTransports": {"jupyterhub-internal": {"rootCAs": ["mine"], "disableHTTP2": True}}}}
    assembler = assembler_for(transports=lambda: Transports(internal=Transport("their CA")), extra=extra)

    assert assembled(assembler, ALICE).remaining["http"]["serversTransports"] == {
        "jupyterhub-internal": {"rootCAs": ["mine"], "maxIdleConnsPerHost": 200, "disableHTTP2": True}
    }
