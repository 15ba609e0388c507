"""Names for all generated routers, services and middlewares. Pure.

They consist only of letters, digits and ``-``, because Traefik cuts a name at ``@`` (pkg/server/provider/provider.go:18-29).
They differ even if case is ignored, as it is when Traefik merges siblings (pkg/config/kv/kv_node.go:70).
"""

from __future__ import annotations

import base64
import hashlib
import re
from string import ascii_letters, digits

import escapism

from ..routes import Route, parse_routespec

_READABLE_LENGTH = 40
_ROUTE_DIGEST_BYTES = 20
# Differs from the length of a route's digest, so a parent never has the name of a route.
_REGION_DIGEST_BYTES = 10
_ROUTE_NAME = re.compile(r"[a-z0-9-]+-[a-z2-7]{32}")


class Names:
    """Makes the names of the objects of one proxy.

    Attributes:
        front: The name of the front router, and the beginning of the names of the others (see ``front.py``).
        nowhere: The name of the router for requests that no route matches, and of its middleware.
        outside: The name of the parent router for requests outside all regions (see ``layers.py``).
        health: The name of the router and the middleware of the path that load balancers check.
        secret: The name of the parent router of all paths that only the proxy knows.
        revision: The name of the router and the middleware of the revision route.
        errors: The name of the middleware that replaces the answers of servers that cannot be reached, and the beginning of
            the names of everything else that belongs to error pages (see ``error_pages.py``).
        internal_transport: The name of the transport to the Hub, users' servers and services with ``internal_ssl``.
        extra_transport: The name of the transport to the https targets of ``extra_routes``.
    """

    front = "jupyterhub-front"
    nowhere = "jupyterhub-nowhere"
    outside = "jupyterhub-outside"
    health = "jupyterhub-health"
    secret = "jupyterhub-secret"  # noqa: S105 - the name is not secret
    revision = "jupyterhub-revision"
    errors = "jupyterhub-errors"
    internal_transport = "jupyterhub-internal"
    extra_transport = "jupyterhub-extra"

    def route(self, route: Route) -> str:
        """Return the name of the router and the service of a route: ``user-alice-<hash>``.

        The readable part is for people; the hash of the routespec makes the name unique.
        """
        place = parse_routespec(route.routespec)
        parts = [
            escapism.escape(part, safe=ascii_letters + digits, escape_char="-")
            for part in (place.host, *place.segments)
        ]
        readable = "-".join(part for part in parts if part)[:_READABLE_LENGTH].lower().strip("-") or "root"
        return f"{readable}-{_digest(route.routespec.encode(), _ROUTE_DIGEST_BYTES)}"

    def is_route(self, name: str) -> bool:
        """Whether ``name`` has the form of the name of a route."""
        return _ROUTE_NAME.fullmatch(name) is not None

    def is_own(self, name: str) -> bool:
        """Whether ``name`` has the form of the other names here."""
        return name.startswith("jupyterhub-")

    def region(self, text: str) -> str:
        """Return the name of the parent router of a region.

        Args:
            text: A text that identifies the region; may contain lone surrogates.
        """
        return f"jupyterhub-{_digest(text.encode('utf-8', 'surrogatepass'), _REGION_DIGEST_BYTES)}"


def _digest(data: bytes, length: int) -> str:
    return base64.b32encode(hashlib.sha256(data).digest()[:length]).decode().lower()
