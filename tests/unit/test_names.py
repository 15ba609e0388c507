"""traefik_toml_proxy.traefik.names: the names of everything that is generated."""

from __future__ import annotations

import pytest

from traefik_toml_proxy.errors import ConfigurationError
from traefik_toml_proxy.routes import Route
from traefik_toml_proxy.traefik.names import Names

NAMES = Names()


@pytest.mark.parametrize(
    ("routespec", "expected"),
    [
        ("/", "root"),
        ("/user/alice/", "user-alice"),
        ("/user/Alice@Example.com/", "user-alice-40example-2ecom"),
        ("hub.example.com/user/a/", "hub-2eexample-2ecom-user-a"),
        ("/user/%E7%A7%80/", "user--e7-a7-80"),
        ("//a/", "a"),
        ("/user/" + "x" * 100 + "/", "user-" + "x" * 35),
        ("/123/", "123"),
        ("/@/", "40"),
    ],
)
def test_a_router_name_is_readable_and_ends_in_a_hash(routespec: str, expected: str) -> None:
    """People can find a route by its name; the hash of the routespec makes it unique."""
    readable, _, digest = NAMES.route(Route.checked(routespec, "http://h:1", {})).rpartition("-")

    assert expected == readable
    assert len(digest) == 32
    assert digest.isalnum()
    assert digest.islower()


@pytest.mark.parametrize(
    ("one", "other"), [("/Team-A/", "/team-a/"), ("/a@b/", "/a%40b/"), ("/a-40b/", "/a@b/"), ("/a/b/", "/a-b/")]
)
def test_two_routespecs_have_two_router_names(one: str, other: str) -> None:
    """They differ even when case is ignored, and when the readable part is the same."""
    names = {NAMES.route(Route.checked(routespec, "http://h:1", {})).lower() for routespec in (one, other)}

    assert len(names) == 2


def test_a_router_keeps_its_name() -> None:
    """The name depends only on the routespec, so a new target changes the same router."""
    names = {NAMES.route(Route.checked("/a/", f"http://{host}", {"host": host})) for host in ("one", "two")}

    assert len(names) == 1


def test_regions_have_names_of_another_length_than_routes() -> None:
    """No region has the name of a route, the revision route, or another region; a lone surrogate in its text is allowed."""
    region = NAMES.region("0--1-/user/\udc2f")
    route = NAMES.route(Route.checked("/jupyterhub/", "http://h:1", {}))

    assert region.startswith("jupyterhub-")
    assert len(region) < len(route)
    assert len({region, NAMES.region("0--1-/user/"), NAMES.revision, NAMES.outside}) == 4


def test_the_name_of_a_route_can_be_told_from_all_others() -> None:
    """Whatever the routespec is."""
    for routespec in ("/", "/user/Alice@Example.com/", "hub.example.com/", "/jupyterhub/", "/" + "x" * 100 + "/"):
        assert NAMES.is_route(NAMES.route(Route.checked(routespec, "http://h:1", {})))
    for name in (NAMES.front, NAMES.region("/user/"), NAMES.revision, f"{NAMES.front}-changed", "mine", "a" * 33):
        assert not NAMES.is_route(name)


ALICE = Route.checked("/user/alice/", "http://h:1", {})
BESIDE = Names("h2")


def test_all_names_begin_with_the_namespace() -> None:
    """Without one, they are as before, so that a Hub alone on its Traefik has short names."""
    without = {*vars(NAMES).values(), NAMES.route(ALICE), NAMES.region("x"), NAMES.middleware("campus")}
    within = {*vars(BESIDE).values(), BESIDE.route(ALICE), BESIDE.region("x"), BESIDE.middleware("campus")}

    assert {f"h2_{name}" for name in without if name} <= within
    assert (NAMES.front, BESIDE.front) == ("jupyterhub-front", "h2_jupyterhub-front")


