"""Which Traefik to test with, and one that somebody else runs: a test starts it, not the proxy."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import toml

from traefik_toml_proxy.runtime.program import child_environment, find_program

from .http_program import HttpProgram
from .ports import free_port

# A Traefik to test with instead of the installed one.
TRAEFIK_COMMAND = [os.environ["TEST_TRAEFIK"]] if "TEST_TRAEFIK" in os.environ else []


class OutsideTraefik(HttpProgram):
    """A Traefik with a static configuration that somebody has written."""

    def __init__(
        self, url: str, static_file: Path, log: Path, *, user: int | None = None, group: int | None = None
    ) -> None:
        """Choose its user; it is not started.

        Args:
            url: Where it listens for users.
            static_file: Its configuration.
            log: The file for its output.
            user: The user that runs it; only root can choose that.
            group: The group that it is in, and no other.
        """
        super().__init__(url)
        self.log = log
        self._static_file = static_file
        self._other: dict[str, Any] = {} if user is None else {"user": user, "group": group, "extra_groups": []}

    async def _start(self) -> asyncio.subprocess.Process:
        environment = child_environment({})
        program = await find_program(TRAEFIK_COMMAND, environment)
        # Another user may not see the folder that the program is in.
        opened = os.open(program.command[0], os.O_RDONLY)
        output = await asyncio.to_thread(self.log.open, "ab")
        try:
            return await asyncio.create_subprocess_exec(
                *(*program.command, f"--configFile={self._static_file}"),
                executable=f"/proc/self/fd/{opened}",
                pass_fds=(opened,),
                stdout=output,
                stderr=output,
                env=environment,
                **self._other,
            )
        finally:
            output.close()
            os.close(opened)

    @property
    def complaints(self) -> list[str]:
        """The errors in its log."""
        return [line for line in self.log.read_text().splitlines() if " ERR " in line]


class ForeignTraefik(OutsideTraefik):
    """A Traefik with a static configuration of its own, on loopback."""

    def __init__(
        self,
        folder: Path,
        *,
        provider: dict[str, Any],
        entry_point: str = "web",
        tls: bool = False,
        other: str = "",
        user: int | None = None,
        group: int | None = None,
    ) -> None:
        """Write its configuration; it is not started.

        Args:
            folder: For its configuration and its log.
            provider: The options of its file provider.
            entry_point: The name of its entry point.
            tls: Whether the entry point speaks https.
            other: The address of a second entry point, if there is to be one.
            user: The user that runs it; only root can choose that.
            group: The group that it is in, and no other.
        """
        address = f"127.0.0.1:{free_port()}"
        url = f"https://{address}" if tls else f"http://{address}"
        static_file = folder / "foreign-traefik.toml"
        super().__init__(url, static_file, folder / "foreign-traefik.log", user=user, group=group)
        http: dict[str, Any] = {"tls": {}} if tls else {"sanitizePath": False}
        tree: dict[str, Any] = {
            "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
            "log": {"level": "DEBUG", "noColor": True},
            "providers": {"providersThrottleDuration": "0s", "file": provider},
            "entryPoints": {entry_point: {"address": address, "http": http}},
        }
        if other:
            tree["entryPoints"]["other"] = {"address": other}
        static_file.write_text(toml.dumps(tree))

    @property
    def files_read(self) -> int:
        """How many times it has read its files so far."""
        return self.log.read_text().count("Configuration received")
