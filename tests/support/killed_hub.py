"""A Hub in its own process, to be killed: starts a proxy, adds routes, prints ``ready``, and waits."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from support.inside import traefik_pid
from support.waiting import PATIENCE
from traefik_toml_proxy import TraefikTomlProxy

TESTS = Path(__file__).parents[1]


class Hub:
    """The process, for the test that starts it."""

    def __init__(self, process: asyncio.subprocess.Process, traefik_pid: int) -> None:
        self._process = process
        self.pid = process.pid
        self.traefik_pid = traefik_pid

    @classmethod
    async def started(cls, traits: Mapping[str, Any], routes: Mapping[str, str]) -> Hub:
        """Start it, and wait until its routes are live.

        Args:
            traits: The traits of its proxy, as JSON.
            routes: Targets by routespec.
        """
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "support.killed_hub", json.dumps([dict(traits), dict(routes)])),
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": f"{TESTS}:{os.environ.get('PYTHONPATH', '')}"},
        )
        assert process.stdout is not None
        assert await asyncio.wait_for(process.stdout.readline(), 60 * PATIENCE) == b"ready\n"
        return cls(process, traefik_pid(Path(traits["state_dir"])))

    async def kill(self) -> None:
        """Send it SIGKILL, and wait until it has ended."""
        self._process.kill()
        await self._process.wait()


async def _main(traits: dict[str, Any], routes: dict[str, str]) -> None:
    proxy = TraefikTomlProxy(**traits, log=logging.getLogger("hub"))
    await proxy.start()
    await asyncio.gather(*(proxy.add_route(routespec, target, {}) for routespec, target in routes.items()))
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main(*json.loads(sys.argv[1])))
