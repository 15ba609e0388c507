"""Makes the front routers: each request takes one of them first, and they say what concerns every request. Pure.

All other routers are below them (``parentRefs``), except those of the proxy's own paths. Requests whose headers must be
changed take another one than the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ..routes import Place
from .dynamic import NO_SERVICE, TOP_PRIORITY, DynamicSettings, Objects, at_top, with_extra
from .error_pages import answer_by_proxy
from .rules import go_string, rule
from .sharing import FRONT_ROUTERS, by_rank, hosts_rule

# configurable-http-proxy answers it at this path (lib/configproxy.js, handleHealthCheck), and its users' load balancers ask.
_HEALTH_PATH = "/_chp_healthz"

# JupyterHub and Tornado believe these (jupyterhub/utils.py, get_browser_protocol; tornado/httpserver.py, _apply_xheaders),
# and Traefik lets them pass, whoever sends them.
_BELIEVED = ("Forwarded", "X-Scheme")
# Traefik sets it to the address of its peer (pkg/middlewares/forwardedheaders/forwarded_header.go). If that is a proxy, this
# is not the browser's address, but Tornado prefers it to X-Forwarded-For (tornado/httpserver.py, _apply_xheaders).
_ADDRESS_OF_PEER = "X-Real-Ip"

# Go asks for gzip and unpacks the answer if a request does not say what it accepts (net/http/transport.go, roundTrip).
_SAYS_NOTHING = '!HeaderRegexp("Accept-Encoding", ".") && !HeaderRegexp("Range", ".") && !Method("HEAD")'
_AS_IT_IS = {"Accept-Encoding": "identity"}


class Front(NamedTuple):
    """A front router.

    Attributes:
        name: The name of the router, and of the middleware that changes request headers if there is one.
        condition: A rule that the requests must match, or "".
        headers: The request headers that are set, or removed if they are "". Most requests need no such change, and go
            through the router without any: it would cost them more than the rules that tell them apart.
    """

    name: str
    condition: str
    headers: Mapping[str, str]


def fronts(settings: DynamicSettings) -> list[Front]:
    """Return the front routers for one group of hosts, by rising priority: a request takes the last one that matches."""
    front = settings.names.front
    removed = dict.fromkeys(_BELIEVED, "")
    has_believed = " || ".join(f'HeaderRegexp("{header}", "^")' for header in _BELIEVED)
    found = [
        Front(front, "", {}),
        # One for both, as each takes time whenever a route changes. Who forges headers gets no compressed answers.
        Front(f"{front}-changed", f"({has_believed} || ({_SAYS_NOTHING}))", removed | _AS_IT_IS),
    ]
    if settings.trusted_proxies:
        trusted = " || ".join(f"ClientIP({go_string(address)})" for address in settings.trusted_proxies)
        wrong = {_ADDRESS_OF_PEER: ""}
        found += [
            Front(f"{front}-trusted", f"({trusted})", wrong),
            Front(f"{front}-trusted-changed", f"({trusted}) && {_SAYS_NOTHING}", wrong | _AS_IT_IS),
        ]
    return found


def front_names(settings: DynamicSettings) -> tuple[str, ...]:
    """Return the names of all front routers."""
    return tuple(
        _router_name(front, group) for group in range(len(by_rank(settings.hosts))) for front in fronts(settings)
    )


def _router_name(front: Front, group: int) -> str:
    return f"{front.name}-named" if group else front.name


def front_router_objects(settings: DynamicSettings, places: Sequence[Place]) -> Objects:
    """Return the front routers.

    Args:
        settings: What all routes have in common.
        places: The places that contain all routes.
    """
    everything = Place("", ())
    # Each comparison with a path costs every request about as much as the rest of a condition.
    paths = "" if tuple(places) == (everything,) else " || ".join(map(rule, places))
    errors = [settings.names.errors] if settings.error_pages else []
    rules = [_middleware_name(settings, name) for name in settings.route_middlewares]
    routers = {
        _router_name(front, group): {
            "rule": _all_of(hosts_rule(hosts), paths, front.condition) or rule(everything),
            **at_top(settings),
            "priority": settings.lowest_priority + FRONT_ROUTERS * group + number,
            **_middlewares([*rules, *([front.name] if front.headers else []), *errors]),
        }
        for group, hosts in enumerate(by_rank(settings.hosts))
        for number, front in enumerate(fronts(settings))
    }
    return with_extra(settings, {"routers": routers})


def _all_of(hosts: str, paths: str, condition: str) -> str:
    """Return the rule for requests that match all of these; "" matches all. Only a condition is in parentheses already."""
    alternatives = [text for text in (hosts, paths) if text]
    if len(alternatives) + bool(condition) > 1:
        alternatives = [f"({text})" for text in alternatives]
    return " && ".join([*alternatives, *([condition] if condition else [])])


def _middleware_name(settings: DynamicSettings, name: str) -> str:
    """Return the full name of one of the admin's middlewares; one without settings is defined elsewhere, as it is."""
    return settings.names.middleware(name) if settings.route_middlewares[name] else name


def _middlewares(names: list[str]) -> dict[str, list[str]]:
    return {"middlewares": names} if names else {}


def front_objects(settings: DynamicSettings) -> Objects:
    """Return what belongs to the front routers and does not depend on the routes."""
    names = settings.names
    middlewares: dict[str, Any] = {
        front.name: {"headers": {"customRequestHeaders": dict(front.headers)}}
        for front in fronts(settings)
        if front.headers
    }
    middlewares |= {
        _middleware_name(settings, name): dict(table) for name, table in settings.route_middlewares.items() if table
    }
    routers: dict[str, Any] = {}
    if settings.shared_places is None:
        routers[names.health] = {
            "rule": f"Path({go_string(_HEALTH_PATH)})",
            **at_top(settings),
            "priority": TOP_PRIORITY,
            "middlewares": [names.health],
            "service": NO_SERVICE,
        }
        middlewares[names.health] = answer_by_proxy(200)
    return {"routers": routers, "middlewares": middlewares}


def nowhere_objects(settings: DynamicSettings, parents: Sequence[str]) -> Objects:
    """Return the router for requests that no route matches, which shows the Hub's page for 404.

    Args:
        settings: What all routes have in common.
        parents: The names of its parents: the front routers, and those without a route for all requests that they match.
    """
    router = {
        "rule": 'PathPrefix("/")',
        "priority": -1,
        "parentRefs": list(parents),
        "middlewares": [settings.names.nowhere],
        "service": NO_SERVICE,
    }
    return with_extra(settings, {"routers": {settings.names.nowhere: router}})
