"""A Hub that ends without stopping its proxy: what it has started ends with it, unless it is to stay."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest
from support.processes import alive
from support.waiting import eventually

_HUB = """
import asyncio, json, logging, sys
from types import SimpleNamespace
from traefik_toml_proxy import TraefikTomlProxy

async def main(cleanup_proxy, traits):
    app = SimpleNamespace(cleanup_proxy=cleanup_proxy, internal_ssl=False, subdomain_host="")
    proxy = TraefikTomlProxy(app=app, log=logging.getLogger("hub"), **traits)
    await proxy.start()
    print(proxy._process.pid, flush=True)
    sys.exit(1)

asyncio.run(main(*json.loads(sys.argv[1])))
"""


async def _pid_after_a_failed_start(cleanup_proxy: bool, tmp_path: Path, free_port: int) -> int:
    """Let a Hub start a proxy and fail then, as it does where its own port is taken; return Traefik's number."""
    traits = {
        "public_url": f"http://127.0.0.1:{free_port}",
        "state_dir": str(tmp_path / "state"),
        "traefik_env": {"TTP_TEST": str(os.getpid())},
        "traefik_command": [os.environ["TEST_TRAEFIK"]] if "TEST_TRAEFIK" in os.environ else [],
    }
    hub = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _HUB, json.dumps([cleanup_proxy, traits])), stdout=asyncio.subprocess.PIPE
    )
    said, _ = await hub.communicate()
    assert hub.returncode == 1
    return int(said)


async def test_a_traefik_that_was_just_started_ends_with_the_hub(tmp_path: Path, free_port: int) -> None:
    """JupyterHub does not call stop() when its own port is taken; nobody would know of the process."""
    pid = await _pid_after_a_failed_start(True, tmp_path, free_port)

    await eventually(lambda: not alive(pid))


@pytest.mark.usefixtures("nothing_is_left")
async def test_it_stays_where_cleanup_proxy_is_off(tmp_path: Path, free_port: int) -> None:
    """That is how an admin says that the proxy outlives the Hub."""
    pid = await _pid_after_a_failed_start(False, tmp_path, free_port)

    assert alive(pid)
    os.kill(pid, 15)
    await eventually(lambda: not alive(pid))
