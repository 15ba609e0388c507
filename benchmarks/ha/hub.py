"""A process that changes routes in etcd as a Hub does, when it is told: ``python -m benchmarks.ha.hub``. I/O: by the proxy.

A command is a line of JSON, and so is the answer. It is a process of its own, so that it can be killed and frozen.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..interpreter import this_interpreter
from ..waiting import within


class HubGone(Exception):
    """The Hub has ended before it answered: nobody knows whether it has done what it was told."""


class HubProcess:
    """The process, for those who give it commands, one at a time.

    Args:
        name: What it is called.
        folder: Gets its log.
        traits: The traits of its proxy, as JSON.
    """

    def __init__(self, name: str, folder: Path, traits: Mapping[str, Any]) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self._traits = traits
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, seconds: float) -> None:
        """Start it, and return when its proxy has started.

        Raises:
            HubGone: If it ends before; its log says why.
            TimeoutError: If it takes longer than that many seconds.
        """
        python = this_interpreter()
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(python.executable, "-m", "benchmarks.ha.hub", json.dumps(dict(self._traits))),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                cwd=python.import_folder,
                env=python.environment(),
                limit=2**20,  # all routes are one line
                start_new_session=True,
            )
        await within(seconds, self._answer())

    async def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Give it a command, and return the answer.

        Raises:
            HubGone: If it has ended.
        """
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **arguments}).encode() + b"\n")
            await self._process.stdin.drain()
        except ConnectionError as error:
            raise HubGone(self.name) from error
        return await self._answer()

    async def _answer(self) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            raise HubGone(f"{self.name} has ended: {self.log}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    async def kill(self) -> None:
        """Kill it, and wait until it has ended."""
        if self._process is not None:
            if self._process.returncode is None:
                self._process.kill()
            await self._process.wait()

    async def stop(self) -> None:
        """Stop it in order, or kill it if it takes too long."""
        if self._process is None or self._process.returncode is not None:
            return
        assert self._process.stdin is not None
        self._process.send_signal(signal.SIGCONT)
        self._process.stdin.close()
        try:
            await within(20, self._process.wait())
        except asyncio.TimeoutError:
            await self.kill()


class _Commands:
    """Carries out commands; each method is one."""

    def __init__(self, proxy: Any) -> None:
        self._proxy = proxy

    async def add(self, routespec: str, target: str, data: dict[str, Any]) -> dict[str, Any]:
        """Add a route."""
        await self._proxy.add_route(routespec, target, data)
        return {}

    async def delete(self, routespec: str) -> dict[str, Any]:
        """Delete a route."""
        await self._proxy.delete_route(routespec)
        return {}

    async def routes(self) -> dict[str, Any]:
        """Return all routes."""
        return {"routes": await self._proxy.get_all_routes()}


async def _main(traits: dict[str, Any]) -> None:
    from traefik_toml_proxy import TraefikEtcdProxy

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    proxy = TraefikEtcdProxy(**traits, log=logging.getLogger("hub"))
    await proxy.start()
    commands = _Commands(proxy)
    _print({})
    # Not asyncio.to_thread: the proxy must have those threads for itself, as in a Hub.
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        told: dict[str, Any] = json.loads(line)
        begin = time.monotonic()
        try:
            answer = await getattr(commands, told.pop("do"))(**told)
        except Exception as error:  # noqa: BLE001 - the answer says what it is
            answer = {"error": f"{type(error).__name__}: {error}"}
        _print({**answer, "seconds": time.monotonic() - begin})
    await proxy.stop()


def _print(answer: dict[str, Any]) -> None:
    os.write(1, json.dumps(answer).encode() + b"\n")


if __name__ == "__main__":
    asyncio.run(_main(json.loads(sys.argv[1])))
