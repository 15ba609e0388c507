"""traefik_toml_proxy.traefik.dynamic: the objects of one route, one parent and the revision route, and what remains."""

from __future__ import annotations

from typing import Any

import pytest

from traefik_toml_proxy.errors import ConfigurationError
from traefik_toml_proxy.routes import Route
from traefik_toml_proxy.traefik.dynamic import (
    Certificate,
    DynamicSettings,
    parent_objects,
    remaining_tree,
    revision_header,
    revision_router,
    route_objects,
)
from traefik_toml_proxy.traefik.layers import Parent
from traefik_toml_proxy.traefik.names import Names
from traefik_toml_proxy.traefik.transports import Transport, Transports

ALICE = Route.checked("/user/alice/", "http://127.0.0.1:8001", {})
OURS = Certificate("/c.pem", "/k.pem")
PARENT = Parent("jupyterhub-x", 'PathPrefix("/user/")', 3)


def settings(**changes: Any) -> DynamicSettings:
    """Return default settings with these changes."""
    return DynamicSettings(**{"entry_point": "http", "secret_path": "/secret"} | changes)


def test_the_objects_of_a_route() -> None:
    """A router without entry points or TLS, which belong to the front routers, and a service with one server."""
    assert route_objects(settings(router_tls=True), ALICE, "alice") == {
        "routers": {
            "alice": {
                "rule": 'Path("/user/alice") || PathPrefix("/user/alice/")',
                "priority": 3,
                "service": "alice",
            }
        },
        "services": {"alice": {"loadBalancer": {"servers": [{"url": "http://127.0.0.1:8001"}]}}},
    }


def test_the_path_of_a_target_is_kept() -> None:
    """By default, Traefik drops the path of a server's URL (pkg/proxy/httputil/proxy.go:96-102)."""
    route = Route.checked("/user/bob/", "http://127.0.0.1:8002/base", {})
    service = route_objects(settings(), route, "bob")["services"]["bob"]

    assert service["loadBalancer"]["servers"] == [{"url": "http://127.0.0.1:8002/base", "preservePath": True}]


def test_the_parent_of_a_region_is_a_child_of_the_front_routers() -> None:
    """It has no service, as its children have."""
    assert parent_objects(settings(router_tls=True), PARENT, ("front", "front-exact")) == {
        "routers": {
            "jupyterhub-x": {"rule": PARENT.rule, "priority": 3, "parentRefs": ["front", "front-exact"]},
        }
    }


@pytest.mark.parametrize("log_failures", [False, True])
def test_the_secret_paths_are_in_no_access_log_but_ours(log_failures: bool) -> None:
    """Whoever reads an access log of the admin's must not learn the secret."""
    router = revision_router(settings(log_failures=log_failures))["routers"]["jupyterhub-secret"]

    assert router["observability"] == {"accessLogs": log_failures}


@pytest.mark.parametrize(("router_tls", "expected"), [(False, {}), (True, {"tls": {}})])
def test_the_revision_route_is_below_the_secret_path(router_tls: bool, expected: dict[str, Any]) -> None:
    """Its service is one that Traefik always has, and its middleware adds the revision."""
    assert revision_router(settings(router_tls=router_tls))["routers"] == {
        "jupyterhub-secret": {
            "rule": 'PathPrefix("/secret/")',
            "entryPoints": ["http"],
            **expected,
            "priority": 1_000_000,
            "observability": {"accessLogs": False},
        },
        "jupyterhub-revision": {
            "rule": 'Path("/secret/revision")',
            "priority": 1,
            "parentRefs": ["jupyterhub-secret"],
            "middlewares": ["jupyterhub-revision"],
            "service": "noop@internal",
        },
    }
    assert revision_header(settings(), 7) == {
        "middlewares": {
            "jupyterhub-revision": {"headers": {"customResponseHeaders": {"X-Jupyterhub-Routes-Revision": "7"}}}
        }
    }


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ({"routers": {"alice": {"service": "mine"}}}, {"service": "mine", "priority": 3}),
        ({"routers": {"alice": {"middlewares": ["m"]}}}, {"priority": 3, "middlewares": ["m"]}),
        ({"routers": {"bob": {"priority": 9}}, "services": {}}, {"priority": 3}),
        ({"middlewares": {"alice": {"compress": {}}}}, {"priority": 3}),
    ],
)
def test_the_admin_s_additions_are_merged_by_kind_and_name(extra: dict[str, Any], expected: dict[str, Any]) -> None:
    """Theirs win; those for other objects do not matter."""
    objects = route_objects(settings(extra={"http": extra}), ALICE, "alice")

    assert objects.keys() == {"routers", "services"}
    assert expected.items() <= objects["routers"]["alice"].items()


