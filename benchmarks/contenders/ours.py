"""This package, through its public class alone: another version of it must run here as well. I/O: by the proxy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .base import HubContender


class Ours(HubContender):
    """The version of this package that this Python imports."""

    def missing(self) -> str:
        """Return why it cannot be imported, or that there is no Traefik."""
        try:
            from traefik_toml_proxy import TraefikTomlProxy  # noqa: F401 - only to see whether it can be imported
        except ImportError as error:
            return str(error)
        return "" if self.settings.traefik else "no traefik"

    def version(self) -> str:
        """Return the package's version."""
        from traefik_toml_proxy import __version__

        return __version__

    def location(self) -> str:
        """Return the package's folder."""
        import traefik_toml_proxy

        return str(Path(traefik_toml_proxy.__file__).resolve().parent)

    def make_proxy(self, **common: Any) -> Any:
        """Return one with its default settings, but for the state folder and the Traefik binary."""
        from traefik_toml_proxy import TraefikTomlProxy

        state_dir = str(Path(self.settings.folder) / "state")
        return TraefikTomlProxy(state_dir=state_dir, traefik_command=[self.settings.traefik], **common)
