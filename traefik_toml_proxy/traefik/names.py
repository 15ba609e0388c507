"""The names of all routers, services and middlewares that are generated. Pure.

Each consists of letters, digits and ``-`` alone: Traefik cuts a name at ``@`` (pkg/server/provider/provider.go:18-29). Any
two of them differ even where case is ignored, as Traefik does when it merges siblings (pkg/config/kv/kv_node.go:70).
"""

from __future__ import annotations

import base64
import hashlib
from string import ascii_letters, digits

import escapism

from ..routes import Route, parse_routespec

_READABLE_LENGTH = 40
_ROUTE_DIGEST_BYTES = 20
# Another length than that of a route's digest, so a parent never has the name of a route.
_REGION_DIGEST_BYTES = 10


class Names:
    """Gives names; all of one proxy come from one object.

    Attributes:
        revision: The router and the middleware of the revision route.
        outside: The parent router for what is outside of all regions (see ``layers.py``).
    """

    revision = "jupyterhub-revision"
    outside = "jupyterhub-outside"

    def route(self, route: Route) -> str:
        """Return the name of the router and the service of a route: ``user-alice-<hash>``.

        The readable part is for people; the hash of the routespec makes the name differ for any two routespecs.
        """
        place = parse_routespec(route.routespec)
        parts = [
            escapism.escape(part, safe=ascii_letters + digits, escape_char="-")
            for part in (place.host, *place.segments)
        ]
        readable = "-".join(part for part in parts if part)[:_READABLE_LENGTH].lower().strip("-") or "root"
        return f"{readable}-{_digest(route.routespec.encode(), _ROUTE_DIGEST_BYTES)}"

    def region(self, text: str) -> str:
        """Return the name of the parent router of a region.

        Args:
            text: What tells the region apart from all others; may hold lone surrogates.
        """
        return f"jupyterhub-{_digest(text.encode('utf-8', 'surrogatepass'), _REGION_DIGEST_BYTES)}"


def _digest(data: bytes, length: int) -> str:
    return base64.b32encode(hashlib.sha256(data).digest()[:length]).decode().lower()
