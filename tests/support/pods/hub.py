"""The Hub of Zero to JupyterHub as a pod: a real JupyterHub with what the chart and the values of the example give it."""

from __future__ import annotations

import contextlib
import json
import os
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import yaml

from support.charts import EXAMPLES
from support.hub import RealHub
from support.waiting import PATIENCE

from .cluster import PATH, Cluster, Pod

# The programs of the Hub's image: those beside this Python, or in the folder TEST_HUB, where this package is installed with
# another JupyterHub.
_PROGRAMS = Path(os.environ.get("TEST_HUB") or Path(sys.executable).parent)
_PYTHON = str(_PROGRAMS / "python3")
# As in the Deployment of the Hub that Zero to JupyterHub renders.
_SECURITY = {"fsGroup": 1000, "runAsUser": 1000, "runAsGroup": 1000}
# What its jupyterhub_config.py does with that folder.
_FROM_THE_CHART = """
import glob
for path in sorted(glob.glob("/usr/local/etc/jupyterhub/jupyterhub_config.d/*.py")):
    load_subconfig(path)
"""
# And where the Hub listens.
_CONFIG = """
c.JupyterHub.hub_bind_url = "http://:8081"
c.JupyterHub.hub_connect_url = "http://hub:8081"
c.JupyterHub.cleanup_servers = False
c.JupyterHub.db_url = "sqlite:///hub.sqlite"
"""
# Users' servers are in the pod of the Hub. One of them is a real one.
_SERVERS = """
c.Spawner.cmd = [{python!r}, "-m", "support.user_server"]
c.Spawner.ip = {address!r}
c.Spawner.start_timeout = c.Spawner.http_timeout = {patience}
async def choose(spawner):
    if spawner.user.name == "grace":
        spawner.cmd = [{singleuser!r}]
        spawner.args = ["--ServerApp.allow_remote_access=True"]
c.Spawner.pre_spawn_hook = choose
"""


async def check_version(hub: RealHub) -> None:
    """Fail if a Hub says that it is of another version than is installed with its programs."""
    answer = await hub.api("")
    assert json.loads(answer.body) == {"version": _installed_version()}, answer


def _installed_version() -> str:
    ask = "import importlib.metadata; print(importlib.metadata.version('jupyterhub'))"
    return subprocess.run([_PYTHON, "-c", ask], capture_output=True, text=True, check=True).stdout.strip()


def example_values() -> dict[str, Any]:
    """Return the values of examples/zero-to-jupyterhub."""
    found: dict[str, Any] = yaml.safe_load(EXAMPLES.joinpath("zero-to-jupyterhub/values.yaml").read_text("utf-8"))
    return found


class HubPod:
    """The pod, and the Hub in it.

    Attributes:
        hub: What starts and asks it.
    """

    def __init__(self, cluster: Cluster, url: str, tls: ssl.SSLContext | None = None) -> None:
        """Start nothing yet.

        Args:
            cluster: Where it runs.
            url: The URL of the Service for users.
            tls: Whom to trust there, if it is https.
        """
        given = example_values()["jupyterhub"]["hub"]
        self._cluster = cluster
        self._url = url
        self._tls = tls
        self._home = cluster.folder / "hub/volumes/home"
        template = {
            "metadata": {"labels": {}},
            "spec": {
                "securityContext": _SECURITY,
                "volumes": [*given["extraVolumes"], {"name": "home", "emptyDir": {}}],
                "containers": [
                    {
                        "name": "hub",
                        "command": [_PYTHON, "-m", "jupyterhub", "-f", str(self._home / "for_tests.py")],
                        "env": [{"name": "PATH", "value": f"{_PROGRAMS}:{PATH}"}],
                        "volumeMounts": [*given["extraVolumeMounts"], {"name": "home", "mountPath": str(self._home)}],
                    }
                ],
            },
        }
        self.pod = Pod(cluster, "hub", template)
        cluster.pods["hub"] = self.pod
        cluster.names["hub"] = self.pod.address
        self.hub: RealHub

    @contextlib.asynccontextmanager
    async def running(self, config: str = "", *, lives_on: bool = False) -> AsyncIterator[RealHub]:
        """Run the Hub during the block.

        Args:
            config: Its configuration, in place of what the chart gives it.
            lives_on: Whether its users' servers go on when it ends, as they do where they have pods of their own.
        """
        await self.pod.prepare()
        self.configure(config)
        command = self.pod.command(folder=str(self._home), inherits=True, lives_on=lives_on)
        singleuser = str(_PROGRAMS / "jupyterhub-singleuser")
        more = _SERVERS.format(address=self.pod.address, patience=30 * PATIENCE, python=_PYTHON, singleuser=singleuser)
        file = self._home / "jupyterhub_config.py"
        self.hub = RealHub(self._home, file, self._url, more=more, command=command, tls=self._tls)
        async with self.hub.kept() as hub:
            await hub.start()
            yield hub

    def configure(self, config: str = "") -> None:
        """Set the configuration for the next start; that which the chart gives it, if there is none."""
        self._home.joinpath("jupyterhub_config.py").write_text(_CONFIG + (config or _FROM_THE_CHART))
