"""The real jupyterhub-idle-culler stops servers that nobody uses, and no others; the servers report nothing themselves."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from support import pinging_server
from support.backend import get
from support.ports import free_ports
from support.processes import MARK
from support.traefik import TRAEFIK_COMMAND
from support.waiting import PATIENCE, eventually, meanwhile
from tornado.websocket import WebSocketClientConnection, websocket_connect

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="sock_diag is a part of Linux"),
]

# Servers that were not used for this many seconds are stopped.
_TIMEOUT = int(5 * PATIENCE)
_TOKEN = "throw-away-token"

# Everything happens sixty times as often as it does by default.
_CONFIG = """
import sys
from traefik_toml_proxy import TraefikTomlProxy

class OftenSampling(TraefikTomlProxy):
    activity_interval = 0.5

c.JupyterHub.proxy_class = OftenSampling
c.JupyterHub.bind_url = {url!r}
c.JupyterHub.hub_port = {hub_port}
c.JupyterHub.db_url = "sqlite:///:memory:"
c.JupyterHub.last_activity_interval = 1
c.TraefikProxy.traefik_env = {mark!r}
c.TraefikProxy.traefik_command = {traefik!r}
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.spawner_class = "simple"
c.Spawner.cmd = [sys.executable, "-m", "support.pinging_server"]
c.Spawner.environment = {environment!r}
c.JupyterHub.services = [
    {{"name": "test", "api_token": {token!r}}},
    {{
        "name": "culler",
        "command": [sys.executable, "-m", "jupyterhub_idle_culler", "--timeout={timeout}", "--cull-every=1"],
    }},
]
c.JupyterHub.load_roles = [
    {{"name": "test", "scopes": ["admin:users", "admin:servers"], "services": ["test"]}},
    {{
        "name": "culler",
        "scopes": ["list:users", "read:users:activity", "read:servers", "delete:servers"],
        "services": ["culler"],
    }},
]
"""


class Hub:
    """A Hub in a process of its own."""

    def __init__(self, url: str) -> None:
        self.url = url

    async def api(self, path: str, method: str = "GET") -> Any:
        """Call the Hub's API; returns the answer, or its status if that has no JSON."""
        headers = {"Authorization": f"token {_TOKEN}", "Content-Length": "0"}
        answer = await get(self.url, f"/hub/api/{path}", method=method, headers=headers)
        return json.loads(answer.body) if answer.body else answer.status

    async def serves(self) -> bool:
        """Whether its API answers."""
        with contextlib.suppress(OSError, ValueError):
            return "version" in await self.api("")
        return False

    async def start_server(self, name: str) -> None:
        """Create a user, and start their server."""
        await self.api(f"users/{name}", "POST")
        await self.api(f"users/{name}/server", "POST")

        async def ready() -> bool:
            return name in await self.running()

        await eventually(ready, within=60)

    async def running(self) -> set[str]:
        """Return the names of the users whose servers are running."""
        return {user["name"] for user in await self.api("users") if user["servers"].get("", {}).get("ready")}

    async def websocket(self, name: str) -> WebSocketClientConnection:
        """Open a websocket to a user's server."""
        return await websocket_connect(f"{self.url.replace('http', 'ws', 1)}/user/{name}/ws")


@pytest_asyncio.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Hub]:
    """A running Hub, with the idle culler as a service."""
    port, hub_port = free_ports(2)
    hub = Hub(f"http://127.0.0.1:{port}")
    config = tmp_path / "jupyterhub_config.py"
    tests = str(Path(pinging_server.__file__).parents[1])
    config.write_text(
        _CONFIG.format(
            url=hub.url,
            hub_port=hub_port,
            mark=MARK,
            traefik=TRAEFIK_COMMAND,
            environment=MARK | {"PYTHONPATH": tests},
            token=_TOKEN,
            timeout=_TIMEOUT,
        )
    )
    with (tmp_path / "output.txt").open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "jupyterhub", "-f", str(config)),
            cwd=tmp_path,
            env=os.environ | MARK | {"HOME": str(tmp_path)},
            stdout=output,
            stderr=output,
        )
    try:
        await eventually(hub.serves, within=60)
        yield hub
    finally:
        process.terminate()
        await asyncio.wait_for(process.wait(), 30 * PATIENCE)
        print((tmp_path / "output.txt").read_text())


async def test_only_servers_that_nobody_uses_are_stopped(hub: Hub) -> None:
    """Those with an idle websocket, or one with nothing but pongs; but not with a busy one, or one that is polled."""
    await asyncio.gather(*(hub.start_server(name) for name in ("idle", "pinged", "busy", "polled")))
    sockets = {name: await hub.websocket(name) for name in ("idle", "pinged", "busy")}

    async def type_something() -> None:
        while True:
            await sockets["busy"].write_message("x")
            assert await sockets["busy"].read_message() == "x"
            await asyncio.sleep(0.5)

    async def poll() -> None:
        while True:
            assert (await get(hub.url, "/user/polled/")).status == 200
            await asyncio.sleep(0.5)

    async def only_busy() -> bool:
        return await hub.running() == {"busy", "polled"}

    async with meanwhile(type_something(), poll()):
        await eventually(only_busy, within=90)
        # They outlast the others by more than it takes to be stopped.
        await asyncio.sleep(2 * _TIMEOUT)
        assert await hub.running() == {"busy", "polled"}
    await eventually(lambda: _none(hub), within=60)
    for socket in sockets.values():
        socket.close()


async def _none(hub: Hub) -> bool:
    return await hub.running() == set()
