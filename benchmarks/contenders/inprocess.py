"""The proxy inside the Hub's process, which is here that of the benchmark's worker, or beside it. I/O: by the proxy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..machine import package_version
from .base import HubContender


class InProcess(HubContender):
    """The one of the version of this package that this Python imports, with its default settings."""

    def missing(self) -> str:
        """Return why it cannot be imported; it needs nothing else."""
        try:
            from traefik_toml_proxy import InProcessProxy  # noqa: F401 - only to see whether it can be imported
        except ImportError as error:
            return str(error)
        return ""

    def version(self) -> str:
        """Return the package's version, and the event loop."""
        from traefik_toml_proxy import __version__

        return f"{__version__}, uvloop {package_version('uvloop')}"

    def make_proxy(self, **common: Any) -> Any:
        """Return one."""
        from traefik_toml_proxy import InProcessProxy

        return InProcessProxy(**common, **self.more_traits())

    def more_traits(self) -> dict[str, Any]:
        """Return what differs from the default settings."""
        return {}


class InProcessAsyncio(InProcess):
    """The same with Python's own event loop, as where uvloop is not installed."""

    def version(self) -> str:
        """Return the package's version, and the event loop."""
        from traefik_toml_proxy import __version__

        return f"{__version__}, asyncio"

    def more_traits(self) -> dict[str, Any]:
        """Return the event loop."""
        return {"event_loop": "asyncio"}


class InProcessApart(InProcess):
    """The same in a process of its own."""

    def more_traits(self) -> dict[str, Any]:
        """Return where it runs, and its folder."""
        return {"where": "process", "state_dir": str(Path(self.settings.folder) / "state")}
