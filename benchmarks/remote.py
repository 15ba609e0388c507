"""The other end of a worker: starts it, sends it commands, and cleans up after it. I/O: processes and their pipes."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .contenders.base import Settings
from .interpreter import Interpreter, this_interpreter
from .processes import Process, descendants, end, is_running
from .waiting import within
from .workload import Addresses

# How many seconds a worker may take for one command.
_PATIENCE = 300


class WorkerFailed(Exception):
    """A worker could not carry out a command; the message has the command, the error and the end of the log."""


class Remote:
    """A worker process.

    Args:
        name: The name of the contender.
        settings: The contender's settings.
        interpreter: The Python that it runs in.
    """

    def __init__(self, name: str, settings: Settings, interpreter: Interpreter) -> None:
        self.name = name
        self.settings = settings
        self.interpreter = interpreter
        folder = Path(settings.folder)
        folder.mkdir(parents=True, exist_ok=True)
        self._log = folder / "worker.log"
        self._process: asyncio.subprocess.Process | None = None
        self._proxies: list[Process] = []

    async def start(self) -> None:
        """Start the process, which then waits for commands."""
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                self.interpreter.executable,
                "-m",
                "benchmarks.worker",
                self.name,
                json.dumps(asdict(self.settings)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                cwd=self.interpreter.import_folder,
                env=self.interpreter.environment(),
                start_new_session=True,  # so that Ctrl-C reaches only this process, which then stops the worker in order
            )

    async def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Send a command, and return the answer.

        Raises:
            WorkerFailed: If it fails or takes too long. The worker has been closed then.
        """
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise WorkerFailed(f"{self.name}: not started")
        process.stdin.write(json.dumps({"do": command, **arguments}).encode() + b"\n")
        try:
            await process.stdin.drain()
            line = await within(_PATIENCE, process.stdout.readline())
        except (asyncio.TimeoutError, ConnectionError) as error:
            await self.close()
            raise WorkerFailed(f"{self.name}: {command}: no answer in {_PATIENCE} s") from error
        answer: dict[str, Any] = json.loads(line) if line else {"error": "the worker ended"}
        if "proxies" in answer:
            self._proxies += [Process(*each) for each in answer.pop("proxies")]
        if "error" in answer:
            tail = self._log.read_text(encoding="utf-8", errors="replace")[-2000:]
            await self.close()
            raise WorkerFailed(f"{self.name}: {command}: {answer['error']}\n{tail}")
        return answer

    async def kill(self) -> None:
        """Send SIGKILL to the worker, and leave its proxy running."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    def inherit(self, other: Remote) -> None:
        """Take responsibility for what another worker has left running."""
        self._proxies += other._proxies

    async def close(self) -> None:
        """Stop the contender, and end whatever still runs. May be called more than once."""
        process, self._process = self._process, None
        if process is not None:
            self._proxies += descendants(process.pid)
            if process.stdin is not None:
                process.stdin.close()
            try:
                await within(30, process.wait())
            except asyncio.TimeoutError:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        for proxy in self._proxies:
            if is_running(proxy):
                await asyncio.to_thread(end, proxy)
        self._proxies = []


class Backend:
    """The servers behind the routes; an asynchronous context manager.

    Args:
        cert_file: A certificate for the HTTPS server.
        key_file: Its key.
    """

    def __init__(self, cert_file: str, key_file: str) -> None:
        self._certificate = (cert_file, key_file)
        self._process: asyncio.subprocess.Process

    async def __aenter__(self) -> Addresses:
        """Start them, and return their addresses."""
        python = this_interpreter()
        self._process = await asyncio.create_subprocess_exec(
            python.executable,
            "-m",
            "benchmarks.backend",
            *self._certificate,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=python.import_folder,
            env=python.environment(),
            start_new_session=True,
        )
        assert self._process.stdout is not None
        line = await within(30, self._process.stdout.readline())
        return Addresses(*json.loads(line))

    async def __aexit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            await within(5, self._process.wait())
        except asyncio.TimeoutError:
            self._process.kill()
            await self._process.wait()
