"""What an author implements to test a proxy that is not simply started by JupyterHub. No I/O of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from jupyterhub.proxy import Proxy

from .case import NotOffered
from .setting import Setting


class Subject(ABC):
    """A proxy under test.

    For a proxy class that JupyterHub can start there is :class:`~traefik_toml_proxy.conformance.StartedByHub`.

    Attributes:
        name: What it is called in the results.
        version: Its version, and that of what it runs on.
    """

    name: str = ""
    version: str = ""

    @abstractmethod
    async def start(self, setting: Setting) -> Proxy:
        """Start the proxy as JupyterHub does, and return it, ready for ``get_all_routes``.

        Raises:
            NotOffered: If it does not offer what ``setting.options`` asks for.
        """

    @abstractmethod
    async def stop(self) -> None:
        """Stop everything that was started."""

    def processes(self) -> list[int]:
        """Return the ids of the processes that the proxy runs in; their memory is measured."""
        return []

    async def kill(self) -> None:
        """Kill (with SIGKILL) the processes of a proxy that is expected to come back by itself.

        Raises:
            NotOffered: If there is none.
        """
        raise NotOffered("the proxy has no process of its own to kill")

    async def leave_behind(self, setting: Setting, routes: Mapping[str, str]) -> None:  # noqa: ARG002 - for subclasses
        """Have another Hub start the proxy, add ``routes`` (routespec -> target), and die by SIGKILL.

        Raises:
            NotOffered: If that cannot be done.
        """
        raise NotOffered("this subject cannot start the proxy in a Hub's process of its own")
