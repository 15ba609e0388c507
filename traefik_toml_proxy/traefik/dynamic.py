"""Makes the objects in Traefik's dynamic configuration for a route, a parent router or the revision route. Pure.

Objects are plain dicts by kind (``routers``, ``services``, ``middlewares``) and name, in the form that Traefik documents for
``http``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from ..errors import ConfigurationError, quoted
from ..routes import Place, Route
from .layers import Parent
from .names import Names
from .rules import go_string, priority, rule
from .transports import Transports
from .tree import deep_merge

Objects = dict[str, dict[str, Any]]

# The response header of the revision route.
REVISION_HEADER = "X-Jupyterhub-Routes-Revision"

# Above the priorities of everything else, so a check takes no longer with many routes.
TOP_PRIORITY = 1_000_000

# Traefik takes what is after an @ for the provider, and joins lists of names with a character of its own.
_MIDDLEWARE_NAME = re.compile(r"[\w.-]+(?:@[\w.-]+)?")

# This service always exists, and answers 418 (pkg/server/service/internalhandler.go:49).
NO_SERVICE = "noop@internal"


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate and its key, as paths that Traefik can open.

    Attributes:
        cert_file: The certificate.
        key_file: Its key.
        server_name: A name that it is for, if there is one.
    """

    cert_file: str
    key_file: str
    server_name: str | None = None

    def as_tree(self) -> dict[str, Any]:
        """Return Traefik's form of it."""
        return {"certFile": self.cert_file, "keyFile": self.key_file}


@dataclass(frozen=True, slots=True)
class ErrorPages:
    """Where error pages come from.

    Attributes:
        hub_url: The URL of the Hub's own pages, such as ``http://127.0.0.1:8081/hub/``; its path is ``Hub.base_url``.
        loop_url: The URL at which Traefik itself reaches its public entry point, ``http[s]://host:port``.
    """

    hub_url: str
    loop_url: str


