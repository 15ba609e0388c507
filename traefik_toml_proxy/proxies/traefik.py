"""TraefikProxy: the traits that all proxies with Traefik share, turned into settings for a session."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jupyterhub.traitlets import Command
from traitlets import CaselessStrEnum, Dict, Float, List, Unicode

from ..addresses import listen_address, reachable_url
from ..errors import ConfigurationError
from ..routes import Route
from ..runtime.session import PublishingSettings, TraefikSettings
from ..seams import Store
from ..traefik.dynamic import Certificate, DynamicSettings
from ..traefik.static import StaticSettings, check_trusted_proxies
from ..traefik.targets import check_target
from ..traefik.tree import plain
from .base import RoutingProxy


class TraefikProxy(RoutingProxy):
    """A JupyterHub proxy that routes through Traefik; where the routes are kept is for its subclasses to say."""

    state_dir = Unicode(
        "jupyterhub-traefik",
        config=True,
        help="""
        The folder for what the proxy keeps: Traefik's configuration, its output, a default certificate.

        A relative path starts at the folder that the Hub runs in. Made with permissions for the Hub's user alone (0700).
        Two Hubs need two folders.
        """,
    )
    static_config_file = Unicode(
        "",
        config=True,
        help="""
        Where to write the static configuration of the Traefik that the Hub starts. Default: traefik.toml in state_dir.

        It is overwritten at each start; add to it with extra_static_config. Not written when should_start is False.
        """,
    )
    extra_static_config = Dict(
        config=True,
        help="""
        What to add to Traefik's static configuration, as nested dicts. Merged over the proxy's own; yours wins.

        Example, an access log:

            c.TraefikProxy.extra_static_config = {"accessLog": {"filePath": "/var/log/traefik-access.log"}}
        """,
    )
    extra_dynamic_config = Dict(
        config=True,
        help="""
        What to add to Traefik's dynamic configuration, as nested dicts. Merged over the proxy's own; yours wins.

        Example, a minimum TLS version:

            c.TraefikProxy.extra_dynamic_config = {"tls": {"options": {"default": {"minVersion": "VersionTLS13"}}}}
        """,
    )
    traefik_command = Command(
        minlen=0,
        config=True,
        help="""
        The Traefik program to start, and its first arguments, such as ["/opt/traefik/traefik"].

        Default: `traefik` beside the running Python, else on PATH. Traefik 3.6.2 or newer.
        """,
    )
    traefik_entrypoint = Unicode(
        "",
        config=True,
        help="""
        The name of Traefik's public entry point. Default: "https" when JupyterHub.ssl_cert is set, else "http".

        When should_start is False, set it to the name in your own static configuration.
        """,
    )
    traefik_url = Unicode(
        "",
        config=True,
        help="""
        The URL at which the Hub reaches the public entry point, to see that a route is live: http[s]://host:port.

        Default: made from JupyterHub.bind_url, with loopback for an empty host. When should_start is False and Traefik
        listens elsewhere, set it.
        """,
    )
    traefik_log_level = CaselessStrEnum(
        ["DEBUG", "INFO", "WARN", "ERROR"],
        "ERROR",
        config=True,
        help="""
        What Traefik tells, all of it in the Hub's log: DEBUG, INFO, WARN or ERROR. DEBUG is slow with many routes.
        """,
    )
    traefik_env = Dict(
        key_trait=Unicode(),
        value_trait=Unicode(),
        config=True,
        help="""
        Environment variables for Traefik, such as the credentials of an ACME DNS provider.

        GOGC is 200 unless it is set here: with 100, Go's own default, Traefik takes up to a third less memory, and longer to
        load many routes.

        Of the Hub's own environment it gets only PATH, HOME, LANG and the like: no secrets, no proxy variables.
        """,
    )
    trusted_proxies = List(
        Unicode(),
        config=True,
        help="""
        The addresses or networks of proxies in front of Traefik, such as ["10.0.0.5", "192.168.0.0/16"].

        X-Forwarded-* headers are believed from these alone; from all others they are replaced. Set it when TLS ends in
        front of Traefik, or JupyterHub will take its users' https for http.
        """,
    )
    check_route_timeout = Float(
        30,
        min=1,
        config=True,
        help="""
        Seconds to wait for a changed route to be live before add_route fails (the Hub then stops the user's server).
        """,
    )
    start_timeout = Float(
        30,
        min=1,
        config=True,
        help="""
        Seconds to wait at start for Traefik to serve, before it is ended and the Hub told why.
        """,
    )

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # Secret and new each time, so that only what this Hub has written can answer.
        self._revision_path = f"/{secrets.token_hex(16)}/revision"

    def _check_route(self, route: Route) -> None:
        super()._check_route(route)
        check_target(route)

    # The traits as settings, for the sessions that subclasses open.

    def _publishing_settings(self, make_store: Callable[[Certificate | None], Store]) -> PublishingSettings:
        """Return how routes are published.

        Raises:
            ConfigurationError: If a setting cannot work.
        """
        if getattr(self.app, "internal_ssl", False):
            raise ConfigurationError(
                "JupyterHub.internal_ssl is not supported by this proxy yet. Set c.JupyterHub.internal_ssl = False, or use "
                "configurable-http-proxy."
            )
        return PublishingSettings(
            make_store=make_store,
            check_route=self._check_route,
            url=self.traefik_url or reachable_url(self.public_url),
            revision_path=self._revision_path,
            live_timeout=self.check_route_timeout,
            ssl_cert=self.ssl_cert,
            ssl_key=self.ssl_key,
        )

    async def _traefik_settings(self, dynamic_file: Path) -> TraefikSettings:
        """Return the settings of the Traefik that the Hub starts.

        Args:
            dynamic_file: The file that it watches.

        Raises:
            ConfigurationError: If a setting cannot work.
        """
        # Traefik only notices files that are renamed in the very folder it was given, so no symbolic links.
        dynamic_file = await asyncio.to_thread(dynamic_file.resolve)
        state_dir = absolute(self.state_dir)
        return TraefikSettings(
            command=self.traefik_command,
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
            dynamic_file=dynamic_file,
            start_timeout=self.start_timeout,
            ends_with_hub=lambda: bool(getattr(self.app, "cleanup_proxy", True)),
        )

    def _dynamic_settings(self, certificate: Certificate | None) -> DynamicSettings:
        return DynamicSettings(
            entry_point=self._entry_point,
            revision_path=self._revision_path,
            default_certificate=certificate,
            # Our own entry point speaks TLS to all its routers; of another one we cannot know.
            router_tls=bool(self.ssl_cert) and not self.should_start,
            extra=plain(self.extra_dynamic_config),
        )

    @property
    def _entry_point(self) -> str:
        return self.traefik_entrypoint or ("https" if self.ssl_cert else "http")


def absolute(configured: str) -> Path:
    """Return a configured path as an absolute one; a relative path starts at the folder that the Hub runs in."""
    return Path(configured).expanduser().absolute()
