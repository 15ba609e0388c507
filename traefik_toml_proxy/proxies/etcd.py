"""TraefikEtcdProxy: keeps the routes in etcd, for any number of Traefiks. Its session does the I/O."""

from __future__ import annotations

import os
import secrets
import socket
from typing import Any

from traitlets import Float

from ..errors import ConfigurationError
from ..metrics import hub_metrics
from ..routes import Route
from ..session import Session
from ..stores.etcd_table import Keys, check_size
from ..threads import in_thread
from ..traefik.targets import check_target
from . import etcd_traits
from .base import RoutingProxy
from .leftovers_etcd import etcd_leftovers


class TraefikEtcdProxy(RoutingProxy):
    """A JupyterHub proxy that keeps the routes in etcd. Any number of Traefiks serve them, each with an agent beside it.

    Enable it with ``c.JupyterHub.proxy_class = "traefik-etcd-ha"``, and run ``python -m traefik_toml_proxy agent`` for each
    Traefik. A change is live when all replicas serve it that may get requests. The Hub starts none of them.
    """

    etcd_endpoints = etcd_traits.endpoints()
    etcd_root = etcd_traits.root()
    etcd_ca = etcd_traits.ca()
    etcd_cert = etcd_traits.cert()
    etcd_key = etcd_traits.key()
    etcd_username = etcd_traits.username()
    etcd_password = etcd_traits.password()
    etcd_password_file = etcd_traits.password_file()
    lease_seconds = etcd_traits.lease_seconds(10)
    check_route_timeout = Float(
        30,
        min=1,
        config=True,
        help="""
        Seconds to wait until a change is written to etcd, and then as many until all replicas serve it.

        If a new route takes longer, the Hub stops the user's server.
        """,
    )
    start_timeout = Float(
        30,
        min=0,
        config=True,
        help="""
        Seconds to wait at start until the replicas serve the routes. If it takes longer, the Hub logs that and goes on.
        """,
    )

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # Secret and new each time, so that no report can be about the routes of another Hub.
        self._secret_path = f"/{secrets.token_hex(16)}"

    def _check_route(self, route: Route) -> None:
        super()._check_route(route)
        check_target(route)
        check_size(self._keys, route)

    async def _open_session(self) -> Session:
        for leftover in etcd_leftovers(self.config, {cls.__name__ for cls in type(self).__mro__}):
            self.log.warning("%s", leftover)
        if getattr(self.app, "internal_ssl", False):
            raise ConfigurationError(
                "c.JupyterHub.internal_ssl is not possible with the routes in etcd: the agents have no certificates of the "
                'Hub. Set it to False, or use c.JupyterHub.proxy_class = "traefik-toml".'
            )
        try:
            # Only this needs aiohttp, which JupyterHub 5 does not install.
            from ..runtime.replicas import ReplicasSettings, open_with_replicas
            from ..stores.etcd_store import EtcdStoreSettings
        except ModuleNotFoundError as error:
            raise ConfigurationError(
                f"{error}. Install what routes in etcd need with: python3 -m pip install 'traefik-toml-proxy[etcd]'"
            ) from error
        settings = ReplicasSettings(
            etcd=await in_thread(etcd_traits.etcd_settings, self),
            store=EtcdStoreSettings(
                keys=self._keys,
                owner=f"process {os.getpid()} on {socket.gethostname()}",
                lease_seconds=self.lease_seconds,
                timeout=self.check_route_timeout,
                secret=self._secret_path,
                hub_url=self._hub_url,
            ),
            check_route=self._check_route,
            live_timeout=self.check_route_timeout,
            start_timeout=self.start_timeout,
            metrics=hub_metrics(),
        )
        return await open_with_replicas(settings, self.log)

    @property
    def _keys(self) -> Keys:
        return Keys.below(self.etcd_root)

    @property
    def _hub_url(self) -> str:
        """The URL of the Hub's own pages; "" if the replicas cannot reach it, or there is none."""
        if self.hub is None or not self.hub.host.startswith(("http://", "https://")):
            return ""
        return f"{self.hub.host}{self.hub.base_url}"
