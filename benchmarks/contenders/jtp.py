"""jupyterhub-traefik-proxy with its file provider. I/O: by the proxy."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Any

from .base import PATIENCE, HubContender


class Jtp(HubContender):
    """jupyterhub-traefik-proxy with its default settings.

    It works on at most 10 changes at a time (its ``concurrency``); asking for more would only make a queue.
    """

    most_at_once = 10

    def missing(self) -> str:
        """Return why it cannot be imported, or that there is no Traefik."""
        try:
            import jupyterhub_traefik_proxy.fileprovider  # noqa: F401 - only to see whether it can be imported
        except ImportError as error:
            return str(error)
        return "" if self.settings.traefik else "no traefik"

    def version(self) -> str:
        """Return the package's version."""
        return metadata.version("jupyterhub-traefik-proxy")

    def make_proxy(self, **common: Any) -> Any:
        """Return one with its default settings, but for its ports and files, and with a longer timeout."""
        from jupyterhub_traefik_proxy.fileprovider import TraefikFileProviderProxy

        folder = Path(self.settings.folder)
        return TraefikFileProviderProxy(
            traefik_api_url=self.settings.api_url,
            static_config_file=str(folder / "traefik.toml"),
            dynamic_config_file=str(folder / "rules.toml"),
            check_route_timeout=PATIENCE,
            **common,
        )

    def prepare(self) -> None:
        """Put the existing routes into its table before it starts.

        It writes its whole file for each route: filling a table of 10,000 one by one would take hours. The entries are
        made by the same method that its ``add_route`` calls, and ``start`` writes them all once. Only the changes after
        that are measured, so this saves it nothing that is measured.
        """
        super().prepare()
        table = self.proxy.dynamic_config
        for entry in self.settings.existing_entries():
            traefik, jupyterhub = self.proxy._dynamic_config_for_route(*entry)  # noqa: SLF001 - what add_route calls
            table["http"]["routers"].update(traefik["http"]["routers"])
            table["http"]["services"].update(traefik["http"]["services"])
            table["jupyterhub"]["routes"].update(jupyterhub["routes"])

    async def fill(self) -> None:
        """Do nothing: see :meth:`prepare`."""