def test_the_admin_can_add_to_the_revision_route() -> None:
    """Its router and its middleware are objects like all others."""
    middleware = {"headers": {"customResponseHeaders": {"X-More": "x"}}}
    extra = {"http": {"middlewares": {"jupyterhub-revision": middleware}}}
    header = revision_header(settings(extra=extra), 7)["middlewares"]["jupyterhub-revision"]

    assert header["headers"]["customResponseHeaders"] == {"X-Jupyterhub-Routes-Revision": "7", "X-More": "x"}


def test_an_addition_that_is_not_a_table_replaces_the_object() -> None:
    """Traefik says what it thinks of that; other routes are not affected."""
    objects = route_objects(settings(extra={"http": {"services": {"alice": "x"}}}), ALICE, "alice")

    assert objects["services"] == {"alice": "x"}
    assert objects["routers"].keys() == {"alice"}


def test_what_remains_is_the_certificate_and_what_the_admin_adds_elsewhere() -> None:
    """Objects that are merged into others are left out, and so are empty sections, which Traefik refuses."""
    extra: dict[str, Any] = {
        "http": {"routers": {"alice": {"middlewares": ["m"]}, "own": {"rule": "r"}}, "services": {"alice": {}}},
        "tcp": {"routers": {}},
        "tls": {"options": {"default": {"minVersion": "x"}}},
    }
    tree = remaining_tree(
        settings(extra=extra),
        Certificate("/c.crt", "/c.key"),
        {"routers": {}, "middlewares": {}},
        {"routers": {"alice"}, "services": {"alice"}},
    )

    assert tree == {
        "http": {"routers": {"own": {"rule": "r"}}},
        "tls": {
            "options": {"default": {"minVersion": "x"}},
            "stores": {"default": {"defaultCertificate": {"certFile": "/c.crt", "keyFile": "/c.key"}}},
        },
    }
    assert "alice" in extra["http"]["routers"]


def test_the_admin_can_add_to_the_objects_that_are_always_there() -> None:
    """Theirs win, as everywhere."""
    extra = {"http": {"routers": {"jupyterhub-x": {"priority": 9}}}}

    assert remaining_tree(
        settings(extra=extra), None, {"routers": {"jupyterhub-x": {"priority": 1, "rule": "r"}}}, {}
    ) == {"http": {"routers": {"jupyterhub-x": {"priority": 9, "rule": "r"}}}}


def test_an_https_target_has_a_transport() -> None:
    """An extra route uses Traefik's default one, which is no part of the service."""
    some = settings(transports=lambda: Transports(internal=Transport("their CA")))
    inside = Route.checked("/user/alice/", "https://127.0.0.1:8001", {"user": "alice"})
    outside = Route.checked("/docs/", "https://docs.example.org/site", {"extra": True})

    assert route_objects(some, inside, "alice")["services"]["alice"] == {
        "loadBalancer": {"servers": [{"url": inside.target}], "serversTransport": "jupyterhub-internal"}
    }
    assert route_objects(some, outside, "docs")["services"]["docs"] == {
        "loadBalancer": {"servers": [{"url": outside.target, "preservePath": True}]}
    }


def test_without_anything_nothing_remains() -> None:
    """No certificate, no extra configuration: an empty tree."""
    assert remaining_tree(settings(), None, {}, {}) == {}
    assert settings(extra={"http": {"routers": {}}}).extra_objects() == {}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("rule", "r"),
        ("priority", 9),
        ("tls", {}),
        ("entryPoints", ["x"]),
        ("middlewares", {"not": "a list"}),
        ("middlewares", ["m", {}]),
        ("service", ["s"]),
    ],
)
def test_the_router_of_a_route_cannot_get_what_belongs_to_all_routes(key: str, value: object) -> None:
    """Such a key would change which requests it gets, or Traefik would not take it from a child."""
    name = Names().route(ALICE)
    settings(extra={"http": {"routers": {name: {"middlewares": ["m"], "service": "s"}, "alice": {key: value}}}})

    with pytest.raises(ConfigurationError, match=f"'{name}' belongs to a route.* not '{key}' = .*'jupyterhub-front'"):
        settings(extra={"http": {"routers": {name: {"service": "s", key: value}}}})


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        ({"http": []}, "'http' and everything in it must be tables"),
        ({"http": None}, "'http' and everything in it must be tables"),
        ({"http": {"routers": ["x"]}}, "'http' and everything in it must be tables"),
        ({"http": {"routers": {"x": 1}}}, "everything in 'http.routers' must be tables"),
    ],
)
def test_additions_that_are_not_tables_are_refused(extra: dict[str, Any], reason: str) -> None:
    """The error names the trait."""
    with pytest.raises(ConfigurationError, match=f"extra_dynamic_config: {reason}"):
        settings(extra=extra)


