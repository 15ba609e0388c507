"""Agents in processes of their own, each with its Traefik."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any

from typing_extensions import Self

from traefik_toml_proxy.stores.etcd_settings import EtcdSettings

from .ports import free_ports
from .processes import MARK
from .traefik import TRAEFIK_COMMAND
from .waiting import PATIENCE, eventually

LEASE_SECONDS = round(3 * PATIENCE)


class AgentProcess:
    """An agent that runs between ``__aenter__`` and ``__aexit__``, and may be started again.

    Attributes:
        url: Where its Traefik listens.
        health_url: Where the agent does.
    """

    def __init__(self, folder: Path, name: str, etcd: EtcdSettings, root: str, **traits: Any) -> None:
        """Start nothing yet.

        Args:
            folder: Gets the folder with its files, and its log.
            name: What it is called in etcd.
            etcd: How it reaches etcd.
            root: The root of the keys.
            traits: More settings.
        """
        port, health_port = free_ports(2)
        self.url = f"http://127.0.0.1:{port}"
        self.health_url = f"http://127.0.0.1:{health_port}"
        self.name = name
        self.log = folder / f"{name}.log"
        self.state_dir = folder / name
        self.traits: dict[str, Any] = {
            "etcd_endpoints": list(etcd.endpoints),
            "etcd_root": root,
            "replica_name": name,
            "public_url": self.url,
            "health_address": f"127.0.0.1:{health_port}",
            "state_dir": str(self.state_dir),
            "lease_seconds": LEASE_SECONDS,
            "leave_seconds": 0,
            "traefik_command": TRAEFIK_COMMAND,
            "traefik_env": MARK,
        } | traits
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """The process id of the agent."""
        assert self._process is not None
        return self._process.pid

    @property
    def traefik_pid(self) -> int:
        """The process id of its Traefik."""
        return int(json.loads((self.state_dir / "traefik-process.json").read_text())["identity"]["pid"])

    async def start(self) -> None:
        """Start the process; it may take a second until it is ready."""
        variables = {f"TRAEFIK_AGENT_{name.upper()}": _as_text(value) for name, value in self.traits.items()}
        with self.log.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "traefik_toml_proxy", "agent"),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=os.environ | MARK | variables,
            )

    async def stop(self) -> int:
        """Stop the process in order; return its exit status."""
        return await self.end(signal.SIGTERM)

    async def end(self, number: signal.Signals) -> int:
        """Send a signal, and wait until the process has ended."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.send_signal(number)
        return await self._process.wait()

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        os.kill(self.pid, number)

    def health(self, path: str = "readyz") -> dict[str, Any] | None:
        """Return what it answers, with its status; None if it does not answer."""
        try:
            with urllib.request.urlopen(f"{self.health_url}/{path}", timeout=2) as response:
                return _read(response.status, response.read())
        except urllib.error.HTTPError as error:
            return _read(error.code, error.read())
        except OSError:
            return None

    async def is_ready(self) -> bool:
        """Whether it says that it is."""
        answer = await asyncio.to_thread(self.health)
        return answer is not None and answer["status"] == 200

    async def ready(self, within: float = 15) -> None:
        """Return when it says that it is ready."""
        await eventually(self.is_ready, within=within, what=f"{self.name} is ready: {self.log}")

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGCONT)
            await self.stop()
        if kind is not None and self.log.exists():
            print(f"--- {self.name}\n{self.log.read_text()[-3000:]}")


def _read(status: int, body: bytes) -> dict[str, Any]:
    try:
        answer: dict[str, Any] = json.loads(body)
        return {"status": status} | answer
    except ValueError:
        return {"status": status, "text": body.decode()}


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