@dataclass(frozen=True, slots=True)
class DynamicSettings:
    """What all routes have in common.

    Attributes:
        entry_point: The name of the public entry point. Every router names it; otherwise it would join all entry points.
        secret_path: The path that begins all paths that only the proxy knows; it must not end in a slash.
        revision_name: What follows it in the path of the revision route.
        hosts: The host names of this Hub; empty for all. Other requests take no front router.
        shared_places: The places that contain the Hub's routes, if the entry point also serves others; those of further
            routes are found. None if all requests are for the Hub; then it also gets those that no route matches.
        lowest_priority: The lowest priority of the front routers; see ``sharing.py``.
        error_pages: Where error pages come from; without it, a client gets Traefik's own ones.
        log_failures: Whether Traefik logs which requests get an error page, for :mod:`.failures`.
        trusted_proxies: The addresses or networks of proxies in front of Traefik whose headers are believed.
        route_middlewares: The admin's middlewares for all routes, by name, in the order in which a request takes them. One
            without settings is defined elsewhere.
        default_certificate: Returns the certificate to serve by default, which may change from one commit to the next.
            Without one, Traefik generates an RSA key at each reload (pkg/tls/tlsmanager.go:363-378).
        is_default: Whether it is really the default one, which only one file of a folder can say. If not, only clients that
            ask for one of its names get it.
        transports: Returns how to connect to https targets. The certificates may change from one commit to the next, but not
            which transports there are.
        router_tls: Whether each router enables TLS, because the entry point may not.
        extra: The admin's own dynamic configuration; it overrides ours.
        names: Makes the names of all objects.

    Raises:
        ConfigurationError: If ``extra`` has something other than tables where Traefik expects tables, or adds something to
            the router of a route that only belongs to a front router, or if ``route_middlewares`` has a name or settings
            that Traefik would not find.
    """

    entry_point: str
    secret_path: str
    revision_name: str = "revision"
    hosts: tuple[str, ...] = ()
    shared_places: tuple[Place, ...] | None = None
    lowest_priority: int = 1
    error_pages: ErrorPages | None = None
    log_failures: bool = False
    trusted_proxies: tuple[str, ...] = ()
    route_middlewares: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    default_certificate: Callable[[], Certificate | None] = lambda: None
    is_default: bool = True
    transports: Callable[[], Transports] = Transports
    router_tls: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)
    names: Names = field(default_factory=Names)

    def __post_init__(self) -> None:
        for name, middleware in self.route_middlewares.items():
            self._check_middleware(name, middleware)
        http = self.extra.get("http", {})
        tables = [http, *http.values()] if isinstance(http, Mapping) else [http]
        if not all(isinstance(table, Mapping) for table in tables):
            raise ConfigurationError("extra_dynamic_config: 'http' and everything in it must be tables (dicts).")
        for name, router in http.get("routers", {}).items():
            self._check_router(name, router)

    def _check_middleware(self, name: str, middleware: object) -> None:
        """Refuse what would disable the front routers: Traefik would answer 404 to everyone, though all routes are live."""
        if not isinstance(middleware, Mapping):
            raise ConfigurationError(
                f"route_middlewares: the settings of {quoted(name)} must be a dict, not {quoted(repr(middleware))}."
            )
        if _MIDDLEWARE_NAME.fullmatch(name) is None or (middleware and "@" in name):
            raise ConfigurationError(
                f"route_middlewares: {quoted(name)} cannot be the name of a middleware. It can have letters, digits, '.', "
                "'_' and '-'. If it is defined elsewhere, and has no settings here, '@' and its provider can follow."
            )
        if middleware and self.names.is_own(name):
            raise ConfigurationError(
                f"route_middlewares: {quoted(name)} is a name that the proxy uses itself, or may use. Choose another one."
            )

    def _check_router(self, name: str, router: object) -> None:
        if not isinstance(router, Mapping):
            raise ConfigurationError("extra_dynamic_config: everything in 'http.routers' must be tables (dicts).")
        if name.startswith(self.names.front) and "middlewares" in router:
            raise ConfigurationError(
                f"extra_dynamic_config: the middlewares of {quoted(name)} are the proxy's own. Yours go into "
                "c.TraefikProxy.route_middlewares."
            )
        if self.names.is_route(name):
            for key, value in router.items():
                self._check_addition_to_route(name, key, value)

    def _check_addition_to_route(self, name: str, key: str, value: object) -> None:
        """Refuse what would change which requests the route gets, or what Traefik does not take from a child router."""
        match key, value:
            case "service", str():
                return
            case "middlewares", [*names] if all(isinstance(middleware, str) for middleware in names):
                return
        raise ConfigurationError(
            f"extra_dynamic_config: the router {quoted(name)} belongs to a route. It can only have a list of 'middlewares' "
            f"and the name of another 'service', not {quoted(key)} = {quoted(repr(value))}. What is for all routes belongs "
            f"to the router {self.names.front!r}."
        )

    @property
    def revision_path(self) -> str:
        """The path of the revision route, which tells which revision is live."""
        return f"{self.secret_path}/{self.revision_name}"

    @property
    def anywhere_path(self) -> str:
        """The path that tells which revision is loaded, at all entry points of a Traefik that others run."""
        return f"{self.secret_path}/anywhere"

    def extra_objects(self) -> Objects:
        """Return the objects in the admin's own configuration, without empty kinds."""
        return {kind: objects for kind, objects in self.extra.get("http", {}).items() if objects}


def route_objects(settings: DynamicSettings, route: Route, name: str) -> Objects:
    """Return the router and the service of a route.

    Args:
        settings: What all routes have in common.
        route: The route.
        name: The name of the router and the service.

    Returns:
        The objects; the caller adds the router's ``parentRefs``.
    """
    place = route.parsed_place
    server: dict[str, Any] = {"url": route.target}
    if urlsplit(route.target).path:
        # Without this, Traefik drops the path of the target (pkg/proxy/httputil/proxy.go:96-102).
        server["preservePath"] = True
    router = {"rule": rule(place), "priority": priority(place), "service": name}
    load_balancer: dict[str, Any] = {"servers": [server]}
    transport = settings.transports().name_for(route, settings.names)
    if transport:
        load_balancer["serversTransport"] = transport
    objects: Objects = {"routers": {name: router}, "services": {name: {"loadBalancer": load_balancer}}}
    return with_extra(settings, objects)


def parent_objects(settings: DynamicSettings, parent: Parent, parents: Sequence[str]) -> Objects:
    """Return the parent router of a region.

    Args:
        settings: What all routes have in common.
        parent: The parent.
        parents: The names of its own parents.
    """
    router = {"rule": parent.rule, "priority": parent.priority, "parentRefs": list(parents)}
    return with_extra(settings, {"routers": {parent.name: router}})


