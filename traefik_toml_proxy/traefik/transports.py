"""How Traefik connects to https targets: which authorities it trusts, and what it shows the servers. Pure.

Without a transport of ours, a service uses Traefik's default one, which trusts the authorities of the operating system.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from ..routes import Route
from .names import Names

# As in Traefik's default transport; by default, another one keeps two idle connections to each server (Go's net/http).
_IDLE_CONNECTIONS = 200


@dataclass(frozen=True, slots=True)
class Transport:
    """How to connect to some https targets. A server is verified for the host or address in its target.

    The texts are in the configuration itself: Traefik takes the path of a missing file for the text, and loads half of a
    replaced pair (pkg/types/file_or_content.go). So whoever can read the configuration can read the key.

    Attributes:
        authorities: The certificates of all trusted authorities, as PEM text.
        certificate: The certificate to show to servers that ask for one, as PEM text; "" for none.
        key: The key of that certificate, as PEM text that is not encrypted.
    """

    authorities: str
    certificate: str = ""
    key: str = field(default="", repr=False)

    def as_tree(self) -> dict[str, Any]:
        """Return Traefik's form of it. Traefik closes its connections if this changes in any way."""
        tree: dict[str, Any] = {"rootCAs": [self.authorities], "maxIdleConnsPerHost": _IDLE_CONNECTIONS}
        if self.certificate:
            tree["certificates"] = [{"certFile": self.certificate, "keyFile": self.key}]
        return tree


@dataclass(frozen=True, slots=True)
class Transports:
    """The transports to https targets; None for Traefik's default one.

    Attributes:
        internal: To the Hub, users' servers and services (``JupyterHub.internal_ssl``).
        extra: To the targets of ``Proxy.extra_routes``.
    """

    internal: Transport | None = None
    extra: Transport | None = None

    def name_for(self, route: Route, names: Names) -> str | None:
        """Return the name of the transport to a route's target, or None for Traefik's default one."""
        # JupyterHub marks extra routes like this (jupyterhub/proxy.py, check_routes).
        if _is_https(route.target) and route.data.get("extra"):
            return names.extra_transport if self.extra else None
        return self.name_inside(route.target, names)

    def name_inside(self, url: str, names: Names) -> str | None:
        """Return the name of the transport to a URL of the Hub or of a server, or None for Traefik's default one."""
        return names.internal_transport if self.internal and _is_https(url) else None

    def as_objects(self, names: Names) -> dict[str, Any]:
        """Return Traefik's form of them by name."""
        both = {names.internal_transport: self.internal, names.extra_transport: self.extra}
        return {name: transport.as_tree() for name, transport in both.items() if transport}


def _is_https(url: str) -> bool:
    return urlsplit(url).scheme == "https"
