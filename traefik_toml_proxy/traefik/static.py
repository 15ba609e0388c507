"""Converts settings to the static configuration of a Traefik that the Hub starts. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import ConfigurationError, quoted
from .tree import deep_merge

Version = tuple[int, int, int]

# parentRefs is new in 3.6.0, but the children of a parent with TLS only work from 3.6.2 on (before, all of them get 404).
OLDEST_VERSION: Version = (3, 6, 2)

# From the first version up to but not including the second, Traefik by default rejects requests with these characters
# encoded, and has keys to allow them (docs/content/migrate/v3.md:453-500). Older versions allow them, and do not start with
# these keys; newer versions allow them again, and would copy each router for these keys (pkg/server/aggregator.go:303-385).
_REJECT_ENCODED: tuple[Version, Version] = ((3, 6, 3), (3, 6, 7))
_ENCODED = ("Slash", "BackSlash", "NullCharacter", "Semicolon", "Percent", "QuestionMark", "Hash")

# Seconds that Traefik gives open requests to finish after SIGTERM.
GRACE_SECONDS = 2


@dataclass(frozen=True, slots=True)
class StaticSettings:
    """The settings in the static configuration of a Traefik that the Hub starts.

    Attributes:
        address: Where the public entry point listens, in Go's form: ``host:port`` or ``:port``.
        entry_point: The name of the public entry point.
        tls: Whether the public entry point uses https.
        dynamic_file: The absolute path of the dynamic configuration file.
        log_level: Traefik's log level: DEBUG, INFO, WARN or ERROR.
        trusted_proxies: Addresses or networks from which X-Forwarded-* headers are accepted.
        extra: The admin's own static configuration; it overrides ours.
    """

    address: str
    entry_point: str
    tls: bool
    dynamic_file: str
    log_level: str
    trusted_proxies: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)


def static_tree(settings: StaticSettings, version: Version) -> dict[str, Any]:
    """Return the static configuration as a tree.

    Args:
        settings: The settings.
        version: The version of Traefik. It decides which keys are used, since Traefik does not start with unknown ones.

    Raises:
        ConfigurationError: If the admin's additions leave no entry point with an address, or another file provider.
    """
    http: dict[str, Any] = {
        # Otherwise Traefik changes `//` and dots in a path before it matches and forwards it.
        "sanitizePath": False,
        # Otherwise `;` in a query reaches the server as `&` (pkg/proxy/httputil/proxy.go:105).
        "encodeQuerySemicolons": True,
    }
    if _REJECT_ENCODED[0] <= version < _REJECT_ENCODED[1]:
        http["encodedCharacters"] = {f"allowEncoded{name}": True for name in _ENCODED}
    if settings.tls:
        http["tls"] = {}
    entry_point: dict[str, Any] = {
        "address": settings.address,
        "http": http,
        "transport": {
            # The default, 60 s for a whole request with its body, aborts uploads (pkg/config/static/static_config.go:50).
            "respondingTimeouts": {"readTimeout": "0s", "idleTimeout": "180s"},
            "lifeCycle": {"graceTimeOut": f"{GRACE_SECONDS}s"},
        },
    }
    if settings.trusted_proxies:
        entry_point["forwardedHeaders"] = {"trustedIPs": list(settings.trusted_proxies)}
    ours = {
        "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
        "log": {"level": settings.log_level, "noColor": True},
        # No throttling is needed: each change is written only after the one before is live.
        "providers": {
            "providersThrottleDuration": "0s",
            "file": {"filename": settings.dynamic_file, "watch": True},
        },
        "entryPoints": {settings.entry_point: entry_point},
    }
    tree = deep_merge(ours, settings.extra)
    _check_file_provider(tree, settings.dynamic_file)
    match tree["entryPoints"]:
        case {settings.entry_point: {"address": str()}}:
            return tree
    raise ConfigurationError(
        f"extra_static_config: entryPoints must be a table, and in it {settings.entry_point!r} a table with an address."
    )


def _check_file_provider(tree: Mapping[str, Any], dynamic_file: str) -> None:
    """Check that the admin's additions leave Traefik watching the file with the routes, and nothing else.

    With ``directory``, Traefik ignores ``filename`` (pkg/provider/file/file.go:63-86).

    Raises:
        ConfigurationError: If they do not.
    """
    advice = (
        "Traefik would not load the file with the routes. Put routers, middlewares and TLS options of your own into "
        "c.TraefikProxy.extra_dynamic_config, and set the path of that file with c.TraefikTomlProxy.dynamic_config_file. To "
        "watch a folder, run Traefik yourself, with c.TraefikProxy.should_start = False."
    )
    match tree["providers"]:
        case {"file": Mapping() as file}:
            if file.get("directory"):
                raise ConfigurationError(f"extra_static_config: providers.file.directory cannot be set: {advice}")
            if file.get("filename") == dynamic_file and file.get("watch") is True:
                return
    raise ConfigurationError(f"extra_static_config: providers.file.filename and watch cannot be changed: {advice}")


def check_trusted_proxies(addresses: tuple[str, ...]) -> tuple[str, ...]:
    """Return ``addresses`` in the form that Traefik reads.

    Args:
        addresses: Each an IP address, or a network with a prefix length or a netmask.

    Raises:
        ConfigurationError: If one is neither; Traefik would not start with it.
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
