"""A real JupyterHub, started with the quickstart example as a user would, on ports of its own."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import requests

from .waiting import PATIENCE

CONFIG = Path(__file__).parents[2] / "examples" / "quickstart" / "jupyterhub_config.py"
MARK = "TTP_E2E"


@dataclass(frozen=True)
class RunningHub:
    """A Hub that answers at ``url``."""

    url: str
    process: subprocess.Popen[bytes]
    output: Path


def free_ports(count: int) -> list[int]:
    """Return ports on loopback that nobody listens on now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def marked_processes(mark: str) -> list[str]:
    """Return the command lines of all processes that have ``mark`` in their environment, and still run."""
    found = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if folder.name.isdigit() and f"{MARK}={mark}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                found.append(folder.name + " " + (folder / "cmdline").read_text().replace("\0", " "))
    return found


def wait_until_it_answers(hub: RunningHub) -> None:
    """Return when the Hub's login page comes through the proxy.

    Raises:
        AssertionError: If the Hub ends, or does not answer in time.
    """
    deadline = time.monotonic() + 60 * PATIENCE
    while True:
        with contextlib.suppress(requests.ConnectionError):
            if requests.get(f"{hub.url}/hub/login", timeout=10).ok:
                return
        assert hub.process.poll() is None, hub.output.read_text()
        assert time.monotonic() < deadline, hub.output.read_text()
        time.sleep(0.05)


@contextlib.contextmanager
def running_hub(folder: Path) -> Iterator[RunningHub]:
    """The quickstart example, running; afterwards it has ended, left nothing running and told of no error.

    Args:
        folder: Where all its state goes; made as its current folder, too.
    """
    public, private = free_ports(2)
    mark = str(folder)
    output = folder / "hub.log"
    environment = os.environ | {
        "XDG_STATE_HOME": str(folder / "state"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "PYTHONWARNINGS": "default",
        MARK: mark,
    }
    with output.open("wb") as log:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "jupyterhub",
                f"--config={CONFIG}",
                f"--JupyterHub.bind_url=http://127.0.0.1:{public}",
                f"--JupyterHub.hub_port={private}",
                f"--TraefikProxy.traefik_env={{'{MARK}': '{mark}'}}",
                f"--Spawner.environment={{'{MARK}': '{mark}'}}",
            ],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    running = RunningHub(f"http://127.0.0.1:{public}", process, output)
    try:
        wait_until_it_answers(running)
        yield running
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(10)
            said = output.read_text()
            print(said)  # pytest shows it when the test has failed
    deadline = time.monotonic() + 10 * PATIENCE
    while (left := marked_processes(mark)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not left
    assert not re.findall(r"^(?:\[[EC] (?!.*initiating shutdown).*|Traceback.*)$", said, re.MULTILINE), said
