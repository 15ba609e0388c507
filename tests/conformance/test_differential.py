"""conformance.differential: differences are found and reduced, and known ones are passed over."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys

import pytest
from support.chp import CHP_COMMAND
from support.small_proxy import SmallSubject

from traefik_toml_proxy.conformance.differential import AMBIGUOUS_PATHS, KnownDifference, find_difference

# In a process of its own: JupyterHub's class for configurable-http-proxy blocks the event loop, which fails a test here.
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
async def test_a_difference_is_found_and_reduced() -> None:
    """If no differences are known, one on an ambiguous path is found. Ours has no others: see test_command.py."""
    traefik = [os.environ["TEST_TRAEFIK"]] if "TEST_TRAEFIK" in os.environ else []
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _SEARCH, json.dumps([traefik, CHP_COMMAND])), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    [line] = [line for line in out.decode().splitlines() if line.startswith("found ")]
    table, path, here, there = json.loads(line.removeprefix("found "))

    assert here != there
    assert [known.reason for known in AMBIGUOUS_PATHS if known.path.search(path)] != []
    assert len(table) <= 2


@pytest.mark.parametrize(("known", "found"), [("/services/", "/user/"), ("/user/", "/services/")])
def test_known_differences_are_an_argument(known: str, found: str) -> None:
    """A proxy that differs for both users and services: if one is known, the other is found."""
    faulty, correct = SmallSubject("routing.whole-segments"), SmallSubject()
    passed_over = KnownDifference(re.compile(f"^{known}"), "known for this test")

    # Older versions of hypothesis need some hundred examples to find one; the search ends then.
    difference = find_difference(faulty, correct, examples=10_000, known=[passed_over])

    assert difference is not None
    assert difference.path.startswith(found)


def test_proxies_without_a_difference_have_none() -> None:
    assert find_difference(SmallSubject(), SmallSubject(), examples=50, known=[]) is None
