"""When the Hub exits without stopping its proxy, Traefik ends with it, unless it is meant to stay."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from support.inside import traefik_pid
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
    sys.exit(1)

asyncio.run(main(*json.loads(sys.argv[1])))
"""


async def _pid_after_a_failed_start(cleanup_proxy: bool, traits: dict[str, Any]) -> int:
    """Let a Hub start a proxy and then fail, as it does when its own port is taken; return Traefik's process id."""
    hub = await asyncio.create_subprocess_exec(*(sys.executable, "-c", _HUB, json.dumps([cleanup_proxy, traits])))
    assert await hub.wait() == 1
    return traefik_pid(Path(traits["state_dir"]))


async def test_traefik_ends_with_a_hub_that_fails_to_start(traits: dict[str, Any]) -> None:
    """JupyterHub does not call stop() when its own port is taken."""
    pid = await _pid_after_a_failed_start(True, traits)

    await eventually(lambda: not alive(pid))


@pytest.mark.usefixtures("nothing_is_left")
async def test_it_stays_where_cleanup_proxy_is_off(traits: dict[str, Any]) -> None:
    """``cleanup_proxy = False`` says that the proxy outlives the Hub."""
    pid = await _pid_after_a_failed_start(False, traits)

    assert alive(pid)
    os.kill(pid, 15)
    await eventually(lambda: not alive(pid))