def revision_router(settings: DynamicSettings) -> Objects:
    """Return the router of the revision route, which tells which revision is live, and the parent of all secret paths."""
    names = settings.names
    secret = {
        "rule": f"PathPrefix({go_string(settings.secret_path + '/')})",
        **at_top(settings),
        "priority": TOP_PRIORITY,
        # Otherwise the secret would be in an access log of the admin's.
        "observability": {"accessLogs": settings.log_failures},
    }
    revision = {
        "rule": f"Path({go_string(settings.revision_path)})",
        "priority": 1,
        "parentRefs": [names.secret],
        "middlewares": [names.revision],
        "service": NO_SERVICE,
    }
    routers = {names.secret: secret, names.revision: revision}
    if settings.shared_places is not None:
        # Shows a wrong traefik_entrypoint: a router without entry points belongs to all of them.
        routers[names.anywhere] = {
            "rule": f"Path({go_string(settings.anywhere_path)})",
            **({"tls": {}} if settings.router_tls else {}),
            "priority": TOP_PRIORITY + 1,
            "middlewares": [names.revision],
            "service": NO_SERVICE,
            "observability": {"accessLogs": False},
        }
    return {"routers": routers}


def revision_header(settings: DynamicSettings, revision: int) -> Objects:
    """Return the middleware of the revision route, which has the revision."""
    headers = {"headers": {"customResponseHeaders": {REVISION_HEADER: str(revision)}}}
    return with_extra(settings, {"middlewares": {settings.names.revision: headers}})


def remaining_tree(
    settings: DynamicSettings, certificate: Certificate | None, objects: Objects, in_pieces: Mapping[str, set[str]]
) -> dict[str, Any]:
    """Return the configuration that does not depend on the routes.

    Args:
        settings: What all routes have in common.
        certificate: The certificate to serve by default.
        objects: The objects that are always there.
        in_pieces: By kind, the names of the other objects, which already include what the admin adds to them.
    """
    extra = deep_merge({}, settings.extra)
    for kind, additions in settings.extra_objects().items():
        extra["http"][kind] = {name: value for name, value in additions.items() if name not in in_pieces.get(kind, ())}
    tree: dict[str, Any] = {"http": objects}
    if certificate and settings.is_default:
        tree["tls"] = {"stores": {"default": {"defaultCertificate": certificate.as_tree()}}}
    tree = deep_merge(tree, extra)
    # From the list, it is served for its names, whatever the default one is, and with sniStrict (pkg/tls/tlsmanager.go).
    if certificate and (_has_strict_options(tree) or settings.hosts or not settings.is_default):
        tls = tree.setdefault("tls", {})
        tls["certificates"] = [certificate.as_tree(), *tls.get("certificates", [])]
    return _without_empty_sections(tree)


def _has_strict_options(tree: Mapping[str, Any]) -> bool:
    """Whether some TLS options refuse clients that ask for a name which no certificate in the list has."""
    match tree.get("tls"):
        case {"options": Mapping() as options}:
            return any(isinstance(each, Mapping) and each.get("sniStrict") for each in options.values())
    return False


def at_top(settings: DynamicSettings) -> dict[str, Any]:
    """Return what a router needs that has no parent; others must not have it (pkg/server/router/router.go:90-165)."""
    return {"entryPoints": [settings.entry_point], **({"tls": {}} if settings.router_tls else {})}


def with_extra(settings: DynamicSettings, objects: Objects) -> Objects:
    """Return ``objects``, merged with the admin's additions of the same kind and name."""
    extra = settings.extra_objects()
    if not extra:
        return objects
    return {
        kind: deep_merge(by_name, {name: value for name, value in extra.get(kind, {}).items() if name in by_name})
        for kind, by_name in objects.items()
    }


def _without_empty_sections(tree: dict[str, Any]) -> dict[str, Any]:
    """Return ``tree`` without empty tables in its upper two levels.

    Traefik rejects a file that has them (``routers cannot be a standalone element``:
    paerser/parser/nodes_metadata.go:81,137). Deeper ones stay, because they can have a meaning, such as ``tls`` in a router.
    """
    result = {}
    for key, value in tree.items():
        kept = {k: v for k, v in value.items() if v != {}} if isinstance(value, dict) else value
        if kept != {}:
            result[key] = kept
    return result
