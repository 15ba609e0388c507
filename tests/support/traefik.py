"""A Traefik that somebody else runs: started by the test with its own static configuration, on loopback."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from types import TracebackType
from typing import Any

import toml

from traefik_toml_proxy.traefik.program import child_environment, find_program

from .backend import get
from .ports import free_port
from .waiting import eventually

# Another Traefik to test with than the one that is installed; empty for that one.
TRAEFIK_COMMAND = [os.environ["TEST_TRAEFIK"]] if "TEST_TRAEFIK" in os.environ else []


class ForeignTraefik:
    """Runs between ``__aenter__`` and ``__aexit__``, and may be started again in between, on the same port."""

    def __init__(self, folder: Path, *, provider: dict[str, Any], entry_point: str = "web", tls: bool = False) -> None:
        """Args:
        folder: For its configuration and its log.
        provider: Its file provider's options.
        entry_point: The name of the entry point that it has.
        tls: Whether that speaks https.
        """
        address = f"127.0.0.1:{free_port()}"
        self.url = f"https://{address}" if tls else f"http://{address}"
        self.log = folder / "foreign-traefik.log"
        self._static_file = folder / "foreign-traefik.toml"
        self._process: asyncio.subprocess.Process | None = None
        http: dict[str, Any] = {"tls": {}} if tls else {"sanitizePath": False}
        tree = {
            "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
            "log": {"level": "DEBUG", "noColor": True, "filePath": str(self.log)},
            "providers": {"providersThrottleDuration": "0s", "file": provider},
            "entryPoints": {entry_point: {"address": address, "http": http}},
        }
        self._static_file.write_text(toml.dumps(tree))

    async def __aenter__(self) -> ForeignTraefik:
        environment = child_environment({})
        program = await find_program(TRAEFIK_COMMAND, environment)
        self._process = await asyncio.create_subprocess_exec(
            *program.command, f"--configFile={self._static_file}", env=environment
        )
        await eventually(self._serves, within=20)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.kill()
        await self._process.wait()

    async def _serves(self) -> bool:
        try:
            await get(self.url)  # without TLS: that somebody answers is enough
        except OSError:
            return False
        return True

    @property
    def files_read(self) -> int:
        """How often it has read its files so far."""
        return self.log.read_text().count("Configuration received")

    @property
    def complaints(self) -> list[str]:
        """The errors in its log."""
        return [line for line in self.log.read_text().splitlines() if " ERR " in line]
