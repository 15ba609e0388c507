"""TraefikProxy: the traits of every proxy that uses Traefik, converted to the settings of a session."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jupyterhub.traitlets import Command
from traitlets import CaselessStrEnum, Dict, Float, List, Unicode

from ..addresses import listen_address, reachable_url
from ..errors import ConfigurationError, quoted
from ..routes import Place, Route, parse_routespec
from ..runtime.certificate import PASSPHRASE_VARIABLE, PairFiles, ServedCertificate
from ..runtime.session import PublishingSettings, TraefikSettings
from ..runtime.transport_files import WatchedTransports
from ..seams import Store
from ..traefik.dynamic import DynamicSettings, ErrorPages
from ..traefik.failures import error_path, logs_failures
from ..traefik.static import StaticSettings, check_trusted_proxies
from ..traefik.targets import check_target
from ..traefik.tree import plain
from .base import RoutingProxy
from .leftovers import leftovers
from .transports import watched_transports


class TraefikProxy(RoutingProxy):
    """The base class of JupyterHub proxies that use Traefik, with the settings that they share.

    Subclasses, such as TraefikTomlProxy, decide where the routes are stored.
    """

    state_dir = Unicode(
        "jupyterhub-traefik",
        config=True,
        help="""
        The folder for the proxy's own files: Traefik's configuration, its output, and a default certificate.

        A relative path is relative to the working directory of the Hub. If the folder does not exist, it is created with
        access for the Hub's user only (0700). Each Hub needs its own folder.
        """,
    )
    static_config_file = Unicode(
        "",
        config=True,
        help="""
        The file with Traefik's static configuration. Default: traefik.toml in state_dir.

        It is overwritten at each start; to add to it, use extra_static_config. Not used when should_start is False.
        """,
    )
    extra_static_config = Dict(
        config=True,
        help="""
        Additions to Traefik's static configuration, as nested dicts. They override the values that the proxy sets.

        Not used when should_start is False.

        For example, to write an access log:

            c.TraefikProxy.extra_static_config = {
                "accessLog": {"filePath": "/var/log/traefik-access.log"},
            }

        Then the Hub's log no longer says which servers did not answer, because Traefik has only one access log.
        """,
    )
    extra_dynamic_config = Dict(
        config=True,
        help="""
        Additions to Traefik's dynamic configuration, as nested dicts. They override the values that the proxy sets.

        For example, to require TLS 1.3:

            c.TraefikProxy.extra_dynamic_config = {
                "tls": {"options": {"default": {"minVersion": "VersionTLS13"}}},
            }
        """,
    )
    traefik_command = Command(
        minlen=0,
        config=True,
        help="""
        The command that starts Traefik 3.6.2 or newer, such as ["/opt/traefik/traefik"].

        Default: `traefik` from the folder of the Python that runs the Hub, or from PATH if there is none.

        It may be another program with arguments, as in ["nice", "traefik"], but not with options. Traefik ignores its own
        options beside a configuration file; use extra_static_config. A program that needs options, such as sudo, goes into a
        script that ends with exec sudo -u proxy traefik "$@".
        """,
    )
    traefik_entrypoint = Unicode(
        "",
        config=True,
        help="""
        The name of Traefik's public entry point. Default: "https" when JupyterHub.ssl_cert is set, else "http".

        When should_start is False, it must be the name in your Traefik's static configuration.
        """,
    )
    traefik_url = Unicode(
        "",
        config=True,
        help="""
        The URL where the Hub reaches Traefik's public entry point to check that routes are live: http[s]://host:port.

        Default: JupyterHub.bind_url, with a loopback address if that has no host. When should_start is False, set this if
        Traefik listens at another address.
        """,
    )
    traefik_log_level = CaselessStrEnum(
        ["DEBUG", "INFO", "WARN", "ERROR"],
        "ERROR",
        config=True,
        help="""
        Traefik's log level: DEBUG, INFO, WARN or ERROR. DEBUG is slow with many routes.

        Traefik's messages appear in the Hub's log.
        """,
    )
    traefik_env = Dict(
        key_trait=Unicode(),
        value_trait=Unicode(),
        config=True,
        help="""
        Environment variables for Traefik, such as the credentials of an ACME DNS provider.

        From the Hub's environment, Traefik gets only PATH, HOME, LANG and similar variables, but no secrets and no proxy
        variables.

        GOGC is 200 unless you set it here. With Go's default of 100, Traefik uses up to a third less memory, but takes
        longer to load many routes.
        """,
    )
    trusted_proxies = List(
        Unicode(),
        config=True,
        help="""
        The addresses or networks of proxies in front of Traefik, such as ["10.0.0.5", "192.168.0.0/16"].

        Traefik accepts X-Forwarded-* headers from these only, and replaces those from all other addresses. If a proxy in
        front of Traefik terminates TLS, list it here, or JupyterHub will think that its users connect over http.
        """,
    )
    route_middlewares = Dict(
        config=True,
        help="""
        Traefik middlewares that every request takes before it reaches the Hub or a server, as a dict of names and settings.

        The requests take them in this order. Use them for rules such as ipAllowList, basicAuth or forwardAuth; at the entry
        point, such a rule would also stop the requests with which the Hub checks that routes are live. For example, to admit
        only the addresses of a campus:

            c.TraefikProxy.route_middlewares = {
                "campus": {"ipAllowList": {"sourceRange": ["10.0.0.0/8"]}},
            }

        A middleware with no settings ({}) is one that is defined elsewhere, such as "auth@docker".
        """,
    )
    extra_routes_ca = Unicode(
        "",
        config=True,
        help="""
        A file with the certificates (PEM) of the authorities to trust for the https targets of Proxy.extra_routes, such as
        your organization's own. It replaces those of the operating system, which are trusted by default.

        A target's certificate must be for the host or the IP address in its URL. The file is read again when it changes.
        JupyterHub.internal_ssl does not apply to these targets.
        """,
    )
    check_route_timeout = Float(
        30,
        min=1,
        config=True,
        help="""
        Seconds to wait for a changed route to become live. If a new route takes longer, the Hub stops the user's server.
        """,
    )
    start_timeout = Float(
        30,
        min=1,
        config=True,
        help="""
        Seconds to wait at start until Traefik serves requests. If it takes longer, Traefik is stopped, and the Hub exits.
        """,
    )

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # Secret and new each time, so that no answer can come from an older file or another Hub.
        self._secret_path = f"/{secrets.token_hex(16)}"
        self._transports = WatchedTransports()

    def _check_route(self, route: Route) -> None:
        super()._check_route(route)
        check_target(route)

    # The traits, converted to settings. Subclasses pass them to the session.

    def _publishing_settings(
        self, make_store: Callable[[ServedCertificate], Store], copies: Path, copies_mode: int
    ) -> PublishingSettings:
        """Return the settings for publishing routes.

        Args:
            make_store: Makes the store, given what Traefik serves by default.
            copies: The folder for the copies of certificates that Traefik reads.
            copies_mode: Their permissions.
        """
        for leftover in leftovers(self.config, {cls.__name__ for cls in type(self).__mro__}):
            self.log.warning("%s", leftover)
        ca = absolute(self.extra_routes_ca) if self.extra_routes_ca else None
        self._transports = watched_transports(self.app, ca)
        return PublishingSettings(
            make_store=make_store,
            check_route=self._check_route,
            url=self._reachable_url,
            revision_path=f"{self._secret_path}/revision",
            live_timeout=self.check_route_timeout,
            certificate=self._certificate_files,
            copies=copies,
            copies_mode=copies_mode,
            transports=self._transports,
        )

    @property
    def _certificate_files(self) -> PairFiles | None:
        if not self.ssl_cert:
            return None
        # CHP opens an encrypted key with the same variable (configurable-http-proxy, bin/configurable-http-proxy).
        passphrase = os.environ.get(PASSPHRASE_VARIABLE, "")
        return PairFiles(absolute(self.ssl_cert), absolute(self.ssl_key or self.ssl_cert), passphrase)

    async def _traefik_settings(self, dynamic_file: Path) -> TraefikSettings:
        """Return the settings of the Traefik that the Hub starts.

        Args:
            dynamic_file: The dynamic configuration file that Traefik watches.

        Raises:
            ConfigurationError: If a setting cannot be used.
        """
        # Traefik only sees a rename in the folder of the path it was given, so resolve symbolic links.
        dynamic_file = await asyncio.to_thread(dynamic_file.resolve)
        state_dir = absolute(self.state_dir)
        return TraefikSettings(
            command=_without_options(self.traefik_command),
            environment=self.traefik_env,
            state_dir=state_dir,
            static_file=absolute(self.static_config_file) if self.static_config_file else state_dir / "traefik.toml",
            static=StaticSettings(
                address=listen_address(self.public_url),
                entry_point=self._entry_point,
                tls=bool(self.ssl_cert),
                dynamic_file=str(dynamic_file),
                log_level=self.traefik_log_level,
                trusted_proxies=check_trusted_proxies(tuple(self.trusted_proxies)),
                extra=plain(self.extra_static_config),
            ),
            error_path=error_path(self._secret_path),
            dynamic_file=dynamic_file,
            start_timeout=self.start_timeout,
            ends_with_hub=lambda: bool(getattr(self.app, "cleanup_proxy", True)),
        )

    def _dynamic_settings(self, served: ServedCertificate) -> DynamicSettings:
        return DynamicSettings(
            entry_point=self._entry_point,
            secret_path=self._secret_path,
            shared_places=None if self.should_start else self._places_of_hub(),
            error_pages=self._error_pages(),
            log_failures=self.should_start and logs_failures(plain(self.extra_static_config)),
            trusted_proxies=check_trusted_proxies(tuple(self.trusted_proxies)),
            route_middlewares=plain(self.route_middlewares),
            default_certificate=served.current,
            transports=self._transports.current,
            # An entry point that we configure has TLS for all its routers; an external one may need it on each router.
            router_tls=bool(self.ssl_cert) and not self.should_start,
            extra=plain(self.extra_dynamic_config),
        )

    def _places_of_hub(self) -> tuple[Place, ...]:
        """Return the places that contain the routes of the Hub, its users and its services."""
        base = getattr(self.app, "base_url", "/")
        hub = getattr(self.hub, "routespec", "") or base
        return tuple(parse_routespec(routespec) for routespec in (hub, f"{base}user/", f"{base}services/"))

    def _error_pages(self) -> ErrorPages | None:
        """Return where error pages come from; None if Traefik cannot reach the Hub, or there is none."""
        if self.hub is None or not self.hub.host.startswith(("http://", "https://")):
            return None
        return ErrorPages(self.hub.host + self.hub.base_url, self._reachable_url)

    @property
    def _reachable_url(self) -> str:
        return self.traefik_url or reachable_url(self.public_url)

    @property
    def _entry_point(self) -> str:
        return self.traefik_entrypoint or ("https" if self.ssl_cert else "http")


def _without_options(command: list[str]) -> list[str]:
    """Return ``traefik_command``; with an option, asking it for its version could start Traefik on a port.

    Raises:
        ConfigurationError: If it has one.
    """
    options = [word for word in command[1:] if word.startswith("-")]
    if options:
        raise ConfigurationError(
            f"c.TraefikProxy.traefik_command has the option {quoted(options[0])}. Traefik ignores options beside a "
            "configuration file: put them into c.TraefikProxy.extra_static_config. If it is for another program, let "
            'traefik_command be a script that runs it and ends with "$@".'
        )
    return command


def absolute(configured: str) -> Path:
    """Return a configured path as an absolute path; a relative one is relative to the Hub's working directory."""
    return Path(configured).expanduser().absolute()
