"""What a proxy author writes to have a proxy tried: how it is started and stopped. Does I/O: processes, files, ports."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import inspect
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

from jupyterhub.proxy import Proxy
from traitlets.config import Config
from traitlets.config.loader import DeferredConfigList, DeferredConfigString

from .case import NotOffered, Options

_PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Setting:
    """Where a proxy is to run.

    Attributes:
        options: JupyterHub's settings for it.
        public_url: ``JupyterHub.bind_url``; on loopback, with a port that is free.
        folder: An empty folder of its own; the working directory while it is started.
        hub_url: Where the Hub listens, ``http://host:port``.
        ssl_cert: ``JupyterHub.ssl_cert``, or "".
        ssl_key: ``JupyterHub.ssl_key``, or "".
        ports: More free ports, for APIs and the like.
    """

    options: Options
    public_url: str
    folder: str
    hub_url: str
    ssl_cert: str = ""
    ssl_key: str = ""
    ports: tuple[int, ...] = ()

    def fill(self, value: Any) -> Any:
        """Return ``value`` with ``{port}``, ``{port1}``, ``{folder}`` and ``{scheme}`` replaced in all its strings.

        The scheme is that of an API inside: https with internal_ssl.
        """
        if isinstance(value, str):
            words = {"{port}": str(urlsplit(self.public_url).port), "{folder}": self.folder}
            words["{scheme}"] = "https" if self.options.internal_ssl else "http"
            words |= {f"{{port{number}}}": str(port) for number, port in enumerate(self.ports, start=1)}
            for word, replacement in words.items():
                value = value.replace(word, replacement)
            return value
        if isinstance(value, Mapping):
            return {key: self.fill(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.fill(item) for item in value]
        return value


def free_ports(number: int) -> list[int]:
    """Return ports on loopback that nobody listens on now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


class Subject(ABC):
    """A proxy under test."""

    #: What it is called in the results.
    name: str = ""
    #: Its version, and that of what it runs on.
    version: str = ""

    @abstractmethod
    async def start(self, setting: Setting) -> Proxy:
        """Bring up the proxy as JupyterHub does, ready for ``get_all_routes``.

        Raises:
            NotOffered: If it does not offer what ``setting.options`` asks for.
        """

    @abstractmethod
    async def stop(self) -> None:
        """End all that was started."""

    def processes(self) -> list[int]:
        """Return the ids of the processes that the proxy runs in, for measuring their memory."""
        return []

    async def kill(self) -> None:
        """Kill (with SIGKILL) the processes of a proxy that is expected to come back by itself.

        Raises:
            NotOffered: If there is none.
        """
        raise NotOffered("there is no process of its own to be killed")

    async def leave_behind(self, setting: Setting, routes: Mapping[str, str]) -> None:  # noqa: ARG002 - for those who can
        """Have another Hub start the proxy, add ``routes`` (routespec -> target), and be killed with SIGKILL.

        Raises:
            NotOffered: If that cannot be done.
        """
        raise NotOffered("nobody knows how to start it in a process of its own")


def children() -> set[int]:
    """Return the ids of the processes that this one has started and that still run; of a Hub that was killed, too."""
    mark = f"CONFORMANCE_RUN={os.getpid()}".encode()
    found = set()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            with contextlib.suppress(OSError):
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                if fields[0] == "Z":
                    continue
                if int(fields[1]) == os.getpid() or mark in (folder / "environ").read_bytes().split(b"\0"):
                    found.add(int(folder.name))
    return found


