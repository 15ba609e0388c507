"""``python -m traefik_toml_proxy agent``: what runs beside each Traefik when the routes are in etcd. Does I/O through it."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import signal
import socket
import sys
from typing import Any
from urllib.parse import urlsplit

from traitlets import CaselessStrEnum, Dict, Float, List, Unicode
from traitlets.config import Application
from traitlets.config.loader import Config, DeferredConfigString

from .. import __version__
from ..addresses import listen_address, reachable_url
from ..agent.certificates import PairFilesInChild
from ..agent.session import Agent, AgentSettings, revision_name
from ..errors import ConfigurationError, ProxyError
from ..proxies import etcd_traits
from ..proxies.values import absolute
from ..runtime.certificate import PairFiles, ServedCertificate
from ..runtime.pairs import PASSPHRASE_VARIABLE
from ..stores.etcd_table import Head, Keys
from ..threads import in_thread
from ..traefik.dynamic import DynamicSettings, ErrorPages
from ..traefik.static import StaticSettings, check_trusted_proxies
from ..traefik.tree import plain

# What the names of environment variables with settings begin with.
_PREFIX = "TRAEFIK_AGENT_"

# A URL with an address of IPv6 that has no brackets, as Kubernetes gives it.
_BARE_IPV6 = re.compile(r"^(https?://)([0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*)(:\d+)$")


def _from_environment(trait: Any, value: str) -> object:
    """Return the value of a setting in an environment variable.

    Raises:
        ValueError: If it is not JSON, for a list or a dict.
    """
    return json.loads(value) if isinstance(trait, (List, Dict)) else DeferredConfigString(value)


class AgentApp(Application):
    """Serves the routes that a Hub has in etcd, with one Traefik."""

    name = "traefik_toml_proxy agent"
    version = __version__
    description = f"""Run one Traefik, which serves the routes that a JupyterHub with TraefikEtcdProxy keeps in etcd.

    Each setting can also be given as an environment variable, lists and dicts as JSON: {_PREFIX}ETCD_ENDPOINTS='["https://etcd1:2379"]'.
    """
    examples = """
    python -m traefik_toml_proxy agent --AgentApp.etcd_endpoints=https://etcd1:2379 --AgentApp.public_url=http://:8000
    """

    aliases = {"config": "AgentApp.config_file"}  # noqa: RUF012 - traitlets expects a plain class attribute

    config_file = Unicode(
        "", config=True, help="A configuration file in Python, with lines such as c.AgentApp.name = 'a'."
    )
    etcd_endpoints = etcd_traits.endpoints()
    etcd_root = etcd_traits.root()
    etcd_ca = etcd_traits.ca()
    etcd_cert = etcd_traits.cert()
    etcd_key = etcd_traits.key()
    etcd_username = etcd_traits.username()
    etcd_password = etcd_traits.password()
    etcd_password_file = etcd_traits.password_file()
    lease_seconds = etcd_traits.lease_seconds(6)
    replica_name = Unicode(
        "", config=True, help="What this replica is called in etcd. Default: the name of the machine."
    )
    public_url = Unicode(
        "http://:8000",
        config=True,
        help="""
        Where Traefik listens, as in JupyterHub.bind_url: http[s]://[host][:port].
        """,
    )
    ssl_cert = Unicode(
        "",
        config=True,
        help="""
        The certificate (PEM) for https. If its file and that of its key are replaced, the new pair is served within seconds.
        """,
    )
    ssl_key = Unicode("", config=True, help="The key (PEM) of ssl_cert, if it is not in the same file.")
    health_url = Unicode(
        "",
        config=True,
        help="""
        The URL at which the balancer and the other agents reach this one, such as http://10.0.0.5:8002.

        Default: that of health_address, which by default is http://127.0.0.1:8002, for agents that are all on one machine.
        """,
    )
    health_address = Unicode(
        "127.0.0.1:8002",
        config=True,
        help="""
        Where the agent answers /healthz (whether it works) and /readyz (whether its Traefik may get requests): host:port, or
        :port for every address, which needs health_url.
        """,
    )
    state_dir = Unicode("traefik-agent", config=True, help="The folder for Traefik's files. Each agent needs its own.")
    traefik_command = List(Unicode(), config=True, help="The command that starts Traefik 3.6.2 or newer, as a list.")
    traefik_env = Dict(config=True, help="Environment variables for Traefik.")
    traefik_entrypoint = Unicode("", config=True, help='The name of the entry point. Default: "http" or "https".')
    traefik_log_level = CaselessStrEnum(
        ["DEBUG", "INFO", "WARN", "ERROR"], "ERROR", config=True, help="Traefik's log level."
    )
    trusted_proxies = List(
        Unicode(), config=True, help="The addresses or networks of balancers whose X-Forwarded-* headers are accepted."
    )
    route_middlewares = Dict(config=True, help="Traefik middlewares for all routes, as a dict of names and settings.")
    extra_static_config = Dict(config=True, help="Additions to Traefik's static configuration, as nested dicts.")
    extra_dynamic_config = Dict(config=True, help="Additions to Traefik's dynamic configuration, as nested dicts.")
    offline_seconds = Float(
        30,
        min=0,
        config=True,
        help="""
        Seconds after its start, in which an agent has never reached etcd, until it serves the routes that it had last; but
        not while another agent has reached etcd.
        """,
    )
    leave_seconds = Float(
        5,
        min=0,
        config=True,
        help="""
        Seconds for which an agent that is told to end (SIGTERM) says that it is not ready, before it stops Traefik.

        It should be longer than the balancer takes to notice. If Traefik dies while there are other replicas, it is started
        again after as many seconds, because a new Traefik answers 404 until it has loaded the routes.
        """,
    )

    def initialize(self, argv: list[str] | None = None) -> None:
        """Read the settings: the command line overrides the environment, which overrides the file."""
        self.parse_command_line(argv)
        given = Config(self.cli_config)
        environment = Config()
        for name, trait in self.class_traits(config=True).items():
            value = os.environ.get(_PREFIX + name.upper())
            if value is not None:
                try:
                    environment.AgentApp[name] = _from_environment(trait, value)
                except ValueError as error:
                    sys.exit(f"The environment variable {_PREFIX}{name.upper()} is not JSON: {error}")
        self.update_config(environment)
        self.update_config(given)
        if self.config_file:
            path = absolute(self.config_file)
            self.load_config_file(path.name, str(path.parent))
            self.update_config(environment)
            self.update_config(given)

    def start(self) -> None:
        """Run until SIGTERM or SIGINT."""
        logging.basicConfig(
            stream=sys.stderr, level=logging.INFO, format="[%(levelname)1.1s %(asctime)s agent] %(message)s"
        )
        try:
            asyncio.run(self._run())
        except ProxyError as error:
            sys.exit(f"{type(error).__name__}: {error}")

    async def _run(self) -> None:
        log = logging.getLogger("traefik_toml_proxy.agent")
        told, loop = asyncio.Event(), asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, told.set)
        settings = await in_thread(self._settings)
        agent = Agent(settings, log)
        await agent.start()
        try:
            log.info("Traefik listens at %s; ready or not: %s/readyz", settings.static.address, settings.health_url)
            await told.wait()
            await agent.leave()
        finally:
            await agent.close()

    def _settings(self) -> AgentSettings:
        """Return the settings. Blocks."""
        state_dir = absolute(self.state_dir)
        host, port = self._health_address()
        tls = urlsplit(self.public_url).scheme == "https"
        if tls != bool(self.ssl_cert):
            raise ConfigurationError(
                "public_url must begin with https:// if ssl_cert is set, and otherwise with http://."
            )
        entry_point = self.traefik_entrypoint or ("https" if tls else "http")
        url = reachable_url(self.public_url)
        return AgentSettings(
            etcd=etcd_traits.etcd_settings(self),
            keys=Keys.below(self.etcd_root),
            name=self.replica_name or socket.gethostname(),
            lease_seconds=self.lease_seconds,
            offline_seconds=self.offline_seconds,
            leave_seconds=self.leave_seconds,
            state_dir=state_dir,
            command=tuple(self.traefik_command),
            environment=self.traefik_env,
            static=StaticSettings(
                address=listen_address(self.public_url),
                entry_point=entry_point,
                tls=tls,
                dynamic_file=str(state_dir.resolve() / "dynamic.toml"),
                log_level=self.traefik_log_level,
                trusted_proxies=check_trusted_proxies(tuple(self.trusted_proxies)),
                extra=plain(self.extra_static_config),
            ),
            url=url,
            certificate=self._certificate(),
            dynamic=lambda head, served: self._dynamic(head, served, entry_point, url),
            health_host=host,
            health_port=port,
            health_url=self._health_url(host, port),
        )

    def _health_address(self) -> tuple[str, int]:
        host, colon, port = self.health_address.rpartition(":")
        if not colon or not port.isdigit():
            raise ConfigurationError(
                f"health_address is {self.health_address!r}, but must be host:port, or :port for every address."
            )
        return host.strip("[]"), int(port)

    def _health_url(self, host: str, port: int) -> str:
        if self.health_url:
            return _BARE_IPV6.sub(r"\1[\2]\3", self.health_url.rstrip("/"))
        if host in ("", "0.0.0.0", "::"):  # noqa: S104 - nothing is bound here
            # Another agent that asks there would ask itself.
            raise ConfigurationError(
                f"health_address is {self.health_address!r}, which is every address: set health_url to the one at which the "
                "other agents reach this one."
            )
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def _certificate(self) -> PairFiles | None:
        if not self.ssl_cert:
            return None
        cert = absolute(self.ssl_cert)
        key = absolute(self.ssl_key) if self.ssl_key else cert
        return PairFilesInChild(cert, key, os.environ.get(PASSPHRASE_VARIABLE, ""))

    def _dynamic(self, head: Head, served: ServedCertificate, entry_point: str, url: str) -> DynamicSettings:
        return DynamicSettings(
            entry_point=entry_point,
            secret_path=head.secret,
            revision_name=revision_name(served),
            error_pages=ErrorPages(head.hub_url, url) if head.hub_url else None,
            trusted_proxies=check_trusted_proxies(tuple(self.trusted_proxies)),
            route_middlewares=plain(self.route_middlewares),
            default_certificate=served.current,
            extra=plain(self.extra_dynamic_config),
        )
