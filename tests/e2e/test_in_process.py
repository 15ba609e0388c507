"""examples/in-process: a real Hub with nothing but Python packages, with real servers of users and real requests."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path

import pytest
from e2e.conftest import running
from e2e.person import Person
from e2e.quickstart import Quickstart
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


async def test_the_quickstart_runs_without_traefik(tmp_path: Path) -> None:
    """A user logs in, gets a JupyterLab, and runs code in a kernel, over a websocket."""
    quickstart = Quickstart(tmp_path, "--JupyterHub.proxy_class=in-process")
    with running(quickstart):
        async with contextlib.aclosing(Person(quickstart.url, "o'neil@example.org")) as person:
            await person.log_in()
            url = await person.wait_for_server()
            assert (await person.open(url)).code == 200
            kernel = await person.start_kernel()
            assert await person.run(kernel, "print('six times seven is', 6 * 7)") == "six times seven is 42\n"
            status = await person.call("GET", f"{person.server}/api/status")
            assert json.loads(status.body)["kernels"] == 1
            await person.stop_server()
        assert not any("traefik" in line.partition(" ")[0] for line in quickstart.processes().values())


async def _are_reached(hub: RealHub, servers: dict[str, int]) -> bool:
    found = await asyncio.gather(*(hub.server_of(name) for name in servers))
    return found == list(servers.values())