@dataclass
class StartedByHub(Subject):
    """A proxy class, made and started as JupyterHub does it (jupyterhub/app.py:3229-3242, 3868-3879).

    Attributes:
        proxy_class: ``module:Class``.
        config: Traits by class name, as in jupyterhub_config.py; ``{port1}`` and the like are filled in.
        name: What it is called in the results.
        version: Its version.
        command: A program that is started first, for a proxy with ``should_start = False``.
        environment: Environment variables for this process and the program, while the proxy is up.
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
        self._before: set[int] = set()
        # What a Hub that was killed has left: each process with the time of its start.
        self._left_behind: dict[int, str] = {}
        self._program: subprocess.Popen[bytes] | None = None
        self._undo: list[Callable[[], object]] = []

    async def start(self, setting: Setting) -> Proxy:
        """Start the program, if there is one, and the proxy."""
        if self.command and (setting.options.tls or setting.options.internal_ssl):
            raise NotOffered("whoever runs the proxy outside of the Hub gives it its certificates, too")
        self._before = self._before or await asyncio.to_thread(children)
        self._enter(setting)
        if self.command and self._program is None:
            await asyncio.to_thread(self._start_program, setting)
        inside = internal_certificates(setting) if setting.options.internal_ssl else {}
        self._proxy = make_proxy(self.proxy_class, setting, setting.fill(self.config), inside)
        if self._proxy.should_start:
            try:
                await _awaited(self._proxy.start())
            except Exception as error:
                if setting.options.internal_ssl and "internal_ssl" in str(error):
                    raise NotOffered(str(error)) from error
                raise
        await self._proxy.get_all_routes()
        return self._proxy

    def _enter(self, setting: Setting) -> None:
        """Be in the proxy's own folder and environment, as it keeps its files where the Hub runs."""
        if self._undo:
            return
        before = Path.cwd()
        os.chdir(setting.folder)
        self._undo.append(lambda: os.chdir(before))
        marked = {"CONFORMANCE_RUN": str(os.getpid()), **setting.fill(self.environment)}
        for name, value in marked.items():
            old = os.environ.get(name)
            os.environ[name] = value
            self._undo.append(lambda name=name, old=old: _put_back(name, old))  # type: ignore[misc]

    def _start_program(self, setting: Setting) -> None:
        with (Path(setting.folder) / "program.log").open("wb") as log:
            self._program = subprocess.Popen(
                setting.fill(list(self.command)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def stop(self) -> None:
        """Stop the proxy and the program, and what they have left."""
        proxy, self._proxy = self._proxy, None
        try:
            if proxy is not None:
                # JupyterHub does not stop one that it has not started, but ends; this process goes on without it.
                stopping = asyncio.ensure_future(_stopped(proxy))
                await asyncio.wait([stopping], timeout=_PATIENCE)
                if stopping.done() and stopping.exception():
                    # A case of its own looks at that.
                    proxy.log.warning("stop() has failed: %r", stopping.exception())
        finally:
            await asyncio.to_thread(self._clean_up)

    def _clean_up(self) -> None:
        if self._program is not None:
            os.killpg(self._program.pid, signal.SIGKILL)
            self._program.wait()
            self._program = None
        still_there = {pid for pid, since in self._left_behind.items() if _started(pid) == since}
        for pid in children() - self._before | still_there:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
        self._before, self._left_behind = set(), {}
        while self._undo:
            self._undo.pop()()

    def processes(self) -> list[int]:
        """Return what was started since the proxy was."""
        return sorted(children() - self._before)

    async def kill(self) -> None:
        """Kill the processes that the Hub has started; what somebody else has started is theirs to start again."""
        started = await asyncio.to_thread(self.processes)
        if self._program is not None or not started:
            raise NotOffered("whoever started the proxy starts it again, not the Hub")
        for pid in started:
            os.kill(pid, signal.SIGKILL)

    async def leave_behind(self, setting: Setting, routes: Mapping[str, str]) -> None:
        """Let a Hub in a process of its own do it."""
        self._before = await asyncio.to_thread(children)
        self._enter(setting)
        if self.command:
            await asyncio.to_thread(self._start_program, setting)
        task = json.dumps([self.proxy_class, asdict(setting), setting.fill(self.config), dict(routes)])
        self._left_behind = await asyncio.to_thread(_run_first_hub, setting, task)


def _run_first_hub(setting: Setting, task: str) -> dict[int, str]:
    """Run a Hub until it says that it is ready, and kill it; return what it leaves, with the time of each one's start."""
    # Its output goes to a file: the proxy inherits it, and would keep a pipe open.
    log_file, ready = Path(setting.folder) / "first-hub.log", Path(setting.folder) / "first-hub.ready"
    command = [sys.executable, "-m", "traefik_toml_proxy.conformance.first_hub", task, str(ready)]
    # The proxy may be in a folder where only this process looks for modules.
    found_here = {**os.environ, "PYTHONPATH": os.pathsep.join(str(Path(folder).absolute()) for folder in sys.path)}
    with log_file.open("wb") as log:
        hub = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=found_here)
    end = time.monotonic() + _PATIENCE
    while not ready.exists() and hub.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    # A proxy that gives its processes an environment of their own takes our mark from them.
    left = {pid: _started(pid) for pid in _children_of(hub.pid)}
    hub.kill()
    hub.wait()
    if not ready.exists():
        last = log_file.read_text(errors="replace").strip().splitlines()[-1:]
        raise RuntimeError(f"the first Hub could not start the proxy: {' '.join(last)}")
    return left


def _children_of(pid: int) -> set[int]:
    """Return the processes that a process has started, and that those have."""
    parents = {
        int(folder.name): _stat(int(folder.name))[1] for folder in Path("/proc").iterdir() if folder.name.isdigit()
    }
    found: set[int] = set()
    waiting = {pid}
    while waiting:
        waiting = {child for child, parent in parents.items() if parent and int(parent) in waiting} - found
        found |= waiting
    return found


def _started(pid: int) -> str:
    """Return when a process was started, in the kernel's own measure; "" if it is not there."""
    return _stat(pid)[19]


def _stat(pid: int) -> list[str]:
    """Return what the kernel tells of a process behind its name (proc(5)): its state, its parent, and so on."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return [""] * 50


def _put_back(name: str, value: str | None) -> None:
    if value is None:
        del os.environ[name]
    else:
        os.environ[name] = value


async def _stopped(proxy: Proxy) -> None:
    await _awaited(proxy.stop())


async def _awaited(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


def make_proxy(
    proxy_class: str,
    setting: Setting,
    config: Mapping[str, Mapping[str, Any]],
    inside: Mapping[str, Any] = MappingProxyType({}),
) -> Proxy:
    """Make a proxy as ``JupyterHub.init_proxy`` does; it is not started.

    Args:
        proxy_class: ``module:Class``.
        setting: Where it is to run.
        config: Traits by class name; texts may be those of a command line, ``False`` for a Bool.
        inside: What JupyterHub knows of certificates with internal_ssl.
    """
    module, _, name = proxy_class.partition(":")
    hub = SimpleNamespace(
        url=f"{setting.hub_url}{setting.options.base_url}hub/",
        host=setting.hub_url,
        base_url=f"{setting.options.base_url}hub/",
        routespec="/" if setting.options.host_routing else setting.options.base_url,
    )
    app = SimpleNamespace(
        internal_ssl=setting.options.internal_ssl,
        subdomain_host="http://hub.example.org" if setting.options.host_routing else "",
        statsd_host="",
        statsd_port=0,
        statsd_prefix="",
        hub=hub,
        users={},
        _service_map={},
        **inside,
    )
    proxy: Proxy = getattr(importlib.import_module(module), name)(
        config=Config(_read_by_traits(config)),
        db_factory=lambda: None,
        public_url=setting.public_url,
        app=app,
        log=logging.getLogger("conformance.hub"),
        hub=hub,
        host_routing=setting.options.host_routing,
        ssl_cert=setting.ssl_cert,
        ssl_key=setting.ssl_key,
    )
    return proxy


def _read_by_traits(value: Any) -> Any:
    """Return config in which each text is for its trait to read, as those of traitlets' own command line are."""
    if isinstance(value, str):
        return DeferredConfigString(value)
    if isinstance(value, Mapping):
        return {key: _read_by_traits(item) for key, item in value.items()}
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return DeferredConfigList(value)
    return value


def internal_certificates(setting: Setting) -> dict[str, Any]:
    """Let JupyterHub itself make what it makes for internal_ssl, on the event loop, as it does when it starts."""
    from jupyterhub.app import JupyterHub

    hub = JupyterHub(internal_ssl=True, internal_certs_location=str(Path(setting.folder) / "internal-ssl"))
    hub.init_internal_ssl()
    return {"internal_proxy_certs": hub.internal_proxy_certs, "internal_trust_bundles": hub.internal_trust_bundles}
