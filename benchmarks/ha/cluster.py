"""All that runs in a drill, each on a loopback address of its own: etcd, replicas, servers, a Hub. I/O: starts it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from ..backend import serve_quick
from .agents import AgentProcess
from .etcd import Etcd
from .hub import HubProcess
from .relay import Relay

_ROOT = "/drill"
# Seconds for which etcd takes the Hub and the agents for alive.
LEASE_SECONDS = 4
# Seconds for which an agent that is told to end goes on serving.
_LEAVE_SECONDS = 1
# Seconds that a change may take before the Hub gives up.
_CHANGE_SECONDS = 30

_MEMBERS = [f"127.71.0.{number}" for number in (1, 2, 3)]
_REPLICAS = [f"127.71.1.{number}" for number in (1, 2, 3)]
_RELAYS = [f"127.71.2.{number}" for number in (1, 2, 3)]
_SERVERS = "127.71.3.1"


class Cluster:
    """What runs.

    Attributes:
        etcd: Three members.
        agents: Three replicas. The last one reaches etcd through the relays.
        relays: One for each member.
        targets: The URL of each server behind the routes, by the name that it answers with.
    """

    def __init__(self, folder: Path, traefik: str, patience: float) -> None:
        self._folder = folder
        self._patience = patience
        self._hubs = 0
        self.etcd = Etcd(folder, hosts=_MEMBERS)
        self.relays: list[Relay] = []
        self.agents: list[AgentProcess] = []
        self.targets: dict[str, str] = {}
        self._traits: dict[str, Any] = {
            "etcd_root": _ROOT,
            "lease_seconds": LEASE_SECONDS,
            "leave_seconds": _LEAVE_SECONDS,
            "traefik_command": [traefik],
        }

    @classmethod
    @contextlib.asynccontextmanager
    async def running(cls, folder: Path, traefik: str, patience: float) -> AsyncIterator[Cluster]:
        """Start everything but the Hub; stop it in the end.

        Args:
            folder: For all files.
            traefik: The binary.
            patience: Multiplies the time that it may take.
        """
        cluster = cls(folder, traefik, patience)
        async with contextlib.AsyncExitStack() as stack:
            for name in ("hub", "one", "two"):
                cluster.targets[name] = await serve_quick(name, host=_SERVERS)
            stack.callback(cluster.etcd.kill)
            cluster.etcd.start()
            await cluster.etcd.ready(seconds=20 * patience)
            for member, host in zip(cluster.etcd.members, _RELAYS, strict=True):
                cluster.relays.append(await stack.enter_async_context(Relay(member.url, host)))
            members = [member.url for member in cluster.etcd.members]
            ways = [members, members, [relay.url for relay in cluster.relays]]
            for number, (host, way) in enumerate(zip(_REPLICAS, ways, strict=True)):
                agent = AgentProcess(folder, f"replica{number + 1}", way, host=host, **cluster._traits)
                cluster.agents.append(agent)
                await stack.enter_async_context(agent)
            yield cluster

    async def new_hub(self) -> HubProcess:
        """Start a Hub, which leads as soon as nobody else does."""
        self._hubs += 1
        traits = {
            "etcd_endpoints": [member.url for member in self.etcd.members],
            "etcd_root": _ROOT,
            "lease_seconds": LEASE_SECONDS,
            "check_route_timeout": _CHANGE_SECONDS * self._patience,
        }
        hub = HubProcess(f"hub{self._hubs}", self._folder, traits)
        try:
            await hub.start(60 * self._patience)
        except BaseException:
            await hub.kill()
            raise
        return hub

    async def all_ready(self) -> None:
        """Return when etcd answers, and all replicas are ready.

        Raises:
            TimeoutError: If that takes too long.
        """
        await self.etcd.ready(seconds=30 * self._patience)
        await asyncio.gather(*(agent.wait_until_ready(30 * self._patience) for agent in self.agents))
