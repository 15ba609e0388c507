"""What goes on inside a started proxy, as seen from outside: in the files in its state folder, and at its entry point.

Tests read it here and nowhere else, so they do not depend on the proxy's private attributes.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from traefik_toml_proxy import TraefikTomlProxy

from .backend import get


def traefik_pid(where: TraefikTomlProxy | Path) -> int:
    """Return the process id in the record of the Traefik that was started or taken over last.

    Args:
        where: The proxy, or its state folder.
    """
    folder = where if isinstance(where, Path) else Path(where.state_dir)
    pid: int = json.loads((folder / "traefik-process.json").read_text())["identity"]["pid"]
    return pid


def revision_path(proxy: TraefikTomlProxy) -> str:
    """Return the secret path that answers with the live revision; read from the routes file in the state folder."""
    rule = re.search(
        r'rule = "Path\(\\"(/[0-9a-f]+/revision)\\"\)"', (Path(proxy.state_dir) / "dynamic.toml").read_text()
    )
    assert rule, "the file has no revision route"
    return rule[1]


async def live_revision(proxy: TraefikTomlProxy) -> int:
    """Return the revision that Traefik serves now."""
    answer = await get(proxy.public_url, revision_path(proxy))
    return int(answer.headers["x-jupyterhub-routes-revision"])
