"""Real JupyterHubs on one Traefik: people log in, start servers and stop them, each at their own Hub."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.backend import Response, get
from support.ports import free_ports
from support.processes import MARK
from support.traefik import ForeignTraefik
from support.waiting import PATIENCE, eventually

_TOKEN = "0123456789abcdef0123456789abcdef"

_CONFIG = """
import sys
c.JupyterHub.proxy_class = "traefik-toml"
c.Proxy.should_start = False
c.TraefikProxy.traefik_entrypoint = "web"
c.TraefikProxy.traefik_url = {url!r}
c.TraefikProxy.state_dir = {folder!r} + "/traefik"
c.TraefikProxy.rule_hosts = {hosts!r}
c.TraefikTomlProxy.dynamic_config_file = {file!r}
c.JupyterHub.bind_url = {url!r} + {base_url!r}
c.JupyterHub.hub_port = {port}
c.JupyterHub.template_vars = {{"announcement": "This is the Hub " + {name!r}}}
c.JupyterHub.db_url = "sqlite:///" + {folder!r} + "/hub.sqlite"
c.JupyterHub.cookie_secret_file = {folder!r} + "/secret"
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = {folder!r} + "/users/{{username}}"
c.Spawner.cmd = [sys.executable, "-m", "jupyterhub.tests.mocksu"]
c.JupyterHub.tornado_settings = {{"slow_spawn_timeout": 1}}
c.JupyterHub.services = [{{"name": "test", "api_token": {token!r}}}]
c.JupyterHub.load_roles = [{{"name": "test", "services": ["test"], "scopes": ["admin:users", "admin:servers"]}}]
"""


@dataclass
class RealHub:
    """A JupyterHub in a process of its own, which is reached through a Traefik that somebody else runs."""

    name: str
    base_url: str
    hosts: tuple[str, ...]
    traefik: str
    folder: Path
    watched: Path

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Start it; it need not serve yet. At the end, ask it to stop, with its users' servers."""
        [self.port] = free_ports(1)
        self.folder.mkdir()
        config = self.folder / "jupyterhub_config.py"
        text = _CONFIG.format(
            name=self.name,
            url=self.traefik,
            folder=str(self.folder),
            hosts=list(self.hosts),
            file=str(self.watched / f"{self.name}.toml"),
            base_url=self.base_url,
            port=self.port,
            token=_TOKEN,
        )
        config.write_text(text)
        with self.folder.joinpath("output.txt").open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "jupyterhub", "-f", str(config)),
                cwd=self.folder,
                env={**os.environ, **MARK},
                stdout=output,
                stderr=output,
            )
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            await asyncio.wait_for(process.wait(), 30 * PATIENCE)
            print(self.folder.joinpath("output.txt").read_text())

    async def ask(self, path: str, *, method: str = "GET", **headers: str) -> Response:
        """Send a request to it through Traefik."""
        host = self.hosts[0] if self.hosts else None
        return await get(self.traefik, self.base_url + path, host=host, method=method, headers=headers)

    async def api(self, path: str, *, method: str = "GET") -> Response:
        """Call its API through Traefik."""
        return await self.ask(
            f"hub/api/{path}", method=method, **{"Authorization": f"token {_TOKEN}", "Content-Length": "0"}
        )

    async def is_up(self) -> bool:
        """Whether it is reached through Traefik, and not another one."""
        return f"This is the Hub {self.name}" in (await self.ask("hub/login")).body.decode()

    async def start_server(self, user: str) -> None:
        """Start the server of a user, and wait until it is ready."""
        assert (await self.api(f"users/{user}", method="POST")).status == 201
        assert (await self.api(f"users/{user}/server", method="POST")).status in {201, 202}

        async def ready() -> bool:
            model: Any = json.loads((await self.api(f"users/{user}")).body)
            return bool(model["servers"].get("", {}).get("ready"))

        await eventually(ready, within=30, what=f"the server of {user}")

    async def hub_of_server(self, user: str) -> int | None:
        """Return the port of the Hub that has started the server which answers for a user; None if there is none."""
        answer = await self.ask(f"user/{user}/env")
        if answer.status != 200:
            return None
        url: str = json.loads(answer.body)["JUPYTERHUB_API_URL"]
        return int(url.split(":")[2].partition("/")[0])


@pytest.mark.timeout(240)
async def test_three_hubs_have_users_of_the_same_name_on_one_traefik(tmp_path: Path) -> None:
    """One at /, one at /h2/, and one with a host of its own; each user gets the server of their own Hub."""
    watched = tmp_path / "watched"
    watched.mkdir()
    async with (
        ForeignTraefik(tmp_path, provider={"directory": str(watched)}) as traefik,
        contextlib.AsyncExitStack() as up,
    ):
        hubs = [
            RealHub(name, base_url, hosts, traefik.url, tmp_path / name, watched)
            for name, base_url, hosts in [
                ("root", "/", ()),
                ("below", "/h2/", ()),
                ("named", "/", ("hub.example.org",)),
            ]
        ]
        for hub in hubs:
            await up.enter_async_context(hub.running())
        for hub in hubs:
            await eventually(hub.is_up, within=60, what=f"{hub.name} being up")

        await asyncio.gather(*(hub.start_server("ada") for hub in hubs))
        assert [await hub.hub_of_server("ada") for hub in hubs] == [hub.port for hub in hubs]

        root, below, named = hubs
        assert (await below.api("users/ada/server", method="DELETE")).status in {202, 204}

        async def stopped() -> bool:
            return await below.hub_of_server("ada") is None

        await eventually(stopped, within=20)
        assert (await below.ask("user/ada/env")).headers["location"] == "/h2/hub/user/ada/env"
        assert [await hub.hub_of_server("ada") for hub in (root, named)] == [root.port, named.port]
        assert traefik.complaints == []
