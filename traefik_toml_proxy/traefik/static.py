"""Converts settings to the static configuration of a Traefik that the Hub starts. Pure.

Of Traefik's limits, none may cut a request, an answer or a websocket that is under way, however long it takes or is idle:

- ``readTimeout`` is for a whole request with its body. The default of 60 s aborts slow uploads, so it is off. Then no other
  limit is set for the headers of a request either (pkg/server/server_entrypoint_tcp.go:733).
- ``writeTimeout`` is for a whole answer, so it is off, which is the default.
- ``responseHeaderTimeout`` is for the time until an answer begins, as in a long poll, so it is off, which is the default.
- ``idleTimeout`` and ``idleConnTimeout`` are for connections without a request, from clients and to servers; both sides open
  new ones as they need them. Connections with a websocket are no longer among them.
- ``dialTimeout`` is for the time until a server accepts a connection; then the answer is 504.
- ``graceTimeOut`` is for what is under way when Traefik is stopped.

Not set, as their defaults cut nothing: ``keepAliveMaxTime`` and ``keepAliveMaxRequests`` (no limits; they would only close
connections between requests), ``maxHeaderBytes`` (1 MiB; a request with more gets 431), ``maxConcurrentStreams`` (250
requests at once on one HTTP/2 connection; others wait), and the middleware ``buffering``: without it, bodies have no limit.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import ConfigurationError, quoted
from .failures import ACCESS_LOG, logs_failures
from .tls import Acme, Redirect
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

# What these are for, and why: see above.
_FROM_CLIENTS = {"readTimeout": "0s", "writeTimeout": "0s", "idleTimeout": "180s"}
_TO_SERVERS = {"dialTimeout": "30s", "responseHeaderTimeout": "0s", "idleConnTimeout": "90s"}

# The Hub empties the file with the output at 4 MiB. Without a Hub, it ends here.
_MOST_OUTPUT = 64 * 2**20


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
        redirect: Where plain http is sent to https; None if nowhere.
        acme: Where certificates come from; None if there is one already.
        extra: The admin's own static configuration; it overrides ours.
    """

    address: str
    entry_point: str
    tls: bool
    dynamic_file: str
    log_level: str
    trusted_proxies: tuple[str, ...] = ()
    redirect: Redirect | None = None
    acme: Acme | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def redirect_entry_point(self) -> str:
        """The name of the entry point for plain http."""
        return f"{self.entry_point}-redirect"


def static_tree(settings: StaticSettings, version: Version) -> dict[str, Any]:
    """Return the static configuration as a tree.

    Args:
        settings: The settings.
        version: The version of Traefik. It decides which keys are used, since Traefik does not start with unknown ones.

    Raises:
        ConfigurationError: If the admin's additions leave no entry point with an address, or another file provider.
    """
    ours: dict[str, Any] = {
        "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
        "log": {"level": settings.log_level, "noColor": True},
        # No throttling is needed: each change is written only after the one before is live.
        "providers": {
            "providersThrottleDuration": "0s",
            "file": {"filename": settings.dynamic_file, "watch": True},
        },
        # The number of idle connections is Traefik's default.
        "serversTransport": {"maxIdleConnsPerHost": 200, "forwardingTimeouts": _TO_SERVERS},
        "entryPoints": _entry_points(settings, version),
    }
    if settings.acme:
        ours["certificatesResolvers"] = settings.acme.resolver_tree(settings.redirect_entry_point)
    if logs_failures(settings.extra):
        ours["accessLog"] = ACCESS_LOG
    tree = deep_merge(ours, settings.extra)
    _check_file_provider(tree, settings.dynamic_file)
    if logs_failures(settings.extra):
        _log_nothing_else(tree)
    match tree["entryPoints"]:
        case {settings.entry_point: {"address": str()}}:
            return tree
    raise ConfigurationError(
        f"extra_static_config: entryPoints must be a table, and in it {settings.entry_point!r} a table with an address."
    )


def _entry_points(settings: StaticSettings, version: Version) -> dict[str, Any]:
    """Return the public entry point, and the one for plain http if there is one."""
    http = _unchanged_paths(version)
    if settings.tls:
        http["tls"] = settings.acme.entry_point_tree() if settings.acme else {}
    public: dict[str, Any] = {
        "address": settings.address,
        "http": http,
        "transport": {
            "respondingTimeouts": _FROM_CLIENTS,
            "lifeCycle": {"graceTimeOut": f"{GRACE_SECONDS}s"},
        },
    }
    if settings.trusted_proxies:
        public["forwardedHeaders"] = {"trustedIPs": list(settings.trusted_proxies)}
    if settings.redirect is None:
        return {settings.entry_point: public}
    # Otherwise a router of the admin's own that names no entry point would join both.
    public["asDefault"] = True
    return {
        settings.entry_point: public,
        settings.redirect_entry_point: _redirect_tree(settings.redirect, version),
    }


def _log_nothing_else(tree: dict[str, Any]) -> None:
    """Turn the access log off at all entry points: it is on for the paths of error pages alone (see ``failures.py``)."""
    if isinstance(tree["entryPoints"], dict):
        # With one of the three given, Traefik 3.6.2 turns the others off. If one of those is on, though, it logs everything.
        others = {"metrics", "tracing"} & {name.lower() for name in tree}
        observability = {"accessLogs": False, **dict.fromkeys(sorted(others), True)}
        off = {name: {"observability": observability} for name in tree["entryPoints"]}
        tree["entryPoints"] = deep_merge(off, tree["entryPoints"])


def most_output(tree: Mapping[str, Any]) -> int | None:
    """Return the most bytes that a file which Traefik writes may have; None for no limit.

    Nobody empties the file with its output while no Hub runs. There is no limit where the admin has it write logs to other
    files: those are for the admin to rotate.

    Args:
        tree: The static configuration.
    """
    logs = [table for key, table in tree.items() if key.lower() in ("log", "accesslog") and isinstance(table, Mapping)]
    return None if any("filepath" in map(str.lower, table) for table in logs) else _MOST_OUTPUT


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


def _unchanged_paths(version: Version) -> dict[str, Any]:
    """Return the settings of an entry point that leave the paths of requests as they are."""
    http: dict[str, Any] = {
        # Otherwise Traefik changes `//` and dots in a path before it matches and forwards it.
        "sanitizePath": False,
        # Otherwise `;` in a query reaches the server as `&` (pkg/proxy/httputil/proxy.go:105).
        "encodeQuerySemicolons": True,
    }
    if _REJECT_ENCODED[0] <= version < _REJECT_ENCODED[1]:
        http["encodedCharacters"] = {f"allowEncoded{name}": True for name in _ENCODED}
    return http


def _redirect_tree(redirect: Redirect, version: Version) -> dict[str, Any]:
    # Not permanent, so that nobody's browser remembers it if https is given up: 302 for GET, and 307 for other methods.
    target = {"to": f":{redirect.port}", "scheme": "https", "permanent": False}
    http = _unchanged_paths(version)
    # Location has the query as it was sent, unless it is encoded here.
    del http["encodeQuerySemicolons"]
    return {
        "address": redirect.address,
        "http": {**http, "redirections": {"entryPoint": target}},
        "transport": {"lifeCycle": {"graceTimeOut": f"{GRACE_SECONDS}s"}},
    }


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
