"""TraefikProxy: the traits of every proxy that uses Traefik, converted to the settings of a session."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jupyterhub.traitlets import Command
from traitlets import Bool, CaselessStrEnum, Dict, Float, Integer, List, Unicode, Union

from ..addresses import listen_address, reachable_url
from ..metrics import hub_metrics
from ..routes import Route
from ..runtime.certificate import ServedCertificate
from ..runtime.session import PublishingSettings, TraefikSettings
from ..runtime.transport_files import WatchedTransports
from ..seams import Store
from ..threads import in_thread
from ..traefik.dynamic import DynamicSettings, ErrorPages
from ..traefik.failures import error_path, logs_failures
from ..traefik.static import StaticSettings, check_trusted_proxies
from ..traefik.targets import check_target
from ..traefik.tree import plain
from .base import RoutingProxy
from .https import HttpsSettings
from .leftovers import leftovers
from .sharing import DEFAULT_CERTIFICATE, NAMESPACE, RULE_HOSTS, SharingSettings, check_host
from .transports import extra_routes_ca, watched_transports
from .values import absolute, without_options


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
        The name of Traefik's public entry point. Default: "https" when JupyterHub.ssl_cert or
        letsencrypt_domains is set, else "http".

        When should_start is False, it must be the name in your Traefik's static configuration.
        """,
    )
    traefik_url = Unicode(
        "",
        config=True,
        help="""
        The URL where the Hub reaches Traefik's public entry point to check that routes are live: http[s]://host:port.

        Default: JupyterHub.bind_url, with a loopback address if that has no host. When should_start is False, set this if
        Traefik listens at another address. For the Hub's error pages, Traefik itself must reach it there as well.
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
    redirect_http = Union(
        [Unicode(), Integer()],
        default_value="",
        config=True,
        help="""
        Where to listen for plain http, and send browsers from there to https. Default: nowhere.

        A port, such as 80, is opened on the host of JupyterHub.bind_url only; ":80" listens on all addresses, and
        "192.0.2.1:80" on one. It needs https: JupyterHub.ssl_cert or letsencrypt_domains.

        Browsers are sent to the port in JupyterHub.public_url if that is set, otherwise to the one in bind_url. If port 443
        is forwarded to another port here, as into a container, set public_url to "https://hub.example.org/".

        Not used when should_start is False.
        """,
    )
    letsencrypt_domains = List(
        Unicode(),
        config=True,
        help="""
        The names of this Hub to get certificates for from Let's Encrypt, such as ["hub.example.org"]. It turns on https.

        JupyterHub.bind_url must have the port for https. Let's Encrypt must reach that port as port 443 of each name, or, if
        letsencrypt_challenge is "http", redirect_http as port 80. Traefik renews the certificates.

        If you set it, you accept the terms of service of Let's Encrypt. Not used when should_start is False.
        """,
    )
    letsencrypt_email = Unicode(
        "",
        config=True,
        help="The e-mail address of the account at Let's Encrypt.",
    )
    letsencrypt_staging = Bool(
        False,
        config=True,
        help="""
        Whether to try it with the staging server of Let's Encrypt. It has generous limits, but browsers do not trust its
        certificates.
        """,
    )
    letsencrypt_challenge = CaselessStrEnum(
        ["tls", "http"],
        "tls",
        config=True,
        help="""
        How to prove that a name is this Hub's: "tls", at the port for https, or "http", at redirect_http.

        Choose "http" if port 443 of the Hub's names does not lead here directly, but port 80 does.
        """,
    )
    letsencrypt_server = Unicode(
        "",
        config=True,
        help="""
        The URL of the directory of another ACME server, instead of that of Let's Encrypt.
        """,
    )
    letsencrypt_ca = Unicode(
        "",
        config=True,
        help="""
        The file with the certificate (PEM) of the authority that letsencrypt_server's own certificate is from.

        Default: the authorities that the system trusts.
        """,
    )
    trusted_proxies = List(
        Unicode(),
        config=True,
        help="""
        The addresses or networks of proxies in front of Traefik, such as ["10.0.0.5", "192.168.0.0/16"].

        Traefik accepts X-Forwarded-* headers from these only, and replaces those from all other addresses. If a proxy in
        front of Traefik terminates TLS, list it here, or JupyterHub will think that its users connect over http. It must
        send X-Forwarded-For, because X-Real-Ip is accepted from nobody.
        """,
    )
    route_middlewares = Dict(
        config=True,
        help="""
        Traefik middlewares that a request takes before it reaches the Hub or a server, as a dict of names and settings.

        The requests take them in this order. Use them for rules such as ipAllowList, basicAuth or forwardAuth; at the entry
        point, such a rule would also stop the requests with which the Hub checks that routes are live. For example, to admit
        only the addresses of a campus:

            c.TraefikProxy.route_middlewares = {
                "campus": {"ipAllowList": {"sourceRange": ["10.0.0.0/8"]}},
            }

        A middleware with no settings ({}) is one that is defined elsewhere, such as "auth@docker". If Traefik does not know
        it, or its settings are wrong, the Hub does not start, or, with should_start = False, all requests get 404.
        """,
    )
    namespace = NAMESPACE
    rule_hosts = RULE_HOSTS
    default_certificate = DEFAULT_CERTIFICATE
    extra_routes_ca = extra_routes_ca()
    track_activity = Bool(
        True,
        config=True,
        help="""
        Whether to tell the Hub when the server of each user was last used, also over open websockets.

        The Hub's idle culler goes by it, together with what the servers report themselves. It is found in the list of TCP
        connections that Linux keeps, every 30 seconds. That is possible if Traefik runs on the Hub's machine (or in the
        same container) and as the Hub's user, or if the Hub runs as root; otherwise, the log says once that it is not known.
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

    # Seconds between two looks at the connections of users. Not a trait: only tests have a reason to change it.
    activity_interval = 30.0

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # Secret and new each time, so that no answer can come from an older file or another Hub.
        self._secret_path = f"/{secrets.token_hex(16)}"
        self._transports = WatchedTransports()
        self._sharing = SharingSettings()

    def _check_route(self, route: Route) -> None:
        super()._check_route(route)
        check_target(route)
        check_host(route, self._sharing.hosts)

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
        self._sharing = SharingSettings.of(self, self._entry_point)
        self._transports = watched_transports(self.app, self.extra_routes_ca, "c.TraefikProxy.extra_routes_ca")
        return PublishingSettings(
            make_store=make_store,
            check_route=self._check_route,
            url=self._reachable_url,
            revision_path=f"{self._secret_path}/revision",
            live_timeout=self.check_route_timeout,
            certificate=self._https.files,
            copies=copies,
            copies_mode=copies_mode,
            activity_interval=self.activity_interval if self.track_activity else None,
            transports=self._transports,
            metrics=hub_metrics(),
        )

    async def _traefik_settings(self, dynamic_file: Path) -> TraefikSettings:
        """Return the settings of the Traefik that the Hub starts.

        Args:
            dynamic_file: The dynamic configuration file that Traefik watches.

        Raises:
            ConfigurationError: If a setting cannot be used.
        """
        # Traefik only sees a rename in the folder of the path it was given, so resolve symbolic links.
        dynamic_file = await in_thread(dynamic_file.resolve)
        state_dir, https = absolute(self.state_dir), self._https
        return TraefikSettings(
            command=without_options(self.traefik_command),
            environment=self.traefik_env,
            state_dir=state_dir,
            static_file=absolute(self.static_config_file) if self.static_config_file else state_dir / "traefik.toml",
            static=StaticSettings(
                address=listen_address(https.url),
                entry_point=self._entry_point,
                tls=https.enabled,
                dynamic_file=str(dynamic_file),
                log_level=self.traefik_log_level,
                trusted_proxies=check_trusted_proxies(tuple(self.trusted_proxies)),
                redirect=https.redirect(),
                acme=https.acme(),
                extra=plain(self.extra_static_config),
            ),
            error_path=error_path(self._secret_path),
            front_router=self._sharing.names.front,
            dynamic_file=dynamic_file,
            start_timeout=self.start_timeout,
            ends_with_hub=lambda: bool(getattr(self.app, "cleanup_proxy", True)),
        )

    def _dynamic_settings(self, served: ServedCertificate) -> DynamicSettings:
        sharing = self._sharing
        return DynamicSettings(
            entry_point=self._entry_point,
            secret_path=self._secret_path,
            hosts=sharing.hosts,
            shared_places=sharing.places,
            lowest_priority=sharing.lowest_priority,
            error_pages=self._error_pages(),
            log_failures=self.should_start and logs_failures(plain(self.extra_static_config)),
            trusted_proxies=check_trusted_proxies(tuple(self.trusted_proxies)),
            route_middlewares=plain(self.route_middlewares),
            default_certificate=served.current,
            is_default=self.should_start or self.default_certificate,
            transports=self._transports.current,
            # An entry point that we configure has TLS for all its routers; an external one may need it on each router.
            router_tls=bool(self.ssl_cert) and not self.should_start,
            extra=sharing.names.in_namespace(plain(self.extra_dynamic_config)),
            names=sharing.names,
        )

    def _error_pages(self) -> ErrorPages | None:
        """Return where error pages come from; None if Traefik cannot reach the Hub, or there is none."""
        if self.hub is None or not self.hub.host.startswith(("http://", "https://")):
            return None
        return ErrorPages(self.hub.host + self.hub.base_url, self._reachable_url)

    @property
    def _reachable_url(self) -> str:
        return self.traefik_url or reachable_url(self._https.url)

    @property
    def _entry_point(self) -> str:
        return self.traefik_entrypoint or ("https" if self._https.enabled else "http")

    @property
    def _https(self) -> HttpsSettings:
        return HttpsSettings.of(self)
