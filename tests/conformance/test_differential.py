"""The search for a difference finds those that are there."""

from __future__ import annotations

import asyncio
import json
import os
import sys

import pytest
from support.chp import CHP_COMMAND

from traefik_toml_proxy.conformance.differential import KNOWN

# In a process of its own: configurable-http-proxy's class blocks the event loop, which tests here may not.
_SEARCH = """
import json, sys
from traefik_toml_proxy.conformance import StartedByHub
from traefik_toml_proxy.conformance.differential import find_difference

def ours(traefik):
    return StartedByHub("traefik_toml_proxy:TraefikTomlProxy", {"TraefikTomlProxy": {"traefik_command": traefik}})

def chp(command):
    traits = {"api_url": "http://127.0.0.1:{port1}", "command": [command], "log_level": "error"}
    return StartedByHub("jupyterhub.proxy:ConfigurableHTTPProxy", {"ConfigurableHTTPProxy": traits})

if __name__ == "__main__":
    traefik, command = json.loads(sys.argv[1])
    found = find_difference(ours(traefik), chp(command), examples=1000, known=())
    print("found", json.dumps([found.table, found.path, found.here, found.there]))
"""


@pytest.mark.skipif(CHP_COMMAND is None, reason="configurable-http-proxy is not installed; see CONTRIBUTING")
async def test_a_difference_is_found_and_made_small() -> None:
    """Those that are known are there to be found; what is left of one is as small as can be."""
    traefik = [os.environ["TEST_TRAEFIK"]] if "TEST_TRAEFIK" in os.environ else []
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _SEARCH, json.dumps([traefik, CHP_COMMAND])), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    [line] = [line for line in out.decode().splitlines() if line.startswith("found ")]
    table, path, here, there = json.loads(line.removeprefix("found "))

    assert here != there
    assert [known.reason for known in KNOWN if known.path.search(path)] != []
    assert len(table) <= 2
