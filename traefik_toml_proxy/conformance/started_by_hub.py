"""A proxy class that JupyterHub can start: declaring it is enough to test it. Does I/O: starts and kills processes."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from jupyterhub.proxy import Proxy

from .case import NotOffered
from .hub import make_internal_certificates, make_proxy
from .processes import MARK, descendants, kill_all, own_processes, start_time
from .setting import Setting
from .subject import Subject

_SECONDS_FOR_FIRST_HUB = 60.0
_SECONDS_TO_STOP = 60.0


@dataclass
class StartedByHub(Subject):
    """A proxy class, made and started as JupyterHub does it (jupyterhub/app.py:3868-3879).

    Attributes:
        proxy_class: ``module:Class``.
        config: Traits by class name, as in jupyterhub_config.py. The placeholders of :meth:`Setting.fill` are replaced.
        name: What it is called in the results; by default, the name of the class.
        version: Its version.
        command: A program to start first, for a proxy with ``should_start = False``; placeholders are replaced. Its standard
            input ends when this process does, however that ends; a program that starts others should end them then.
        environment: Environment variables for this process and the program while the proxy is up.
    """

    proxy_class: str
    config: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    name: str = ""
    version: str = ""
    command: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.name = self.name or self.proxy_class.partition(":")[2]
        self._proxy: Proxy | None = None
        # What ran before the proxy was started.
        self._before: set[int] = set()
        # What a killed Hub has left behind: the id of each process, with its start time.
        self._left_behind: dict[int, str] = {}
        self._program: subprocess.Popen[bytes] | None = None
        # The working directory and the environment variables to restore.
        self._surroundings = contextlib.ExitStack()
        self._has_entered = False

    async def start(self, setting: Setting) -> Proxy:
        """Start the program, if there is one, and the proxy."""
        if self.command and (setting.options.tls or setting.options.internal_ssl):
            raise NotOffered("a proxy that runs outside of the Hub is given its certificates there")
        self._before = self._before or await asyncio.to_thread(own_processes)
        self._enter(setting)
        if self.command and self._program is None:
            await asyncio.to_thread(self._start_program, setting)
        certificates = make_internal_certificates(setting) if setting.options.internal_ssl else {}
        self._proxy = make_proxy(self.proxy_class, setting, setting.fill(self.config), certificates)
        if self._proxy.should_start:
            try:
                await _result_of(self._proxy.start())
            except Exception as error:
                if setting.options.internal_ssl and "internal_ssl" in str(error):
                    raise NotOffered(str(error)) from error
                raise
        await self._proxy.get_all_routes()
        return self._proxy

    def _enter(self, setting: Setting) -> None:
        """Change to the proxy's own folder and environment: a proxy keeps its files where the Hub runs."""
        if self._has_entered:
            return
        self._has_entered = True
        self._surroundings.callback(os.chdir, Path.cwd())
        os.chdir(setting.folder)
        variables = {MARK: str(os.getpid()), **setting.fill(self.environment)}
        for name, value in variables.items():
            self._surroundings.callback(_set_variable, name, os.environ.get(name))
            _set_variable(name, value)

    def _start_program(self, setting: Setting) -> None:
        with (Path(setting.folder) / "program.log").open("wb") as log:
            self._program = subprocess.Popen(
                setting.fill(list(self.command)),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def stop(self) -> None:
        """Stop the proxy and the program, and kill what they leave running."""
        proxy, self._proxy = self._proxy, None
        try:
            if proxy is not None:
                # For should_start = False, too: JupyterHub would just exit, but this process goes on without the proxy.
                stopping = asyncio.ensure_future(_result_of(proxy.stop()))
                await asyncio.wait([stopping], timeout=_SECONDS_TO_STOP)
                if stopping.done() and stopping.exception():
                    # A failure here fails no case: "lifecycle.stop" tests stop().
                    proxy.log.warning("stop() has failed: %r", stopping.exception())
        finally:
            await asyncio.to_thread(self._clean_up)

    def _clean_up(self) -> None:
        program, self._program = self._program, None
        if program is not None:
            # What it has started may be in sessions of their own, and without our mark.
            self._left_behind |= {pid: start_time(pid) for pid in descendants(program.pid)}
            with program:
                os.killpg(program.pid, signal.SIGKILL)
        still_there = {pid for pid, started in self._left_behind.items() if start_time(pid) == started}
        kill_all(own_processes() - self._before | still_there)
        self._before, self._left_behind = set(), {}
        self._surroundings.close()
        self._has_entered = False

    def processes(self) -> list[int]:
        """Return the ids of the processes that were started since the proxy was."""
        return sorted(own_processes() - self._before)

    async def kill(self) -> None:
        """Kill the processes that the Hub has started; a program that was started outside is not the Hub's to restart."""
        started = await asyncio.to_thread(self.processes)
        if self._program is not None or not started:
            raise NotOffered("the proxy is restarted by whoever started it, not by the Hub")
        for pid in started:
            os.kill(pid, signal.SIGKILL)

    async def leave_behind(self, setting: Setting, routes: Mapping[str, str]) -> None:
        """Start the proxy in the process of another Hub, and kill that."""
        self._before = await asyncio.to_thread(own_processes)
        self._enter(setting)
        if self.command:
            await asyncio.to_thread(self._start_program, setting)
        task = json.dumps([self.proxy_class, asdict(setting), setting.fill(self.config), dict(routes)])
        self._left_behind = await asyncio.to_thread(_run_first_hub, setting, task)


def _run_first_hub(setting: Setting, task: str) -> dict[int, str]:
    """Run a Hub until it is ready, and kill it.

    Returns:
        The processes that it leaves behind, each with its start time.
    """
    # Not a pipe: the proxy inherits the output, and would keep the pipe open.
    log_file, ready = Path(setting.folder) / "first-hub.log", Path(setting.folder) / "first-hub.ready"
    command = [sys.executable, "-m", f"{__package__}.first_hub", task, str(ready)]
    # The proxy class may be in a folder that only this process has on its path.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(str(Path(folder).absolute()) for folder in sys.path)}
    with log_file.open("wb") as log:
        hub = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
    end = time.monotonic() + _SECONDS_FOR_FIRST_HUB
    while not ready.exists() and hub.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    # Found as descendants, not by our mark: a proxy may give its processes an environment of their own.
    left = {pid: start_time(pid) for pid in descendants(hub.pid)}
    hub.kill()
    hub.wait()
    if not ready.exists():
        last = log_file.read_text(errors="replace").strip().splitlines()[-1:]
        raise RuntimeError(f"the first Hub could not start the proxy: {' '.join(last)}")
    return left


def _set_variable(name: str, value: str | None) -> None:
    """Set an environment variable, or unset it for None."""
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value


async def _result_of(value: Any) -> Any:
    """Return a value, or what it resolves to if it can be awaited."""
    return await value if inspect.isawaitable(value) else value
