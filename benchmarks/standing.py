"""A spawner whose servers run already, and a Hub's database with many of them. I/O: a process that writes the database.

The Hub of the part ``restart`` has many users with running servers. A small machine could not run so many, so they all share
one server, which is started elsewhere.
"""

from __future__ import annotations

import asyncio
import datetime
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from jupyterhub import orm
from jupyterhub.spawner import Spawner

from .interpreter import this_interpreter
from .workload import existing_routespec


class StandingSpawner(Spawner):
    """Reports that its server is running until that is stopped."""

    def load_state(self, state: dict[str, Any]) -> None:
        """Read whether it is running."""
        super().load_state(state)
        self.is_running = bool(state.get("is_running"))

    def get_state(self) -> dict[str, Any]:
        """Return whether it is running."""
        return {**super().get_state(), "is_running": self.is_running}

    async def start(self) -> str:
        """Refuse to start a server.

        Raises:
            RuntimeError: Always.
        """
        raise RuntimeError("the servers of this Hub run already")

    async def poll(self) -> int | None:
        """Return None while it is running (jupyterhub/spawner.py)."""
        return None if self.is_running else 0

    async def stop(self, now: bool = False) -> None:  # noqa: ARG002 - stopping is immediate anyway
        """Record that it is not running."""
        self.is_running = False


async def write_database(file: Path, users: int, target: str) -> None:
    """Write a Hub's database, in a process of its own, since JupyterHub changes the logging of its process.

    Args:
        file: The file to create.
        users: How many users it has. Their routes are those of :func:`benchmarks.workload.existing_routespec`.
        target: The URL of the server that they all share.

    Raises:
        RuntimeError: If that fails.
    """
    python = this_interpreter()
    process = await asyncio.create_subprocess_exec(
        python.executable,
        "-m",
        "benchmarks.standing",
        str(file),
        str(users),
        target,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=python.import_folder,
        env=python.environment(),
    )
    output, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"the Hub's database could not be written:\n{output.decode()[-1500:]}")


def _write(file: Path, users: int, target: str) -> None:
    """Write a database with users who each have a running server."""
    at = urlsplit(target)
    session = orm.new_session_factory(f"sqlite:///{file}")()
    now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)  # as the Hub writes it
    for number in range(users):
        base_url = existing_routespec(number)
        user = orm.User(name=base_url.strip("/").rpartition("/")[2])
        server = orm.Server(proto=at.scheme, ip=at.hostname, port=at.port, base_url=base_url)
        spawner = orm.Spawner(
            name="", user=user, server=server, state={"is_running": True}, started=now, last_activity=now
        )
        session.add_all([user, server, spawner])
    session.commit()
    session.close()


if __name__ == "__main__":
    _write(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
