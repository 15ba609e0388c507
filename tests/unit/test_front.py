"""traefik_toml_proxy.traefik.front: which front router a request takes, and what it does there."""

from __future__ import annotations

from typing import Any

import pytest

from traefik_toml_proxy.routes import Place
from traefik_toml_proxy.traefik.dynamic import DynamicSettings, ErrorPages
from traefik_toml_proxy.traefik.front import front_names, front_objects, front_router_objects, fronts, nowhere_objects
from traefik_toml_proxy.traefik.names import Names

EVERYWHERE = (Place("", ()),)
PAGES = ErrorPages("http://127.0.0.1:8081/hub/", "http://127.0.0.1:8000")
SAYS_NOTHING = '!HeaderRegexp("Accept-Encoding", ".") && !HeaderRegexp("Range", ".") && !Method("HEAD")'
CHANGED = f'(HeaderRegexp("Forwarded", "^") || HeaderRegexp("X-Scheme", "^") || ({SAYS_NOTHING}))'


def settings(**changes: Any) -> DynamicSettings:
    """Return default settings with these changes."""
    return DynamicSettings(**{"entry_point": "http", "secret_path": "/secret"} | changes)


def changed_headers(**changes: Any) -> dict[str, dict[str, str]]:
    """Return what each front router changes in the headers of a request."""
    middlewares = front_objects(settings(**changes))["middlewares"]
    routers = front_router_objects(settings(**changes), EVERYWHERE)["routers"]
    return {
        name.removeprefix("jupyterhub-front"): middlewares[name]["headers"]["customRequestHeaders"]
        if name in router.get("middlewares", [])
        else {}
        for name, router in routers.items()
    }


def test_most_requests_take_the_router_that_changes_nothing() -> None:
    """Above it is the one for headers that must not be believed, and for requests that do not say what they accept."""
    routers = front_router_objects(settings(router_tls=True), EVERYWHERE)["routers"]

    assert routers == {
        "jupyterhub-front": {"rule": 'PathPrefix("/")', "entryPoints": ["http"], "tls": {}, "priority": 1},
        "jupyterhub-front-changed": {
            "rule": CHANGED,
            "entryPoints": ["http"],
            "tls": {},
            "priority": 2,
            "middlewares": ["jupyterhub-front-changed"],
        },
    }


def test_on_a_shared_entry_point_every_condition_is_for_the_hub_s_places_only() -> None:
    """Others' requests are not ours, whatever their headers are."""
    routers = front_router_objects(settings(), (Place("", ("a",)), Place("", ("b",))))["routers"]
    places = 'Path("/a") || PathPrefix("/a/") || Path("/b") || PathPrefix("/b/")'

    assert routers["jupyterhub-front"]["rule"] == places
    assert routers["jupyterhub-front-changed"]["rule"] == f"({places}) && {CHANGED}"


def test_the_front_routers_have_adjacent_priorities() -> None:
    """No router of others can come between them, and get the requests of browsers alone."""
    some = settings(lowest_priority=7, trusted_proxies=("10.0.0.0/8",))

    assert [router["priority"] for router in front_router_objects(some, EVERYWHERE)["routers"].values()] == [
        7,
        8,
        9,
        10,
    ]


@pytest.mark.parametrize(
    ("hosts", "places", "expected"),
    [
        (("a.org",), EVERYWHERE, 'Host("a.org")'),
        (("a.org", "b.org"), EVERYWHERE, 'Host("a.org") || Host("b.org")'),
        (
            ("a.org", "b.org"),
            (Place("", ("x",)),),
            '(Host("a.org") || Host("b.org")) && (Path("/x") || PathPrefix("/x/"))',
        ),
    ],
)
def test_with_hosts_every_condition_is_for_these_only(
    hosts: tuple[str, ...], places: tuple[Place, ...], expected: str
) -> None:
    """Others' requests are not ours, whatever their paths and headers are."""
    routers = front_router_objects(settings(hosts=hosts), places)["routers"]
    in_parentheses = expected if " && " in expected else f"({expected})"

    assert routers["jupyterhub-front"]["rule"] == expected
    assert routers["jupyterhub-front-changed"]["rule"] == f"{in_parentheses} && {CHANGED}"