def test_what_a_name_belongs_to_can_be_told_in_a_namespace() -> None:
    """Names of another namespace, or without one, are not those of our routes."""
    assert BESIDE.is_route(BESIDE.route(ALICE))
    assert not any(map(BESIDE.is_route, (NAMES.route(ALICE), Names("h22").route(ALICE), BESIDE.front, "h2_")))
    assert all(map(BESIDE.is_own, (BESIDE.front, NAMES.front)))
    assert not any(map(BESIDE.is_own, (BESIDE.route(ALICE), Names("x").front, "campus")))


def test_the_admin_names_our_objects_without_the_namespace() -> None:
    """So that the same configuration works everywhere; what has another name is the admin's own, and stays as it is."""
    route = NAMES.route(ALICE)
    extra = {
        "http": {"routers": {"jupyterhub-front": {"tls": {}}, "mine": 1, route: {}, BESIDE.secret: 2}, "odd": 3},
        "tls": {"jupyterhub-front": {}},
    }

    assert BESIDE.in_namespace(extra) == {
        "http": {"routers": {BESIDE.front: {"tls": {}}, "mine": 1, f"h2_{route}": {}, BESIDE.secret: 2}, "odd": 3},
        "tls": {"jupyterhub-front": {}},
    }
    assert NAMES.in_namespace(extra) == extra
    assert BESIDE.in_namespace({"http": "nonsense"}) == {"http": "nonsense"}
    assert BESIDE.in_namespace({}) == {}


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("parentRefs", ["jupyterhub-front", "mine"], ["h2_jupyterhub-front", "mine"]),
        (
            "middlewares",
            ["jupyterhub-errors@file", "jupyterhub-x@docker"],
            ["h2_jupyterhub-errors@file", "jupyterhub-x@docker"],
        ),
        ("service", NAMES.route(ALICE), BESIDE.route(ALICE)),
        ("service", BESIDE.route(ALICE), BESIDE.route(ALICE)),
        ("service", "mine", "mine"),
        ("service", 7, 7),
        ("rule", "jupyterhub-front", "jupyterhub-front"),
    ],
)
def test_a_router_of_the_admin_refers_to_our_objects_without_the_namespace(
    key: str, value: object, expected: object
) -> None:
    """Traefik would disable it if there was no such object."""
    full = BESIDE.in_namespace({"http": {"routers": {"mine": {key: value}}}})

    assert full == {"http": {"routers": {"mine": {key: expected}}}}


@pytest.mark.parametrize(
    "name",
    ["h3_jupyterhub-front", "h2-2_jupyterhub-", "h3_jupyterhub-a\nb", Names("h3").route(ALICE), "h-_jupyterhub-x"],
)
@pytest.mark.parametrize("kind", ["routers", "services", "middlewares", "serversTransports"])
def test_what_belongs_to_another_hub_is_refused(kind: str, name: str) -> None:
    """Traefik takes the first of two objects with one name, whichever Hub it is of."""
    with pytest.raises(ConfigurationError, match=r"^extra_dynamic_config: .* is the name of something of another Hub"):
        BESIDE.in_namespace({"http": {kind: {name: {}}}})
    for key, value in (("parentRefs", [name]), ("middlewares", ["mine", f"{name}@file"]), ("service", name)):
        with pytest.raises(ConfigurationError, match="another Hub"):
            BESIDE.in_namespace({"http": {"routers": {"mine": {key: value}}}})
    assert NAMES.in_namespace({"http": {kind: {name: {}}}}) == {"http": {kind: {name: {}}}}


def test_one_object_with_the_namespace_and_without_is_refused() -> None:
    """Only one of the two would have an effect."""
    with pytest.raises(ConfigurationError, match="'h2_jupyterhub-front' is there twice"):
        BESIDE.in_namespace({"http": {"routers": {"jupyterhub-front": {}, BESIDE.front: {}}}})


@pytest.mark.parametrize("name", ["my_router", "h3_mine", "JUPYTERHUB-front", "h3_user-ada", "_jupyterhub-front"])
def test_other_names_are_the_admin_s_own(name: str) -> None:
    """They stay as they are."""
    for kind in ("routers", "services"):
        assert BESIDE.in_namespace({"http": {kind: {name: {}}}}) == {"http": {kind: {name: {}}}}
