"""The traits for several Hubs on one Traefik, and SharingSettings, which decides from them what is this Hub's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from traitlets import Bool, List, Unicode

from ..errors import InvalidRoute, quoted
from ..routes import Place, Route, parse_routespec
from ..traefik.names import Names
from ..traefik.sharing import check_hosts, check_namespace, default_namespace, lowest_priority, takes_host

NAMESPACE = Unicode(
    "",
    config=True,
    help="""
    What begins the names of all routers, services and middlewares of this Hub, so that they differ from those of other Hubs
    on the same Traefik: lower-case letters, digits and "-".

    Default: nothing for a Traefik that the Hub starts. When should_start is False, it is made of traefik_entrypoint,
    JupyterHub.base_url and rule_hosts, which together are different for each Hub on one Traefik.
    """,
)
RULE_HOSTS = List(
    Unicode(),
    config=True,
    help="""
    The host names of this Hub, such as ["hub.example.org"]. Requests for other hosts are not for this Hub, and Traefik has
    other routers for them or answers 404. Default: all.

    ``"*.hub.example.org"`` stands for all names with one more label. With JupyterHub.subdomain_host, list both that and the
    name itself. Several Hubs on one Traefik can have the same base_url if their names differ.
    """,
)
DEFAULT_CERTIFICATE = Bool(
    True,
    config=True,
    help="""
    Whether JupyterHub.ssl_cert is also for browsers that ask for a name which no certificate has, or for none.

    Of several Hubs on one Traefik, only one can decide that: set it to False in the others. Used only when should_start is
    False.
    """,
)


@dataclass(frozen=True, slots=True)
class SharingSettings:
    """What is this Hub's on a Traefik that may also be for others.

    Attributes:
        names: Makes the names of all objects.
        hosts: The host names of the Hub; empty for all.
        places: The places that contain the routes of the Hub, its users and its services; None on a Traefik of its own.
        lowest_priority: The lowest priority of the front routers.
    """

    names: Names = field(default_factory=Names)
    hosts: tuple[str, ...] = ()
    places: tuple[Place, ...] | None = None
    lowest_priority: int = 1

    @classmethod
    def of(cls, proxy: Any, entry_point: str) -> SharingSettings:
        """Return the settings of a :class:`~traefik_toml_proxy.TraefikProxy`.

        Raises:
            ConfigurationError: If a setting cannot be used.
        """
        hosts = check_hosts(tuple(proxy.rule_hosts))
        namespace = check_namespace(proxy.namespace) if proxy.namespace else ""
        if proxy.should_start:
            return cls(Names(namespace), hosts)
        base_url = getattr(proxy.app, "base_url", "/")
        base = parse_routespec(base_url)
        hub = getattr(proxy.hub, "routespec", "") or base_url
        return cls(
            Names(namespace or default_namespace(entry_point, base, hosts)),
            hosts,
            tuple(map(parse_routespec, (hub, f"{base_url}user/", f"{base_url}services/"))),
            lowest_priority(base, hosts),
        )


def check_host(route: Route, hosts: tuple[str, ...]) -> None:
    """Check that requests for the host of a route can reach it.

    Raises:
        InvalidRoute: If the host is not one of the Hub's.
    """
    host = route.parsed_place.host
    if host and not takes_host(hosts, host):
        raise InvalidRoute(
            route.routespec,
            f"its host {quoted(host)} is not in c.TraefikProxy.rule_hosts, so no request could reach it",
        )