def test_with_named_hosts_and_wildcards_there_are_front_routers_of_both_ranks() -> None:
    """Beside a Hub with a wildcard for a name, the Hub that names it gets the requests for it."""
    some = settings(lowest_priority=7, hosts=("a.org", "*.a.org"))
    routers = front_router_objects(some, EVERYWHERE)["routers"]

    assert {name: (router["rule"].partition(" ")[0], router["priority"]) for name, router in routers.items()} == {
        "jupyterhub-front": (r'HostRegexp("^[a-z0-9_-]+\\.a\\.org\\.?$")', 7),
        "jupyterhub-front-changed": (r'(HostRegexp("^[a-z0-9_-]+\\.a\\.org\\.?$"))', 8),
        "jupyterhub-front-named": ('Host("a.org")', 11),
        "jupyterhub-front-changed-named": ('(Host("a.org"))', 12),
    }
    assert front_names(some) == tuple(routers)
    assert routers["jupyterhub-front-changed-named"]["middlewares"] == ["jupyterhub-front-changed"]


def test_the_admin_s_middlewares_are_in_the_namespace() -> None:
    """Another Hub on the same Traefik may have other settings under the same name. Those defined elsewhere are the same."""
    mine = settings(route_middlewares={"campus": {"ipAllowList": {}}, "auth@docker": {}}, names=Names("h2"))

    routers = front_router_objects(mine, EVERYWHERE)["routers"]
    assert routers["h2_jupyterhub-front"]["middlewares"] == ["h2_campus", "auth@docker"]
    assert front_objects(mine)["middlewares"]["h2_campus"] == {"ipAllowList": {}}


def test_headers_that_must_not_be_believed_are_removed() -> None:
    """The address of the peer is that of the browser, as long as no proxy is in front."""
    assert changed_headers() == {
        "": {},
        "-changed": {"Forwarded": "", "X-Scheme": "", "Accept-Encoding": "identity"},
    }


def test_a_trusted_proxy_s_headers_are_believed_but_its_address_is_not_the_browser_s() -> None:
    """All others are treated as before."""
    trusted = {"trusted_proxies": ("10.0.0.0/8", "::1")}
    names = [(front.name, front.condition) for front in fronts(settings(**trusted))]

    assert names[2:] == [
        ("jupyterhub-front-trusted", '(ClientIP("10.0.0.0/8") || ClientIP("::1"))'),
        ("jupyterhub-front-trusted-changed", f'(ClientIP("10.0.0.0/8") || ClientIP("::1")) && {SAYS_NOTHING}'),
    ]
    assert changed_headers(**trusted) == changed_headers() | {
        "-trusted": {"X-Real-Ip": ""},
        "-trusted-changed": {"X-Real-Ip": "", "Accept-Encoding": "identity"},
    }


def test_the_admin_s_middlewares_come_first() -> None:
    """One without settings is defined elsewhere."""
    mine = settings(route_middlewares={"campus": {"ipAllowList": {}}, "auth@docker": {}}, error_pages=PAGES)
    routers = front_router_objects(mine, EVERYWHERE)["routers"]

    assert routers["jupyterhub-front"]["middlewares"] == ["campus", "auth@docker", "jupyterhub-errors"]
    assert routers["jupyterhub-front-changed"]["middlewares"] == [
        *("campus", "auth@docker", "jupyterhub-front-changed", "jupyterhub-errors")
    ]
    middlewares = front_objects(mine)["middlewares"]
    assert middlewares["campus"] == {"ipAllowList": {}}
    assert "auth@docker" not in middlewares


@pytest.mark.parametrize("router_tls", [False, True])
def test_the_path_that_load_balancers_check_is_answered_without_the_hub(router_tls: bool) -> None:
    """Where others share the entry point, it is theirs."""
    health = front_objects(settings(router_tls=router_tls))["routers"]["jupyterhub-health"]

    assert health["rule"] == 'Path("/_chp_healthz")'
    assert health["middlewares"] == ["jupyterhub-health"]
    assert ("tls" in health) == router_tls
    assert front_objects(settings(shared_places=EVERYWHERE))["routers"] == {}


def test_requests_that_no_route_matches_are_below_all_routes() -> None:
    """No route has a priority below 1."""
    assert nowhere_objects(settings(), ("a", "b"))["routers"] == {
        "jupyterhub-nowhere": {
            "rule": 'PathPrefix("/")',
            "priority": -1,
            "parentRefs": ["a", "b"],
            "middlewares": ["jupyterhub-nowhere"],
            "service": "noop@internal",
        }
    }


def test_the_admin_can_add_to_these_routers() -> None:
    """As to all objects of the proxy."""
    extra = {"http": {"routers": {"jupyterhub-front": {"tls": {}}, "jupyterhub-nowhere": {"priority": -2}}}}

    assert front_router_objects(settings(extra=extra), EVERYWHERE)["routers"]["jupyterhub-front"]["tls"] == {}
    assert nowhere_objects(settings(extra=extra), ())["routers"]["jupyterhub-nowhere"]["priority"] == -2
