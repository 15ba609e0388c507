"""Checks whether Traefik can send requests to a target. Pure."""

from __future__ import annotations

from urllib.parse import urlsplit

from ..errors import InvalidRoute, quoted
from ..routes import UNIX_SCHEMES, Route


def check_target(route: Route) -> None:
    """Check that Traefik can reach the target of a route.

    Raises:
        InvalidRoute: If the target is a unix socket (Traefik dials TCP only: pkg/server/service/transport.go).
    """
    if urlsplit(route.target).scheme in UNIX_SCHEMES:
        raise InvalidRoute(
            route.routespec,
            f"its target {quoted(route.target)} is a unix socket, which Traefik cannot reach; make the server listen on a "
            "TCP port",
        )
