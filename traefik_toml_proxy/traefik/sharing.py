"""What tells several Hubs on one Traefik apart: their host names, the priorities of their routers, and a namespace. Pure."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from string import ascii_letters, digits

import escapism

from ..errors import ConfigurationError, InvalidRoute, quoted
from ..routes import Place, parse_routespec
from .rules import go_string

# Without "_", which separates it from what follows, and in lower case, so that names also differ if case is ignored.
_NAMESPACE = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")
_READABLE_LENGTH = 20
_DIGEST_BYTES = 5

_WILDCARD = "*."
# A label of a host as Traefik matches it, in lower case.
_LABEL = "[a-z0-9_-]+"
_DOT = r"\."

# Priorities of 1 and 2 are for a router of others that takes everything else.
_FIRST_PRIORITY = 3
# There are at most as many front routers for hosts of the same rank (see ``front.py``).
FRONT_ROUTERS = 4
_RANKS = 3


def check_namespace(namespace: str) -> str:
    """Return ``namespace`` if names can begin with it.

    Raises:
        ConfigurationError: If not.
    """
    if not _NAMESPACE.fullmatch(namespace):
        raise ConfigurationError(
            f"namespace: {quoted(namespace)} cannot begin the names of routers. It can have up to 40 lower-case letters, "
            "digits and '-', and must not begin or end with '-'."
        )
    return namespace


def default_namespace(entry_point: str, base: Place, hosts: tuple[str, ...]) -> str:
    """Return a namespace that no other Hub on the same Traefik has.

    Two Hubs that have all three in common cannot be told apart by any request, whatever the names of their routers are.

    Args:
        entry_point: The name of the public entry point.
        base: The place of ``JupyterHub.base_url``.
        hosts: The host names of the Hub.
    """
    ordered = sorted(hosts, key=lambda host: (host.startswith(_WILDCARD), host))
    identity = json.dumps([entry_point, base.canonical, *ordered])
    digest = base64.b32encode(hashlib.sha256(identity.encode()).digest()[:_DIGEST_BYTES]).decode().lower()
    words = ordered[:1] or base.segments or (entry_point,)
    escaped = (escapism.escape(word, safe=ascii_letters + digits, escape_char="-") for word in words)
    readable = "-".join(escaped)[:_READABLE_LENGTH].lower().strip("-")
    return f"{readable}-{digest}" if readable else digest


def same_names(other: str, file: str, namespace: str) -> str:
    """Return what is wrong with another file beside that of a Hub, with the same namespace, and what mends it."""
    return (
        f"{other} also has the routes of a Hub, with the same namespace ({namespace}) as {file}, so Traefik would mix them "
        "up. If no other Hub writes it, delete it. Otherwise, give each Hub a base_url or c.TraefikProxy.rule_hosts, or at "
        "least a c.TraefikProxy.namespace, of its own."
    )


def check_hosts(hosts: tuple[str, ...]) -> tuple[str, ...]:
    """Return the host names in lower case, each once.

    Args:
        hosts: Each a host name, or ``*.`` and a host name, which stands for one more label in its place.

    Raises:
        ConfigurationError: If one is anything else.
    """
    for host in hosts:
        name = host.lower().removeprefix(_WILDCARD)
        try:
            valid = bool(name) and parse_routespec(f"{name}/") == Place(name, ())
        except InvalidRoute:
            valid = False
        if not valid:
            raise ConfigurationError(
                f"rule_hosts: {quoted(host)} is not a host name such as 'hub.example.org' or '*.hub.example.org'. It has "
                "no scheme, port or path, and other letters than a-z are written as 'xn--...'."
            )
    return tuple(dict.fromkeys(host.lower() for host in hosts))


def by_rank(hosts: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Return the hosts in groups by rising rank: those with a wildcard, then the others; one empty group for all hosts."""
    wildcards = tuple(host for host in hosts if host.startswith(_WILDCARD))
    named = tuple(host for host in hosts if not host.startswith(_WILDCARD))
    return [group for group in (wildcards, named) if group] or [()]


def hosts_rule(hosts: tuple[str, ...]) -> str:
    """Return the rule that matches the requests for one of ``hosts``; "" if there are none, which means all."""
    return " || ".join(map(_host_rule, hosts))


def _host_rule(host: str) -> str:
    if not host.startswith(_WILDCARD):
        return f"Host({go_string(host)})"
    # Host() knows wildcards since Traefik 3.7 only. Like Host(), this takes a dot at the end for the same host.
    pattern = f"^{_LABEL}{host.removeprefix('*')}".replace(".", _DOT) + _DOT + "?$"
    return f"HostRegexp({go_string(pattern)})"


def takes_host(hosts: tuple[str, ...], host: str) -> bool:
    """Whether requests for ``host``, in lower case, are for a Hub with these host names; those without one are for all."""
    return not hosts or host in hosts or _WILDCARD + host.partition(".")[2] in hosts


def lowest_priority(base: Place, hosts: tuple[str, ...]) -> int:
    """Return the lowest priority of a Hub's front routers beside those of other Hubs.

    If two Hubs match a request, the one with the longer base_url gets it, whatever their routes are. If these are equal, one
    that names the host comes before one with a wildcard for it, and that before one for all hosts. A Hub with both has front
    routers of two ranks.

    Args:
        base: The place of ``JupyterHub.base_url``.
        hosts: The host names of the Hub.
    """
    rank = 0 if not hosts else 1 if any(host.startswith(_WILDCARD) for host in hosts) else 2
    return _FIRST_PRIORITY + FRONT_ROUTERS * (_RANKS * len(base.segments) + rank)
