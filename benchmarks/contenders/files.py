"""This package with its file, which three Traefiks watch: as much work as three replicas have. I/O: by all of them."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from traefik_toml_proxy.conformance.ports import free_ports

from ..client import Client
from ..processes import descendants
from ..workload import Entry
from . import REPLICAS
from .base import PATIENCE, Settings
from .ours import Ours


class Files(Ours):
    """TraefikTomlProxy, and two Traefiks more that watch its file. A change is live when all of them serve it."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._others: list[subprocess.Popen[bytes]] = []
        self._clients: list[Client] = []

    async def start(self) -> None:
        """Start the proxy, and the other Traefiks with a copy of its static configuration."""
        await super().start()
        static = (Path(self.settings.folder) / "state" / "traefik.toml").read_text(encoding="utf-8")
        address = urlsplit(self.settings.public_url).netloc
        for port in free_ports(REPLICAS - 1):
            copy = Path(self.settings.folder) / f"traefik-{port}.toml"
            copy.write_text(static.replace(address, f"127.0.0.1:{port}"), encoding="utf-8")
            command = [self.settings.traefik, "--configFile", str(copy)]
            with copy.with_suffix(".log").open("wb") as log:
                process = subprocess.Popen(command, env=self._environment(), stdout=log, stderr=log)  # noqa: ASYNC220
            self._others.append(process)
            self._clients.append(Client(f"http://127.0.0.1:{port}"))

    def _environment(self) -> Mapping[str, str]:
        """Return the environment of the proxy's own Traefik, which sets how often it collects garbage."""
        for process in descendants(os.getpid()):
            variables = Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")
            found = dict(each.decode().split("=", 1) for each in variables if b"=" in each)
            if "GOGC" in found:
                return found
        raise RuntimeError("the proxy has no Traefik")

    async def add(self, entries: Sequence[Entry]) -> None:
        """Add routes; return when all Traefiks serve the last one."""
        await super().add(entries)
        routespec, target, _ = entries[-1]
        if target == self.settings.servers.user:
            await self._wait(routespec, "user")

    async def delete(self, routespecs: Sequence[str]) -> None:
        """Delete routes; return when no Traefik serves the last one."""
        await super().delete(routespecs)
        await self._wait(routespecs[-1], "hub")

    async def _wait(self, path: str, server: str) -> None:
        for client in self._clients:
            await client.wait_until_at(path, server, PATIENCE)

    async def stop(self) -> None:
        """Stop the proxy, and the other Traefiks."""
        try:
            await super().stop()
        finally:
            for process in self._others:
                process.terminate()
            for process in self._others:
                await asyncio.to_thread(process.wait, 15)
