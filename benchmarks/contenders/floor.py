"""Bare Traefik, reloading a flat file: the least that a proxy of our kind has to do. I/O: Traefik and its files."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from ..client import Client
from ..programs import traefik_version
from ..workload import Entry
from .base import PATIENCE, Contender, Settings
from .floor_files import REVISION_HEADER, REVISION_PATH, floor_dynamic, floor_static, revision_router


class Floor(Contender):
    """The least that any proxy which keeps its routes in one Traefik file has to do for a change.

    It has a ready-made file with the same routes, each a router and a service as in Traefik's documentation, and what
    JupyterHub passed for it. For a change, it renames the file into place and asks the public entry point, as fast as it
    can, until the answer has the new revision. There are no checks, no table, no rendering, no fsync and no event loop. A
    change of one route and a change of two hundred are the same to it: one reload.
    """

    is_bare = True

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._revision = 0
        self._traefik: subprocess.Popen[bytes] | None = None

    def missing(self) -> str:
        """Return whether there is no Traefik."""
        return "" if self.settings.traefik else "no traefik"

    def version(self) -> str:
        """Return Traefik's version."""
        return traefik_version(self.settings.traefik)

    def prepare(self) -> None:
        """Write the static file, and render the dynamic one."""
        settings = self.settings
        folder = Path(settings.folder)
        folder.mkdir(parents=True, exist_ok=True)
        entries = settings.existing_entries()
        self._text = floor_dynamic(entries, settings.cert_file, settings.key_file).encode()
        self._file, self._temporary = folder / "dynamic.toml", folder / "dynamic.toml.new"
        self._static = folder / "static.toml"
        static = floor_static(f"127.0.0.1:{settings.public_port}", str(self._file), tls=settings.tls)
        self._static.write_text(static, encoding="utf-8")
        self._client = Client(settings.public_url)

    async def start(self) -> None:
        """Start Traefik with the whole table."""
        self._write()
        command = [self.settings.traefik, "--configFile", str(self._static)]
        self._traefik = subprocess.Popen(command)  # noqa: ASYNC220 - nothing else runs in this loop
        self._wait_until_served()

    async def fill(self) -> None:
        """Do nothing: the file is complete from the start."""

    async def add(self, entries: Sequence[Entry]) -> None:  # noqa: ARG002 - the file is ready-made
        """Have Traefik load the file once more."""
        self._write()
        self._wait_until_served()

    async def delete(self, routespecs: Sequence[str]) -> None:  # noqa: ARG002 - the file is ready-made
        """Have Traefik load the file once more."""
        self._write()
        self._wait_until_served()

    def _write(self) -> None:
        self._revision += 1
        self._temporary.write_bytes(self._text + revision_router(self._revision).encode())
        self._temporary.rename(self._file)

    def _wait_until_served(self) -> None:
        wanted = str(self._revision)
        begin = time.monotonic()
        while (elapsed := time.monotonic() - begin) < PATIENCE:
            try:
                if self._client.ask(REVISION_PATH, REVISION_HEADER).header == wanted:
                    return
            except OSError:
                time.sleep(0.005)  # it does not listen yet
            # Requests compete with the reload for the cores: without this pause, a reload of 5,000 routes takes 10 % longer.
            if elapsed > 0.005:
                time.sleep(min(elapsed / 100, 0.002))
        raise TimeoutError(f"Traefik did not serve revision {wanted} in {PATIENCE} s")

    async def count(self) -> int:
        """Return how many routes the file has."""
        return self.settings.existing + 1

    def crash(self) -> None:
        """Kill Traefik."""
        if self._traefik is not None:
            self._traefik.kill()
            self._traefik.wait(10)

    async def stop(self) -> None:
        """Stop Traefik."""
        if self._traefik is None:
            return
        self._traefik.terminate()
        try:
            await asyncio.to_thread(self._traefik.wait, 15)
        except subprocess.TimeoutExpired:
            self._traefik.kill()
            await asyncio.to_thread(self._traefik.wait, 15)
