"""A Hub in its own process, and its proxy in another: adds routes, prints the id of the latter, and waits to be killed."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from support.processes import MARK
from support.waiting import PATIENCE
from traefik_toml_proxy import InProcessProxy
from traefik_toml_proxy.inprocess import spawning
from traefik_toml_proxy.inprocess.keeper import Keeper

TESTS = Path(__file__).parents[1]


def app(*, cleanup_proxy: bool) -> SimpleNamespace:
    """Return what a proxy asks of the JupyterHub."""
    return SimpleNamespace(internal_ssl=False, subdomain_host="", cleanup_proxy=cleanup_proxy)


class ApartHub:
    """The process, for the test that starts it.

    Attributes:
        pid: The process of the Hub.
        proxy: The process of its proxy.
    """

    def __init__(self, process: asyncio.subprocess.Process, proxy: int) -> None:
        self._process = process
        self.pid = process.pid
        self.proxy = proxy

    @classmethod
    async def started(
        cls,
        traits: Mapping[str, Any],
        routes: Mapping[str, str],
        *,
        cleanup_proxy: bool = False,
        at_the_end: bool | None = None,
        never_listens: bool = False,
    ) -> ApartHub:
        """Start it, and wait until its routes are served.

        Args:
            traits: The traits of its proxy, as JSON.
            routes: Targets by routespec.
            cleanup_proxy: The setting of JupyterHub.
            at_the_end: What that is changed to, as by JupyterHub's API; then it ends without stopping its proxy.
            never_listens: Whether it stops in the middle of the start, before its proxy listens.
        """
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "support.apart_hub"),
            json.dumps([dict(traits), dict(routes), cleanup_proxy, at_the_end, never_listens]),
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, **MARK, "PYTHONPATH": f"{TESTS}:{os.environ.get('PYTHONPATH', '')}"},
        )
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), 60 * PATIENCE)
        return cls(process, int(line))

    async def ended(self) -> None:
        """Wait until it has ended by itself."""
        assert await asyncio.wait_for(self._process.wait(), 30 * PATIENCE) == 0

    async def kill(self) -> None:
        """Send it SIGKILL, and wait until it has ended. May be called twice."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()


def _say(proxy: InProcessProxy) -> None:
    record = json.loads(Path(proxy.state_dir, "in-process.json").read_text())
    print(record["identity"]["pid"], flush=True)


async def _main(
    traits: dict[str, Any], routes: dict[str, str], cleanup_proxy: bool, at_the_end: bool | None, never_listens: bool
) -> None:
    spawning._KEPT_VARIABLES = (*spawning._KEPT_VARIABLES, *MARK)  # type: ignore[assignment]
    proxy = InProcessProxy(**traits, app=app(cleanup_proxy=cleanup_proxy), log=logging.getLogger("hub"))
    if never_listens:

        async def say_and_wait(self: Keeper) -> None:  # noqa: ARG001 - named as the method is
            _say(proxy)
            await asyncio.Event().wait()

        Keeper.listen = say_and_wait  # type: ignore[method-assign]
    await proxy.start()
    await asyncio.gather(*(proxy.add_route(routespec, target, {}) for routespec, target in routes.items()))
    _say(proxy)
    if at_the_end is None:
        await asyncio.Event().wait()
    proxy.app.cleanup_proxy = at_the_end


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    asyncio.run(_main(*json.loads(sys.argv[1])))
