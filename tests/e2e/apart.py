"""A proxy in a process of its own that outlives its Hub: the settings for it, its process, and its end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from pathlib import Path

from support.processes import alive
from support.waiting import eventually

PROXY_STAYS = """
c.InProcessProxy.where = "process"
c.JupyterHub.cleanup_servers = False
c.JupyterHub.cleanup_proxy = False
"""


def proxy_of(folder: Path) -> int:
    """Return the process of the proxy, by its record.

    Args:
        folder: The working directory of the Hub.
    """
    record = json.loads((folder / "jupyterhub-in-process" / "in-process.json").read_text())
    return int(record["identity"]["pid"])


async def end_proxy(folder: Path) -> None:
    """End the process of the proxy, which no Hub ends."""
    process = proxy_of(folder)
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGTERM)
    await eventually(lambda: not alive(process))
