"""An agent in a process of its own, with its Traefik, which can be killed, frozen and started again. I/O: its process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from typing_extensions import Self

from traefik_toml_proxy.conformance.ports import free_ports

from ..waiting import eventually


class AgentProcess:
    """An agent that runs between ``__aenter__`` and ``__aexit__``, and may be started again.

    Attributes:
        name: What it is called in etcd.
        url: Where its Traefik listens.
        health_url: Where the agent does.
        log: The file with what it logs.
        state_dir: Its folder.
        traits: Its settings.
        answers_within: How many seconds it may take to say how it is.
    """

    answers_within = 2.0

    def __init__(
        self,
        folder: Path,
        name: str,
        endpoints: Iterable[str],
        *,
        host: str = "127.0.0.1",
        environment: Mapping[str, str] | None = None,
        **traits: Any,
    ) -> None:
        """Start nothing yet.

        Args:
            folder: Gets the folder with its files, and its log.
            name: What it is called in etcd.
            endpoints: The URLs at which it reaches etcd.
            host: Its address, on loopback.
            environment: Environment variables for it.
            traits: More settings.
        """
        port, health_port = free_ports(2, host)
        self.url = f"http://{host}:{port}"
        self.health_url = f"http://{host}:{health_port}"
        self.name = name
        self.log = folder / f"{name}.log"
        self.state_dir = folder / name
        self.traits: dict[str, Any] = {
            "etcd_endpoints": list(endpoints),
            "replica_name": name,
            "public_url": self.url,
            "health_address": f"{host}:{health_port}",
            "state_dir": str(self.state_dir),
        } | traits
        self._environment = environment or {}
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
                env={**os.environ, **self._environment, **variables},
                start_new_session=True,  # so that Ctrl-C reaches only those who stop it in order
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
            with urllib.request.urlopen(f"{self.health_url}/{path}", timeout=self.answers_within) as response:
                return _read(response.status, response.read())
        except urllib.error.HTTPError as error:
            return _read(error.code, error.read())
        except OSError:
            return None

    async def is_ready(self) -> bool:
        """Whether it says that it is."""
        answer = await asyncio.to_thread(self.health)
        return answer is not None and answer["status"] == 200

    async def wait_until_ready(self, seconds: float = 15) -> None:
        """Return when it says that it is ready.

        Raises:
            TimeoutError: If it does not within that many seconds.
        """
        await eventually(self.is_ready, seconds, f"{self.name} is not ready: {self.log}")

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        if self._process is not None and self._process.returncode is None:
            for pid in (self._process.pid, *self._traefik_pids()):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
            await self.stop()
        if kind is not None and self.log.exists():
            print(f"--- {self.name}\n{self.log.read_text()[-3000:]}")

    def _traefik_pids(self) -> list[int]:
        with contextlib.suppress(OSError, ValueError, KeyError):
            return [self.traefik_pid]
        return []


def _read(status: int, body: bytes) -> dict[str, Any]:
    try:
        answer: dict[str, Any] = json.loads(body)
        return {"status": status} | answer
    except ValueError:
        return {"status": status, "text": body.decode()}


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
