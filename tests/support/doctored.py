"""A Hub's configuration for the doctor, with a mistake in it or around it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from traitlets.config import Config

from traefik_toml_proxy import TraefikTomlProxy
from traefik_toml_proxy.cli.doctor import examine
from traefik_toml_proxy.cli.hub import LoadedHub
from traefik_toml_proxy.findings import Finding

from .ports import free_ports
from .processes import MARK
from .traefik import TRAEFIK_COMMAND, ForeignTraefik, write_default_certificate
from .waiting import PATIENCE


class Patient:
    """A configuration file, and what is around it.

    Attributes:
        folder: An empty folder.
        file: The configuration file.
        port: The port in ``bind_url``.
        opened: Closed at the end of the test.
    """

    def __init__(self, folder: Path, opened: contextlib.AsyncExitStack) -> None:
        self.folder = folder
        self.file = folder / "jupyterhub_config.py"
        self.port, hub_port = free_ports(2)
        self.opened = opened
        self._settings: dict[str, Any] = {}
        self.set("JupyterHub.proxy_class", "traefik-toml")
        self.set("JupyterHub.bind_url", f"http://127.0.0.1:{self.port}")
        self.set("JupyterHub.hub_bind_url", f"http://127.0.0.1:{hub_port}")
        self.set("TraefikProxy.state_dir", str(self.state))
        self.set("TraefikProxy.traefik_command", TRAEFIK_COMMAND)
        self.set("TraefikProxy.traefik_env", MARK)
        self.set("TraefikProxy.check_route_timeout", 1.0 * PATIENCE)
        self.set("TraefikProxy.start_timeout", 10.0 * PATIENCE)

    def set(self, trait: str, value: Any) -> None:
        """Set a trait, such as ``TraefikProxy.state_dir``; the last value counts."""
        self._settings[trait] = value
        self.write(f"c.{trait} = {value!r}")

    def write(self, line: str) -> None:
        """Add a line to the configuration."""
        with self.file.open("a") as file:
            file.write(line + "\n")

    @property
    def traits(self) -> dict[str, Any]:
        """The traits with which the Hub would make its proxy, as far as they are set here."""
        return {
            name.partition(".")[2]: value
            for name, value in self._settings.items()
            if name.startswith(("TraefikProxy.", "TraefikTomlProxy."))
        } | {"public_url": self._settings["JupyterHub.bind_url"]}

    @property
    def state(self) -> Path:
        """The state folder, which does not exist yet."""
        return self.folder / "state"

    @property
    def watched(self) -> Path:
        """The folder that a Traefik of others watches."""
        folder = self.folder / "watched"
        folder.mkdir(exist_ok=True)
        return folder

    @property
    def routes(self) -> Path:
        """The file with the routes, if others run Traefik."""
        return self.watched / "routes.toml"

    async def use_traefik_of_others(self, *, start: bool = True, **how: Any) -> ForeignTraefik:
        """Start a Traefik of others; the Hub is configured for it as the documentation says."""
        given: dict[str, Any] = {
            "provider": {"directory": str(self.watched)},
            "http": {"encodeQuerySemicolons": True},
        } | how
        traefik = ForeignTraefik(self.folder, **given)
        write_default_certificate(self.folder, self.watched)
        if start:
            await self.opened.enter_async_context(traefik)
        self.set("Proxy.should_start", False)
        self.set("TraefikTomlProxy.dynamic_config_file", str(self.routes))
        self.set("TraefikProxy.traefik_url", traefik.url)
        self.set("TraefikProxy.traefik_entrypoint", "web")
        return traefik

    def listen(self) -> None:
        """Take the port."""
        listener = self.opened.enter_context(socket.socket())
        listener.bind(("127.0.0.1", self.port))
        listener.listen(1)

    async def findings(self) -> list[Finding]:
        """Return what the doctor finds."""
        return await asyncio.to_thread(lambda: list(examine(self.file, Config())))

    async def proxy(self) -> TraefikTomlProxy:
        """Return the proxy that the Hub would start; it is stopped at the end of the test."""
        hub = await asyncio.to_thread(LoadedHub, self.file, Config())
        if hub.app.internal_ssl:
            await asyncio.to_thread(asyncio.run, _make_internal_certificates(hub))
        proxy = hub.proxy
        assert proxy is not None
        self.opened.push_async_callback(proxy.stop)
        return proxy

    def wrong_apart(self, before: str, *, user: int | None = None) -> dict[str, str]:
        """Return what the doctor finds wrong in namespaces of its own, by what it is about.

        The test is skipped where they are not permitted.

        Args:
            before: A shell command to run first, as root of the namespaces (user_namespaces(7)).
            user: The user that the doctor runs as; without it, root of the namespaces.
        """
        unshare = ["unshare", "--user", "--mount", *(["--map-root-user"] if user is None else [f"--map-user={user}"])]
        trial = subprocess.run([*unshare, "true"], capture_output=True, text=True)
        if trial.returncode:
            pytest.skip(f"namespaces are not permitted here: {trial.stderr.strip()}")
        doctor = f"{sys.executable} -m traefik_toml_proxy doctor --json -f {self.file}"
        done = subprocess.run(
            [*unshare, "sh", "-c", f"{before} && exec {doctor}"],
            env=os.environ,
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert done.returncode == 1, done.stderr
        found = [finding for finding in json.loads(done.stdout) if finding["verdict"] == "wrong"]
        return {finding["about"]: f"{finding['text']} {finding['mend']}" for finding in found}


async def _make_internal_certificates(hub: LoadedHub) -> None:
    hub.app.init_internal_ssl()


def tree(folder: Path) -> Mapping[str, tuple[int, int, int]]:
    """Return everything in a folder, with the mode, the size and the time of the last change."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        found[str(path)] = status.st_mode, status.st_size, status.st_mtime_ns
    return found
