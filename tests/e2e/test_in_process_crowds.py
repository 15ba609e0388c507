"""A thousand slow, silent or broken clients of a real Hub with the in-process proxy: its pages come as usual."""

from __future__ import annotations

import asyncio
import resource
import time
from pathlib import Path

import pytest
from support.crowd import KINDS, crowd
from support.examples import install
from support.hub import RealHub
from support.ports import free_port
from support.processes import descriptors
from support.waiting import PATIENCE, eventually

from traefik_toml_proxy.runtime.listeners import holders

pytestmark = pytest.mark.timeout(300)

COUNT = 1000
# A client and its server take two descriptors of the proxy's process, and some are the Hub's own.
NEEDED = 2 * COUNT + 500
# Connections to the Hub that rest in the proxy, both ends.
_REST = 20
_MOST_MEMORY = COUNT * 100_000


def _used(pids: list[int]) -> tuple[int, int]:
    """Return how many descriptors, and how many bytes of memory, these processes use."""
    pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids)
    return sum(len(descriptors(pid)) for pid in pids), pages * resource.getpagesize()


@pytest.mark.parametrize("where", ["thread", "process"])
async def test_a_thousand_clients_keep_nobody_waiting(tmp_path: Path, where: str) -> None:
    """The Hub's login page comes within a second, and afterwards no descriptor and little memory is left of them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < NEEDED:
        pytest.skip(f"this needs {NEEDED} open files, and {hard} are allowed here (ulimit -Hn)")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    config = install("in-process/jupyterhub_config.py", tmp_path / "config.py", changes={"http://127.0.0.1:8000": url})
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, NEEDED), hard))  # the Hub and the crowd inherit it
    try:
        async with RealHub(tmp_path, config, url, more=f"c.InProcessProxy.where = {where!r}\n") as hub:
            assert (await hub.ask("hub/login")).status == 200
            # The Hub itself, and the process of the proxy if there is one.
            pids = [process.pid for process in await asyncio.to_thread(holders, port)]
            opened, memory = _used(pids)
            for kind in KINDS:
                async with crowd(port, COUNT, kind):
                    for _ in range(5):
                        began = time.monotonic()
                        page = await hub.ask("hub/login")
                        assert time.monotonic() - began < PATIENCE, kind
                        assert page.status == 200, kind
                    assert _used(pids)[1] - memory < _MOST_MEMORY, kind
                await eventually(lambda: _used(pids)[0] <= opened + _REST, what=f"{kind}: as many as before")
            assert hub.warnings == []
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
