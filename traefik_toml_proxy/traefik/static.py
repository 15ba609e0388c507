"""Settings -> the static configuration of a Traefik that the Hub starts. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import ConfigurationError, quoted
from .tree import deep_merge

Version = tuple[int, int, int]

# parentRefs came with 3.6.0, but there a parent with TLS has no children (tried: 404 for all of them; well from 3.6.2 on).
OLDEST_VERSION: Version = (3, 6, 2)

# The versions that refuse requests with these characters encoded unless told otherwise, and know the keys to tell them
# (docs/content/migrate/v3.md:453-500). Before, nothing was refused and the keys abort the start; after, nothing is
# refused again, and the keys would cost a copy of each router (pkg/server/aggregator.go:303-385).
_REFUSING_ENCODED: tuple[Version, Version] = ((3, 6, 3), (3, 6, 7))
_ENCODED = ("Slash", "BackSlash", "NullCharacter", "Semicolon", "Percent", "QuestionMark", "Hash")

# How long Traefik lets open requests finish when it is told to stop, in seconds.
GRACE_SECONDS = 2


@dataclass(frozen=True, slots=True)
class StaticSettings:
    """What a Traefik that the Hub starts must know before its first route.

    Attributes:
        address: Where the public entry point listens, in Go's form: ``host:port`` or ``:port``.
        entry_point: Its name.
        tls: Whether it speaks https.
        dynamic_file: The absolute path of the dynamic configuration file.
        log_level: Traefik's name of it: DEBUG, INFO, WARN, ERROR.
        trusted_proxies: Addresses or networks whose X-Forwarded-* headers are believed.
        extra: The admin's own static configuration; merged over ours, theirs wins.
    """

    address: str
    entry_point: str
    tls: bool
    dynamic_file: str
    log_level: str
    trusted_proxies: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)


def static_tree(settings: StaticSettings, version: Version) -> dict[str, Any]:
    """Return the static configuration for that version of Traefik, as a tree.

    Args:
        settings: What is wanted.
        version: Unknown nested keys abort Traefik's start, so a key is only there where the version knows it.
    """
    http: dict[str, Any] = {
        # Otherwise `//` and dots in a path are changed before it is matched and before it is sent on.
        "sanitizePath": False,
        # Otherwise `;` in a query reaches the server as `&` (pkg/proxy/httputil/proxy.go:105).
        "encodeQuerySemicolons": True,
    }
    if _REFUSING_ENCODED[0] <= version < _REFUSING_ENCODED[1]:
        http["encodedCharacters"] = {f"allowEncoded{name}": True for name in _ENCODED}
    if settings.tls:
        http["tls"] = {}
    entry_point: dict[str, Any] = {
        "address": settings.address,
        "http": http,
        "transport": {
            # The default, 60 s for a whole request with its body, cuts uploads (pkg/config/static/static_config.go:50).
            "respondingTimeouts": {"readTimeout": "0s", "idleTimeout": "180s"},
            "lifeCycle": {"graceTimeOut": f"{GRACE_SECONDS}s"},
        },
    }
    if settings.trusted_proxies:
        entry_point["forwardedHeaders"] = {"trustedIPs": list(settings.trusted_proxies)}
    ours = {
        "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
        "log": {"level": settings.log_level, "noColor": True},
        # One change is written after the other, and each waits until it is live: nothing to hold back.
        "providers": {
            "providersThrottleDuration": "0s",
            "file": {"filename": settings.dynamic_file, "watch": True},
        },
        "entryPoints": {settings.entry_point: entry_point},
    }
    tree = deep_merge(ours, settings.extra)
    match tree["entryPoints"]:
        case {settings.entry_point: {"address": str()}}:
            return tree
    raise ConfigurationError(
        f"extra_static_config: entryPoints must be a table, and in it {settings.entry_point!r} a table with an address."
    )


def check_trusted_proxies(addresses: tuple[str, ...]) -> tuple[str, ...]:
    """Return ``addresses`` as Traefik reads them: each an IP address, or a network with the length of its prefix.

    Raises:
        ConfigurationError: Naming the first that is neither; Traefik would not start with it.
    """
    checked = []
    for address in addresses:
        try:
            network = ipaddress.ip_network(address, strict=False)
        except ValueError:
            network = None
        if network is None or "%" in address:
            raise ConfigurationError(
                f"trusted_proxies: {quoted(address)} is neither an IP address nor a network such as 10.0.0.0/8."
            )
        checked.append(str(network) if "/" in address else address)
    return tuple(checked)
