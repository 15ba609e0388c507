"""Makes the objects in Traefik's dynamic configuration for a route, a parent router or the revision route. Pure.

Objects are plain dicts by kind (``routers``, ``services``, ``middlewares``) and name, in the form that Traefik documents for
``http``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from ..errors import ConfigurationError
from ..routes import Route, parse_routespec
from .layers import Parent
from .names import Names
from .rules import go_string, priority, rule
from .tree import deep_merge

Objects = dict[str, dict[str, Any]]

# The response header of the revision route.
REVISION_HEADER = "X-Jupyterhub-Routes-Revision"

# Above the priorities of all routes (a path has far fewer segments), so a check takes no longer with many routes.
_REVISION_PRIORITY = 1_000_000


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate and its key, as paths that Traefik can open."""

    cert_file: str
    key_file: str

    def as_tree(self) -> dict[str, Any]:
        """Return Traefik's form of it."""
        return {"certFile": self.cert_file, "keyFile": self.key_file}


@dataclass(frozen=True, slots=True)
class DynamicSettings:
    """What all routes have in common.

    Attributes:
        entry_point: The name of the public entry point. Every router names it; otherwise it would join all entry points.
        revision_path: The secret path of the revision route, which tells which revision is live.
        default_certificate: The certificate to serve by default. Without one, Traefik generates an RSA key at each reload
            (pkg/tls/tlsmanager.go:363-378).
        router_tls: Whether each router enables TLS, because the entry point may not.
        extra: The admin's own dynamic configuration; it overrides ours.
        names: Makes the names of all objects.

    Raises:
        ConfigurationError: If ``extra`` has something other than tables where Traefik expects tables.
    """

    entry_point: str
    revision_path: str
    default_certificate: Certificate | None = None
    router_tls: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)
    names: Names = field(default_factory=Names)

    def __post_init__(self) -> None:
        http = self.extra.get("http", {})
        tables = [http, *http.values()] if isinstance(http, Mapping) else [http]
        if not all(isinstance(table, Mapping) for table in tables):
            raise ConfigurationError("extra_dynamic_config: 'http' and everything in it must be tables (dicts).")
        if not all(isinstance(router, Mapping) for router in http.get("routers", {}).values()):
            raise ConfigurationError("extra_dynamic_config: everything in 'http.routers' must be tables (dicts).")

    def extra_objects(self) -> Objects:
        """Return the objects in the admin's own configuration, without empty kinds."""
        return {kind: objects for kind, objects in self.extra.get("http", {}).items() if objects}


def route_objects(settings: DynamicSettings, route: Route, name: str, *, is_child: bool) -> Objects:
    """Return the router and the service of a route.

    Args:
        settings: What all routes have in common.
        route: The route.
        name: The name of the router and the service.
        is_child: Whether the router is the child of a parent router. Then it must have neither entry points nor TLS
            (pkg/server/router/router.go:90-165), but must have ``parentRefs``, which the caller adds.
    """
    place = parse_routespec(route.routespec)
    server: dict[str, Any] = {"url": route.target}
    if urlsplit(route.target).path:
        # Without this, Traefik drops the path of the target (pkg/proxy/httputil/proxy.go:96-102).
        server["preservePath"] = True
    router = {
        "rule": rule(place),
        **({} if is_child else _at_top(settings)),
        "priority": priority(place),
        "service": name,
    }
    objects: Objects = {"routers": {name: router}, "services": {name: {"loadBalancer": {"servers": [server]}}}}
    return _with_extra(settings, objects)


def parent_objects(settings: DynamicSettings, parent: Parent) -> Objects:
    """Return a parent router."""
    router = {"rule": parent.rule, **_at_top(settings), "priority": parent.priority}
    return _with_extra(settings, {"routers": {parent.name: router}})


def revision_router(settings: DynamicSettings) -> Objects:
    """Return the router of the revision route, which tells at a secret path which revision is live."""
    name = settings.names.revision
    router = {
        "rule": f"Path({go_string(settings.revision_path)})",
        **_at_top(settings),
        "priority": _REVISION_PRIORITY,
        "middlewares": [name],
        # This service always exists, and answers 418 (pkg/server/service/internalhandler.go:49).
        "service": "noop@internal",
    }
    return _with_extra(settings, {"routers": {name: router}})


def revision_header(settings: DynamicSettings, revision: int) -> Objects:
    """Return the middleware of the revision route, which has the revision."""
    headers = {"headers": {"customResponseHeaders": {REVISION_HEADER: str(revision)}}}
    return _with_extra(settings, {"middlewares": {settings.names.revision: headers}})


def remaining_tree(settings: DynamicSettings, in_pieces: Mapping[str, set[str]]) -> dict[str, Any]:
    """Return the configuration that does not belong to a route, a parent router or the revision route.

    Args:
        settings: What all routes have in common.
        in_pieces: By kind, the names of the objects that already include what the admin adds to them.
    """
    extra = deep_merge({}, settings.extra)
    for kind, objects in settings.extra_objects().items():
        extra["http"][kind] = {name: value for name, value in objects.items() if name not in in_pieces.get(kind, ())}
    tree: dict[str, Any] = {}
    if settings.default_certificate:
        tree["tls"] = {"stores": {"default": {"defaultCertificate": settings.default_certificate.as_tree()}}}
    return _without_empty_sections(deep_merge(tree, extra))


def _at_top(settings: DynamicSettings) -> dict[str, Any]:
    """Return what every router needs that is not a child."""
    return {"entryPoints": [settings.entry_point], **({"tls": {}} if settings.router_tls else {})}


def _with_extra(settings: DynamicSettings, objects: Objects) -> Objects:
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
