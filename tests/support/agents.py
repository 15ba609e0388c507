"""Agents for tests, in processes of their own, each with its Traefik (benchmarks/ha/agents.py)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.ha import agents as shared
from traefik_toml_proxy.stores.etcd_settings import EtcdSettings

from .processes import MARK
from .traefik import TRAEFIK_COMMAND
from .waiting import PATIENCE

# An agent is taken for frozen when it has not run for 0.4 of it, as happens for a second on a busy machine.
LEASE_SECONDS = round(5 * PATIENCE)


class AgentProcess(shared.AgentProcess):
    """An agent with the Traefik to test with, which is found if a test leaves it."""

    answers_within = 2.0 * PATIENCE

    def __init__(self, folder: Path, name: str, etcd: EtcdSettings, root: str, **traits: Any) -> None:
        """Start nothing yet.

        Args:
            folder: Gets the folder with its files, and its log.
            name: What it is called in etcd.
            etcd: How it reaches etcd.
            root: The root of the keys.
            traits: More settings.
        """
        every: dict[str, Any] = {
            "etcd_root": root,
            "lease_seconds": LEASE_SECONDS,
            "leave_seconds": 0,
            "traefik_command": TRAEFIK_COMMAND,
            "traefik_env": MARK,
        }
        super().__init__(folder, name, etcd.endpoints, environment=MARK, **(every | traits))

    async def ready(self, within: float = 15) -> None:
        """Return when it says that it is ready."""
        await self.wait_until_ready(within * PATIENCE)
