"""Where the requests of a route go: reads its target. Pure."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from ..routes import UNIX_SCHEMES, Route

# What JupyterHub marks its routes with (jupyterhub/proxy.py).
KINDS = ("hub", "user", "service", "extra")


class Address(NamedTuple):
    """What to connect to. Connections to the same one can take each other's place.

    Attributes:
        host: The host name or address; "" for a unix socket.
        port: The port; 0 for a unix socket.
        socket: The path of the unix socket, or "".
        tls: Which certificates are for https there: ``internal`` or ``extra``; "" for plain http.
        owner: The number of the route that it is for, or 0. When that is gone, somebody else may listen there.
    """

    host: str
    port: int
    socket: str
    tls: str
    owner: int = 0


class Target(NamedTuple):
    """Where the requests of a route go.

    Attributes:
        address: What to connect to.
        prefix: What comes before the path of each request, without a slash at its end.
        authority: The host and port for the Host field of a request without one.
    """

    address: Address
    prefix: bytes
    authority: bytes


def target_of(route: Route) -> Target:
    """Return where the requests of a route go."""
    # JupyterHub marks extra routes like this (jupyterhub/proxy.py, check_routes). Only https depends on it.
    is_extra = route.target.startswith("https:") and bool(route.data.get("extra"))
    return target_at(route.target, is_extra=is_extra)


def kind_of(route: Route) -> str:
    """Return what a route is for, from the data that JupyterHub gives it: hub, user, service, extra, or other."""
    data = route.data
    return next((kind for kind in KINDS if data.get(kind)), "other")


def target_at(url: str, *, is_extra: bool = False) -> Target:
    """Return where requests to a URL go, which is one that routes may have as their target.

    Args:
        url: The URL.
        is_extra: Whether it is that of an extra route, whose certificate is not one of JupyterHub's own.
    """
    parts = urlsplit(url)
    prefix = parts.path.rstrip("/").encode("ascii")
    if parts.scheme in UNIX_SCHEMES:
        return Target(Address("", 0, unquote(parts.netloc, errors="surrogateescape"), ""), prefix, b"localhost")
    is_tls = parts.scheme == "https"
    tls = ("extra" if is_extra else "internal") if is_tls else ""
    address = Address(parts.hostname or "", parts.port or (443 if is_tls else 80), "", tls)
    return Target(address, prefix, parts.netloc.encode("ascii"))
