"""Which Traefik to test with, and one that somebody else runs: a test starts it, not the proxy."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import toml

from traefik_toml_proxy.runtime.program import child_environment, find_program

from .apart import in_namespaces
from .certificates import make_certificate
from .http_program import HttpProgram
from .ports import free_port

# A Traefik to test with instead of the installed one.
TRAEFIK_COMMAND = [os.environ["TEST_TRAEFIK"]] if "TEST_TRAEFIK" in os.environ else []


def write_default_certificate(folder: Path, watched: Path) -> None:
    """Give a Traefik a certificate, in a file of its own: otherwise it makes a key at every reload, which takes long."""
    pair = make_certificate(folder, "foreign")
    tree = {
        "tls": {"stores": {"default": {"defaultCertificate": {"certFile": str(pair.cert), "keyFile": str(pair.key)}}}}
    }
    (watched / "foreign-certificate.toml").write_text(toml.dumps(tree))


class OutsideTraefik(HttpProgram):
    """A Traefik with a static configuration that somebody has written."""

    def __init__(
        self,
        url: str,
        static_file: Path,
        log: Path,
        *,
        user: int | None = None,
        group: int | None = None,
        apart: str = "",
    ) -> None:
        """Choose its user; it is not started.

        Args:
            url: Where it listens for users.
            static_file: Its configuration.
            log: The file for its output.
            user: The user that runs it; only root can choose that.
            group: The group that it is in, and no other.
            apart: A shell command that mounts what it sees elsewhere than others, in a namespace of its own.
        """
        super().__init__(url)
        self._before = in_namespaces(apart) if apart else []
        self.log = log
        self._static_file = static_file
        self._other: dict[str, Any] = {} if user is None else {"user": user, "group": group, "extra_groups": []}

    async def _start(self) -> asyncio.subprocess.Process:
        environment = child_environment({})
        program = await find_program(TRAEFIK_COMMAND, environment)
        command = [*self._before, *program.command]
        # Another user may not see the folder that the program is in.
        opened = os.open(shutil.which(command[0]) or "", os.O_RDONLY)
        output = await asyncio.to_thread(self.log.open, "ab")
        try:
            return await asyncio.create_subprocess_exec(
                *(*command, f"--configFile={self._static_file}"),
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
        throttle: str = "0s",
        http: Mapping[str, Any] | None = None,
        read_timeout: str = "0s",
        apart: str = "",
    ) -> None:
        """Write its configuration; it is not started.

        Args:
            folder: For its configuration and its log.
            provider: The options of its file provider.
            entry_point: The name of its entry point.
            tls: Whether the entry point speaks https.
            throttle: For how long it holds back a change.
            http: More about http at the entry point.
            read_timeout: How long a request may take.
            other: The address of a second entry point, if there is to be one.
            user: The user that runs it; only root can choose that.
            group: The group that it is in, and no other.
            apart: As for :class:`OutsideTraefik`.
        """
        address = f"127.0.0.1:{free_port()}"
        url = f"https://{address}" if tls else f"http://{address}"
        static_file = folder / "foreign-traefik.toml"
        log = folder / "foreign-traefik.log"
        super().__init__(url, static_file, log, user=user, group=group, apart=apart)
        base: dict[str, Any] = {"tls": {}} if tls else {"sanitizePath": False}
        point = {
            "address": address,
            "http": base | dict(http or {}),
            "transport": {"respondingTimeouts": {"readTimeout": read_timeout}},
        }
        tree: dict[str, Any] = {
            "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
            "log": {"level": "DEBUG", "noColor": True},
            "providers": {"providersThrottleDuration": throttle, "file": provider},
            "entryPoints": {entry_point: point},
        }
        if other:
            tree["entryPoints"]["other"] = {"address": other}
        static_file.write_text(toml.dumps(tree))

    @property
    def files_read(self) -> int:
        """How many times it has read its files so far."""
        return self.log.read_text().count("Configuration received")
