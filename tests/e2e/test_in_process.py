"""examples/in-process: a real Hub with nothing but Python packages, with real servers of users and real requests."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from support.examples import install
from support.hub import RealHub
from support.ports import free_port
from support.waiting import eventually

pytestmark = pytest.mark.timeout(180)


async def test_a_hub_needs_no_other_process(tmp_path: Path) -> None:
    """Users' servers are started, reached and stopped, and are still there after a restart and a crash of the Hub."""
    url = f"http://127.0.0.1:{free_port()}"
    config = install("in-process/jupyterhub_config.py", tmp_path / "config.py", changes={"http://127.0.0.1:8000": url})
    async with RealHub(tmp_path, config, url, more="c.JupyterHub.cleanup_servers = False\n") as hub:
        names = ["ada", "it's {{a}}@`\"\\", "名前"]
        servers = {name: await hub.start_server(name) for name in names}
        assert (await hub.ask("hub/login")).status == 200

        await hub.stop()
        await hub.start()
        await eventually(lambda: _are_reached(hub, servers), within=30)
        await hub.kill_alone()
        await hub.start()
        await eventually(lambda: _are_reached(hub, servers), within=30)

        assert (await hub.api("users/ada/server", method="DELETE")).status in {202, 204}
        page = await hub.ask("user/ada/x", headers={"Accept": "text/html"})
        assert page.status in {424, 503, 302}
        assert await hub.server_of(names[1]) == servers[names[1]]
    assert [line for line in hub.warnings if "in-process" in line or "inprocess" in line] == []


async def _are_reached(hub: RealHub, servers: dict[str, int]) -> bool:
    found = await asyncio.gather(*(hub.server_of(name) for name in servers))
    return found == list(servers.values())
