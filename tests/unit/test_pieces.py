"""traefik_toml_proxy.traefik.pieces: what has not changed since the last snapshot is the same object."""

from __future__ import annotations

from typing import Any

import pytest

from traefik_toml_proxy.routes import Route, RouteTable, Snapshot
from traefik_toml_proxy.traefik.dynamic import DynamicSettings
from traefik_toml_proxy.traefik.layers import FEW_ROUTES
from traefik_toml_proxy.traefik.names import Names
from traefik_toml_proxy.traefik.pieces import Assembler, Assembly

NAMES = Names()
ALICE = Route.checked("/user/alice/", "http://127.0.0.1:8001", {"user": "alice"})
BOB = Route.checked("/user/bob/", "http://127.0.0.1:8002", {"user": "bob"})
MANY = [Route.checked(f"/user/{number:03}/", "http://127.0.0.1:1", {}) for number in range(FEW_ROUTES)]
MORE = [Route.checked(f"/user/0{number:03}/", "http://127.0.0.1:1", {}) for number in range(50)]


def assembler_for(**changes: Any) -> Assembler:
    """Return an assembler for default settings with these changes."""
    return Assembler(DynamicSettings(**{"entry_point": "http", "revision_path": "/secret/revision"} | changes))


def assembled(assembler: Assembler, *routes: Route, revision: int = 1) -> Assembly:
    """Return the pieces of a table."""
    return assembler.assemble(Snapshot(revision, RouteTable(routes)))


def test_a_route_has_a_router_and_a_service_of_one_name() -> None:
    """And its piece says which route it is for."""
    (piece,) = assembled(assembler_for(), ALICE).routes

    assert (piece.name, piece.parents, piece.route) == (NAMES.route(ALICE), (), ALICE)
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


def test_a_route_that_becomes_a_child_gets_other_objects() -> None:
    """The router of a child has no entry points."""
    assembler = assembler_for()
    flat = assembled(assembler, *MANY[1:]).routes[0]
    child = next(piece for piece in assembled(assembler, *MANY).routes if piece.name == flat.name)

    assert child.parents
    assert "entryPoints" in flat.objects()["routers"][flat.name]
    assert "entryPoints" not in child.objects()["routers"][child.name]


def test_the_parents_that_stay_keep_their_pieces() -> None:
    """So does the router of the revision route."""
    assembler = assembler_for()
    before = {piece.name: piece for piece in assembled(assembler, *MANY).routers}
    after = {piece.name: piece for piece in assembled(assembler, *MANY, *MORE).routers}
    stayed = {name for name in before.keys() & after.keys() if before[name].objects() == after[name].objects()}

    assert len(stayed) > 1
    assert all(after[name] is before[name] for name in stayed)
    assert next(iter(before)) == NAMES.revision
    assert {name for piece in assembled(assembler, *MANY).routes for name in piece.parents} == set(before) - {
        NAMES.revision
    }


def test_the_revision_is_in_its_header() -> None:
    """Nowhere else, so that nothing else changes with it."""
    assembler = assembler_for()
    header = assembled(assembler, ALICE, revision=12).revision.objects()["middlewares"][NAMES.revision]

    assert header == {"headers": {"customResponseHeaders": {"X-Jupyterhub-Routes-Revision": "12"}}}


def test_the_remaining_tree_stays_the_same() -> None:
    """What the admin adds elsewhere is in no piece."""
    assembler = assembler_for(extra={"tls": {"options": {"default": {"minVersion": "VersionTLS13"}}}})
    before, after = assembled(assembler, ALICE), assembled(assembler, ALICE, BOB)

    assert before.remaining == {"tls": {"options": {"default": {"minVersion": "VersionTLS13"}}}}
    assert after.remaining is before.remaining


def test_what_the_admin_adds_to_a_route_moves_between_its_piece_and_the_rest() -> None:
    """While the route is there it is merged into its router; otherwise it is a router of the admin's own."""
    name = NAMES.route(ALICE)
    assembler = assembler_for(extra={"http": {"routers": {name: {"middlewares": ["m"]}}}})
    with_alice, without = assembled(assembler, ALICE, BOB), assembled(assembler, BOB)

    assert with_alice.routes[0].objects()["routers"][name]["middlewares"] == ["m"]
    assert with_alice.remaining == {}
    assert without.remaining == {"http": {"routers": {name: {"middlewares": ["m"]}}}}


@pytest.mark.parametrize(
    ("router", "is_flat"),
    [
        ({"middlewares": ["m"]}, False),
        ({"service": "s"}, False),
        ({"middlewares": {"not": "a list"}}, True),
        ({"service": [{"not": "a name"}]}, True),
        ({"tls": {}}, True),
        ({"priority": 9}, True),
    ],
)
def test_settings_that_a_child_must_not_have_make_the_table_flat(router: dict[str, Any], is_flat: bool) -> None:
    """Also in the next snapshot, when the names of the routes are known."""
    assembler = assembler_for(extra={"http": {"routers": {NAMES.route(MANY[7]): router}}})

    for _ in range(2):
        assembly = assembled(assembler, *MANY)
        assert is_flat == (assembly.routes[0].parents == ())
        assert is_flat == (len(assembly.routers) == 1)


def test_a_router_of_the_admin_s_own_keeps_the_layers() -> None:
    """It is not the router of a route."""
    assembler = assembler_for(extra={"http": {"routers": {"own": {"rule": "r", "entryPoints": ["x"]}}}})

    assert len(assembled(assembler, *MANY).routers) > 1