class TestStrictNames:
    """With ``sniStrict``, Traefik serves no default certificate, so ours has to be in the list as well."""

    def listed(self, tls: object) -> object:
        """Return the list of certificates that a configuration of the admin's leads to."""
        tree = remaining_tree(settings(extra={"tls": tls}), OURS, {}, {})
        return tree["tls"].get("certificates") if isinstance(tree["tls"], dict) else None

    def test_ours_is_listed(self) -> None:
        """Whatever the options are called."""
        assert self.listed({"options": {"mine": {"sniStrict": True}}}) == [OURS.as_tree()]

    def test_the_admin_s_list_is_kept(self) -> None:
        """Theirs come after ours."""
        theirs = {"certFile": "/their-c.pem", "keyFile": "/their-k.pem"}
        tls = {"options": {"default": {"sniStrict": True}}, "certificates": [theirs]}

        assert self.listed(tls) == [OURS.as_tree(), theirs]
        assert tls["certificates"] == [theirs]

    @pytest.mark.parametrize(
        "tls",
        [{}, {"options": {}}, {"options": {"default": {"sniStrict": False}}}, {"options": {"default": 1}}, "none"],
    )
    def test_it_is_not_listed_otherwise(self, tls: object) -> None:
        """The default certificate is enough."""
        assert self.listed(tls) is None

    def test_without_a_certificate_there_is_nothing_to_list(self) -> None:
        """The admin's Traefik may have others."""
        tls = {"options": {"default": {"sniStrict": True}}}

        assert remaining_tree(settings(extra={"tls": tls}), None, {}, {}) == {"tls": tls}


def test_the_middlewares_of_front_routers_cannot_be_replaced() -> None:
    """Error pages would be lost, and headers believed."""
    settings(extra={"http": {"routers": {"jupyterhub-front": {"tls": {}}, "mine": {"middlewares": ["m"]}}}})

    with pytest.raises(ConfigurationError, match=r"the middlewares of 'jupyterhub-front-trusted' .*route_middlewares"):
        settings(extra={"http": {"routers": {"jupyterhub-front-trusted": {"middlewares": ["m"]}}}})


@pytest.mark.parametrize(
    ("name", "middleware", "reason"),
    [
        ("campus", None, "the settings of 'campus' must be a dict, not 'None'"),
        ("campus", ["auth"], "the settings of 'campus' must be a dict"),
        ("campus@file", {"compress": {}}, "'campus@file' cannot be the name of a middleware"),
        ("", {}, "'' cannot be the name of a middleware"),
        ("a b", {"compress": {}}, "'a b' cannot be the name of a middleware"),
        ("a║b", {"compress": {}}, "cannot be the name of a middleware"),
        ("a@b@c", {}, "'a@b@c' cannot be the name of a middleware"),
        ("jupyterhub-revision", {"compress": {}}, "'jupyterhub-revision' is a name that the proxy uses itself"),
    ],
)
def test_a_route_middleware_that_traefik_would_not_find_is_refused(name: str, middleware: object, reason: str) -> None:
    """Without it, no front router would work, and every request would get 404."""
    with pytest.raises(ConfigurationError, match=f"route_middlewares: .*{reason}"):
        settings(route_middlewares={name: middleware})


def test_a_route_middleware_may_have_any_readable_name() -> None:
    """Also that of a provider, if it has no settings."""
    settings(route_middlewares={"größe.1_2-3": {"compress": {}}, "auth@docker": {}, "elsewhere": {}})


DEFAULT = {"default": {"defaultCertificate": OURS.as_tree()}}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"stores": DEFAULT}),
        ({"hosts": ("a.org",)}, {"stores": DEFAULT, "certificates": [OURS.as_tree()]}),
        ({"is_default": False}, {"certificates": [OURS.as_tree()]}),
    ],
)
def test_the_certificate_of_one_hub_among_several_is_for_its_names(
    changes: dict[str, Any], expected: dict[str, Any]
) -> None:
    """Traefik has only one default certificate, which may be another Hub's."""
    assert remaining_tree(settings(**changes), OURS, {}, {}) == {"tls": expected}


def test_without_a_certificate_there_is_none_for_names() -> None:
    """And nothing about TLS at all."""
    assert remaining_tree(settings(hosts=("a.org",), is_default=False), None, {}, {}) == {}
