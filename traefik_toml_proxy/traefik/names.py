"""Names for all generated routers, services and middlewares. Pure.

They consist only of letters, digits and ``-``, because Traefik cuts a name at ``@`` (pkg/server/provider/provider.go:18-29).
They differ even if case is ignored, as it is when Traefik merges siblings (pkg/config/kv/kv_node.go:70).

With a namespace, it and a ``_`` begin all names. A namespace has no ``_`` itself, so names in different namespaces differ.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from string import ascii_letters, digits
from typing import Any

import escapism

from ..errors import ConfigurationError, quoted
from ..routes import Route

_READABLE_LENGTH = 40
_ROUTE_DIGEST_BYTES = 20
# Differs from the length of a route's digest, so a parent never has the name of a route.
_REGION_DIGEST_BYTES = 10
_ROUTE_NAME = re.compile(r"[a-z0-9-]+-[a-z2-7]{32}")
_OWN = "jupyterhub-"
# The name of an object of a proxy in some namespace.
_IN_NAMESPACE = re.compile(rf"([a-z0-9-]+)_(?:{_OWN}.*|{_ROUTE_NAME.pattern})", re.DOTALL)
# What refers to others in a router: to one of them, or to several.
_REFERENCES = ("service", "middlewares", "parentRefs")


class Names:
    """Makes the names of the objects of one proxy.

    Attributes:
        namespace: What begins all names, or "".
        front: The name of the front router, and the beginning of the names of the others (see ``front.py``).
        nowhere: The name of the router for requests that no route matches, and of its middleware.
        outside: The name of the parent router for requests outside all regions (see ``layers.py``).
        health: The name of the router and the middleware of the path that load balancers check.
        secret: The name of the parent router of all paths that only the proxy knows.
        revision: The name of the router and the middleware of the revision route.
        anywhere: The name of the router that belongs to all entry points.
        errors: The name of the middleware that replaces the answers of servers that cannot be reached, and the beginning of
            the names of everything else that belongs to error pages (see ``error_pages.py``).
        internal_transport: The name of the transport to the Hub, users' servers and services with ``internal_ssl``.
        extra_transport: The name of the transport to the https targets of ``extra_routes``.
    """

    def __init__(self, namespace: str = "") -> None:
        """Make the names in a namespace; "" for none, which is for a Traefik with one Hub."""
        self.namespace = namespace
        self._prefix = f"{namespace}_" if namespace else ""
        own = self._prefix + _OWN
        self.front = f"{own}front"
        self.nowhere = f"{own}nowhere"
        self.outside = f"{own}outside"
        self.health = f"{own}health"
        self.secret = f"{own}secret"
        self.revision = f"{own}revision"
        self.anywhere = f"{own}anywhere"
        self.errors = f"{own}errors"
        self.internal_transport = f"{own}internal"
        self.extra_transport = f"{own}extra"
        self._region = own

    def route(self, route: Route) -> str:
        """Return the name of the router and the service of a route: ``user-alice-<hash>``.

        The readable part is for people; the hash of the routespec makes the name unique.
        """
        place = route.parsed_place
        parts = "-".join(_escaped(part) for part in (place.host, *place.segments) if part)
        readable = parts[:_READABLE_LENGTH].lower().strip("-") or "root"
        return f"{self._prefix}{readable}-{_digest(route.routespec.encode(), _ROUTE_DIGEST_BYTES)}"

    def is_route(self, name: str) -> bool:
        """Whether ``name`` has the form of the name of a route."""
        return name.startswith(self._prefix) and _ROUTE_NAME.fullmatch(name, len(self._prefix)) is not None

    def is_own(self, name: str) -> bool:
        """Whether ``name`` has the form of the other names here, with or without the namespace."""
        return name.removeprefix(self._prefix).startswith(_OWN)

    def middleware(self, name: str) -> str:
        """Return the name of one of the admin's own middlewares for all routes."""
        return self._prefix + name

    def in_namespace(self, extra: Mapping[str, Any]) -> dict[str, Any]:
        """Return the admin's dynamic configuration, in which the names of the proxy's objects may lack the namespace.

        Args:
            extra: The configuration, as a tree that has not been checked. Only the names of objects of ``http`` are changed,
                and those that its routers refer to.

        Raises:
            ConfigurationError: If it names an object of a Hub in another namespace, or one of ours with the namespace and
                without.
        """
        http = extra.get("http")
        if not isinstance(http, Mapping) or not self.namespace:
            return dict(extra)
        full = {
            kind: self._objects_in_namespace(table) if isinstance(table, Mapping) else table
            for kind, table in http.items()
        }
        routers = full.get("routers")
        if isinstance(routers, Mapping):
            full["routers"] = {name: self._references_in_namespace(router) for name, router in routers.items()}
        return {**extra, "http": full}

    def _objects_in_namespace(self, table: Mapping[str, Any]) -> dict[str, Any]:
        full: dict[str, Any] = {}
        for name, value in table.items():
            in_namespace = self._in_namespace(name)
            if in_namespace in full:
                raise ConfigurationError(
                    f"extra_dynamic_config: {quoted(in_namespace)} is there twice, with the namespace and without."
                )
            full[in_namespace] = value
        return full

    def _references_in_namespace(self, router: Any) -> Any:
        if not isinstance(router, Mapping):
            return router
        return {
            key: self._reference_in_namespace(value) if key in _REFERENCES else value for key, value in router.items()
        }

    def _reference_in_namespace(self, value: Any) -> Any:
        match value:
            case [*several]:
                return [self._reference_in_namespace(one) for one in several]
            case str() if value.partition("@")[2] in ("", "file"):
                name, at, provider = value.partition("@")
                return self._in_namespace(name) + at + provider
        return value

    def _in_namespace(self, name: str) -> str:
        if name.startswith(_OWN) or _ROUTE_NAME.fullmatch(name):
            return self._prefix + name
        other = _IN_NAMESPACE.fullmatch(name)
        if other and other[1] != self.namespace:
            raise ConfigurationError(
                f"extra_dynamic_config: {quoted(name)} is the name of something of another Hub, in the namespace "
                f"{quoted(other[1])}. Configure that Hub instead. This Hub's own have names such as {_OWN}front here."
            )
        return name

    def region(self, text: str) -> str:
        """Return the name of the parent router of a region.

        Args:
            text: A text that identifies the region; may contain lone surrogates.
        """
        return f"{self._region}{_digest(text.encode('utf-8', 'surrogatepass'), _REGION_DIGEST_BYTES)}"


def _escaped(part: str) -> str:
    if part.isascii() and part.isalnum():
        return part  # most parts, and much quicker than to look at each character
    return str(escapism.escape(part, safe=ascii_letters + digits, escape_char="-"))


def _digest(data: bytes, length: int) -> str:
    return base64.b32encode(hashlib.sha256(data).digest()[:length]).decode().lower()
