"""A Hub in its own process that adds routes when it is told, and does not have root's right to use any file."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from support.waiting import PATIENCE, within
from traefik_toml_proxy import TraefikTomlProxy
from traefik_toml_proxy import session as module
from traefik_toml_proxy.errors import ProxyError
from traefik_toml_proxy.runtime import renewal
from traefik_toml_proxy.runtime import session as runtime

TESTS = Path(__file__).parents[1]


class CommandedHub:
    """The process, for the test that starts it."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self._log = log

    @classmethod
    @asynccontextmanager
    async def started(cls, traits: Mapping[str, Any], log: Path) -> AsyncIterator[CommandedHub]:
        """Start it, and stop it at the end; skip the test where it would have all rights.

        Args:
            traits: The traits of its proxy, as JSON.
            log: The file for what it logs.
        """
        prefix = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
        if prefix and not shutil.which("setpriv"):
            pytest.skip("setpriv is not installed")
        with log.open("wb") as stderr:
            process = await asyncio.create_subprocess_exec(
                *(*prefix, sys.executable, "-m", "support.commanded_hub", json.dumps(dict(traits))),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=stderr,
                env={**os.environ, "PYTHONPATH": f"{TESTS}:{os.environ.get('PYTHONPATH', '')}"},
            )
        hub = cls(process, log)
        try:
            assert await hub._answer() == ""
            yield hub
        finally:
            assert process.stdin is not None
            process.stdin.close()
            await within(30 * PATIENCE, process.wait())

    async def add(self, routespec: str, target: str) -> str:
        """Add a route; return the error, or ""."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([routespec, target]).encode() + b"\n")
        return await self._answer()

    async def _answer(self) -> str:
        assert self._process.stdout is not None
        line = await within(30 * PATIENCE, self._process.stdout.readline())
        assert line, self._log.read_text()
        answer: str = json.loads(line)
        return answer

    @property
    def lines(self) -> list[str]:
        """What it has logged, each with its level."""
        return self._log.read_text().splitlines()


async def _main(traits: dict[str, Any]) -> None:
    module._WATCH_INTERVAL = runtime._FILES_INTERVAL = renewal._INTERVAL = 0.2
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    proxy = TraefikTomlProxy(**traits, log=logging.getLogger("hub"))
    await proxy.start()
    print(json.dumps(""), flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        routespec, target = json.loads(line)
        error = ""
        try:
            await proxy.add_route(routespec, target, {})
        except ProxyError as caught:
            error = str(caught)
        print(json.dumps(error), flush=True)
    await proxy.stop()


if __name__ == "__main__":
    asyncio.run(_main(*map(json.loads, sys.argv[1:])))
