"""What is compared, each behind the same few methods. I/O: starts the proxies, writes their files.

``ours``, ``chp`` and ``jtp`` are driven as JupyterHub drives them, through ``jupyterhub.proxy.Proxy``; ``floor`` is no proxy
but the least that any proxy of our kind has to do, and ``direct`` is none at all. One process holds one contender
(``worker.py``).
"""

from __future__ import annotations

import asyncio
import inspect
import os
import shutil
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

from traefik_toml_proxy.conformance.stage import write_certificate

from .client import Client
from .tables import (
    REVISION_HEADER,
    REVISION_PATH,
    Entry,
    Servers,
    existing_entries,
    floor_dynamic,
    floor_static,
    new_entries,
    revision_router,
)
from .waiting import within

# How many routes are added at once while a table is filled: one iteration of the event loop starts all of them.
_FILL_AT_ONCE = 2_000

# How long anything that is started or changed may take. The slowest contender needs a minute for ten changes.
_PATIENCE = 240


@dataclass(frozen=True)
class Settings:
    """What a contender has to know; plain values, so that they can be handed to another process.

    Attributes:
        folder: An empty folder of its own.
        public_port: For the public entry point on 127.0.0.1.
        api_port: For the proxy's API, if it has one.
        servers: The two servers behind the routes.
        existing: How many routes the table shall hold before anything is measured.
        traefik: The Traefik binary, or "" if there is none.
        chp: The ``configurable-http-proxy`` command, or "".
        cert_file: The certificate if the public entry point is HTTPS, else "".
        key_file: Its key.
        all_answer: Whether all routes lead to servers that answer.
    """

    folder: str
    public_port: int
    api_port: int
    servers: Servers
    existing: int
    traefik: str
    chp: str
    cert_file: str = ""
    key_file: str = ""
    all_answer: bool = False

    @property
    def public_url(self) -> str:
        """JupyterHub's ``bind_url``."""
        return f"{'https' if self.cert_file else 'http'}://127.0.0.1:{self.public_port}"

    def existing_entries(self) -> Iterator[Entry]:
        """Yield the routes that the table shall hold before anything is measured."""
        return existing_entries(self.existing, self.servers, all_answer=self.all_answer)

    @property
    def api_url(self) -> str:
        """Where the API listens."""
        return f"http://127.0.0.1:{self.api_port}"


class Contender(ABC):
    """Something whose changes of routes are timed.

    Attributes:
        is_bare: Whether it has no routes of its own, so that there is nothing to ask for but what it asks itself.
        most_at_once: The most changes that are asked of it at once.
    """

    is_bare: ClassVar[bool] = False
    most_at_once: ClassVar[int] = 1_000_000

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @abstractmethod
    def missing(self) -> str:
        """Return what is not installed, in a few words; "" if nothing is missing."""

    @abstractmethod
    def version(self) -> str:
        """Return its version."""

    @abstractmethod
    def prepare(self) -> None:
        """Do what is neither part of its start nor of what is measured."""

    @abstractmethod
    async def start(self) -> None:
        """Start the proxy and return when it serves."""

    @abstractmethod
    async def fill(self) -> None:
        """Bring the table to its size; need not wait until it is served."""

    @abstractmethod
    async def add(self, entries: Sequence[Entry]) -> None:
        """Add routes, all at once."""

    @abstractmethod
    async def delete(self, routespecs: Sequence[str]) -> None:
        """Delete routes, all at once."""

    @abstractmethod
    async def count(self) -> int:
        """Return how many routes ``get_all_routes`` tells of."""

    @abstractmethod
    async def stop(self) -> None:
        """Stop the proxy."""


class HubContender(Contender):
    """A ``jupyterhub.proxy.Proxy``, driven as the Hub does."""

    proxy: Any

    @abstractmethod
    def make_proxy(self, **common: Any) -> Any:
        """Return the proxy; ``common`` is what every one of them is constructed with."""

    def prepare(self) -> None:
        """Construct the proxy."""
        hub = self.settings.servers.hub
        self.proxy = self.make_proxy(
            public_url=self.settings.public_url,
            hub=SimpleNamespace(url=f"{hub}/hub/", host=hub, base_url="/hub/", routespec="/"),
            app=SimpleNamespace(internal_ssl=False, subdomain_host=""),
            ssl_cert=self.settings.cert_file,
            ssl_key=self.settings.key_file,
        )

    async def start(self) -> None:
        """Call the proxy's ``start``."""
        await within(_PATIENCE, self.proxy.start())

    async def fill(self) -> None:
        """Add the existing routes through the proxy's own interface, many at once."""
        entries = list(self.settings.existing_entries())
        for first in range(0, len(entries), _FILL_AT_ONCE):
            await self.add(entries[first : first + _FILL_AT_ONCE])

    async def add(self, entries: Sequence[Entry]) -> None:
        """Call ``add_route`` for each, all at once."""
        calls = [self.proxy.add_route(*entry) for entry in entries]
        await within(_PATIENCE, asyncio.gather(*calls))

    async def delete(self, routespecs: Sequence[str]) -> None:
        """Call ``delete_route`` for each, all at once."""
        calls = [self.proxy.delete_route(routespec) for routespec in routespecs]
        await within(_PATIENCE, asyncio.gather(*calls))

    async def count(self) -> int:
        """Return the length of what ``get_all_routes`` returns."""
        return len(await within(_PATIENCE, self.proxy.get_all_routes()))

    async def stop(self) -> None:
        """Call the proxy's ``stop``, which may or may not be a coroutine."""
        stopped = self.proxy.stop()
        if inspect.isawaitable(stopped):
            await within(_PATIENCE, stopped)


class Ours(HubContender):
    """This package."""

    def missing(self) -> str:
        """Return why it cannot be imported, or that there is no Traefik."""
        try:
            from traefik_toml_proxy import TraefikTomlProxy  # noqa: F401 - only whether it is there
        except ImportError as error:
            return str(error)
        return "" if self.settings.traefik else "no traefik"

    def version(self) -> str:
        """Return the package's version."""
        from traefik_toml_proxy import __version__

        return __version__

    def make_proxy(self, **common: Any) -> Any:
        """Return one as an admin gets it who sets nothing but the folder and which Traefik."""
        from traefik_toml_proxy import TraefikTomlProxy

        state_dir = str(Path(self.settings.folder) / "state")
        return TraefikTomlProxy(state_dir=state_dir, traefik_command=[self.settings.traefik], **common)

    async def commit_times(self, count: int) -> list[float]:
        """Change the table, render and write it, so many times, without Traefik; return how many ms each took."""
        from traefik_toml_proxy.routes import Change, Route, RouteTable, Snapshot

        self.prepare()
        table = RouteTable(Route.checked(*entry) for entry in self.settings.existing_entries())
        store = self.proxy._make_store(None)  # noqa: SLF001 - the very one that the proxy writes with
        await store.open()
        times = []
        try:
            await store.commit(Snapshot(1, table))
            for number, entry in enumerate(new_entries(0, count, self.settings.servers)):
                begin = time.perf_counter()
                table, _ = table.with_changes([Change(entry.routespec, Route.checked(*entry))])
                await store.commit(Snapshot(number + 2, table))
                times.append((time.perf_counter() - begin) * 1000)
        finally:
            await store.close()
        return times


class Chp(HubContender):
    """JupyterHub's default, configurable-http-proxy, as the Hub starts it."""

    def missing(self) -> str:
        """Return whether there is no command."""
        if not shutil.which("node"):
            return "no node"
        return "" if self.settings.chp else "no configurable-http-proxy"

    def version(self) -> str:
        """Ask the command."""
        return first_line(self.settings.chp, "--version")

    def make_proxy(self, **common: Any) -> Any:
        """Return one with ports and files of its own, else as JupyterHub has it."""
        from jupyterhub.proxy import ConfigurableHTTPProxy

        return ConfigurableHTTPProxy(
            command=[self.settings.chp],
            api_url=self.settings.api_url,
            auth_token=os.urandom(16).hex(),
            pid_file=str(Path(self.settings.folder) / "chp.pid"),
            **common,
        )

    async def stop(self) -> None:
        """Stop it, and wait for the process, which the class does not."""
        await super().stop()
        try:
            await asyncio.to_thread(self.proxy.proxy_process.wait, 10)
        except subprocess.TimeoutExpired:
            self.proxy.proxy_process.kill()
            await asyncio.to_thread(self.proxy.proxy_process.wait, 10)


class Jtp(HubContender):
    """jupyterhub-traefik-proxy with its file provider, as it comes.

    Its limit is how many changes it works on at once, its own ``concurrency``; asking more of it only makes a queue.
    """

    most_at_once = 10

    def missing(self) -> str:
        """Return whether there is no such package or no Traefik."""
        try:
            import jupyterhub_traefik_proxy.fileprovider  # noqa: F401 - only whether it is there
        except ImportError as error:
            return str(error)
        return "" if self.settings.traefik else "no traefik"

    def version(self) -> str:
        """Return the package's version."""
        return metadata.version("jupyterhub-traefik-proxy")

    def make_proxy(self, **common: Any) -> Any:
        """Return one with ports and files of its own, and time enough."""
        from jupyterhub_traefik_proxy.fileprovider import TraefikFileProviderProxy

        folder = Path(self.settings.folder)
        return TraefikFileProviderProxy(
            traefik_api_url=self.settings.api_url,
            static_config_file=str(folder / "traefik.toml"),
            dynamic_config_file=str(folder / "rules.toml"),
            check_route_timeout=_PATIENCE,
            **common,
        )

    def prepare(self) -> None:
        """Put the existing routes into its table before it starts.

        It writes its whole file for each route: filling a table of 10,000 one by one would take hours. The entries are
        made by the same method that its ``add_route`` calls, and ``start`` writes them all once; only the changes
        after that are measured, so this spares it nothing that is measured.
        """
        super().prepare()
        table = self.proxy.dynamic_config
        for entry in self.settings.existing_entries():
            traefik, jupyterhub = self.proxy._dynamic_config_for_route(*entry)  # noqa: SLF001
            table["http"]["routers"].update(traefik["http"]["routers"])
            table["http"]["services"].update(traefik["http"]["services"])
            table["jupyterhub"]["routes"].update(jupyterhub["routes"])

    async def fill(self) -> None:
        """Nothing: see :meth:`prepare`."""


class Floor(Contender):
    """The least that any proxy which keeps its routes in one Traefik file has to do for a change.

    A file with the same routes, ready-made, each a router and a service as Traefik's documentation has them, and what
    JupyterHub gave; rename it into place; ask the public entry point, as fast as can be, until it answers with the new
    revision. No checks, no table, no TOML made, no fsync, no event loop. A change of one route and of two hundred are the
    same to it: one reload.
    """

    is_bare = True

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._revision = 0
        self._traefik: subprocess.Popen[bytes] | None = None

    def missing(self) -> str:
        """Return whether there is no Traefik."""
        return "" if self.settings.traefik else "no traefik"

    def version(self) -> str:
        """Return Traefik's version."""
        return traefik_version(self.settings.traefik)

    def prepare(self) -> None:
        """Make the text of the file."""
        folder = Path(self.settings.folder)
        folder.mkdir(parents=True, exist_ok=True)
        cert_file, key_file = self.settings.cert_file, self.settings.key_file
        if not cert_file:
            cert_file, key_file = write_certificate(folder)
        self._text = floor_dynamic(self.settings.existing_entries(), cert_file, key_file).encode()
        self._file, self._temporary = folder / "dynamic.toml", folder / "dynamic.toml.new"
        self._static = folder / "static.toml"
        address = f"127.0.0.1:{self.settings.public_port}"
        static = floor_static(address, str(self._file), tls=bool(self.settings.cert_file))
        self._static.write_text(static, encoding="utf-8")
        self._client = Client(self.settings.public_url)

    async def start(self) -> None:
        """Start Traefik with the whole table."""
        self._write()
        command = [self.settings.traefik, "--configFile", str(self._static)]
        self._traefik = subprocess.Popen(command)  # noqa: ASYNC220 - nothing else runs in this loop
        self._wait()

    async def fill(self) -> None:
        """Nothing: the file is whole from the start."""

    async def add(self, entries: Sequence[Entry]) -> None:  # noqa: ARG002 - the file is ready-made
        """Let Traefik load the file once more."""
        self._write()
        self._wait()

    async def delete(self, routespecs: Sequence[str]) -> None:  # noqa: ARG002 - the file is ready-made
        """Let Traefik load the file once more."""
        self._write()
        self._wait()

    def _write(self) -> None:
        self._revision += 1
        self._temporary.write_bytes(self._text + revision_router(self._revision).encode())
        self._temporary.rename(self._file)

    def _wait(self) -> None:
        wanted = str(self._revision)
        begin = time.monotonic()
        while (elapsed := time.monotonic() - begin) < _PATIENCE:
            try:
                if self._client.ask(REVISION_PATH, REVISION_HEADER).header == wanted:
                    return
            except OSError:
                time.sleep(0.005)  # it does not listen yet
            # Asking takes from the cores that make the reload: without a pause one at 5,000 routes takes a tenth longer.
            if elapsed > 0.005:
                time.sleep(min(elapsed / 100, 0.002))
        raise TimeoutError(f"Traefik did not serve revision {wanted} in {_PATIENCE} s")

    async def count(self) -> int:
        """Return how many routes the file is for."""
        return self.settings.existing + 1

    def crash(self) -> None:
        """Let Traefik end as in a crash."""
        if self._traefik is not None:
            self._traefik.kill()
            self._traefik.wait(10)

    async def stop(self) -> None:
        """Stop Traefik."""
        if self._traefik is None:
            return
        self._traefik.terminate()
        try:
            await asyncio.to_thread(self._traefik.wait, 15)
        except subprocess.TimeoutExpired:
            self._traefik.kill()
            await asyncio.to_thread(self._traefik.wait, 15)


class Direct(Contender):
    """No proxy at all: the server that is behind the others' routes, at the port that it listens on anyway."""

    is_bare = True

    def missing(self) -> str:
        """Nothing is missing."""
        return ""

    def version(self) -> str:
        """It has no version."""
        return ""

    def prepare(self) -> None:
        """Nothing."""

    async def start(self) -> None:
        """Nothing."""

    async def fill(self) -> None:
        """Nothing."""

    async def add(self, entries: Sequence[Entry]) -> None:
        """Nothing."""

    async def delete(self, routespecs: Sequence[str]) -> None:
        """Nothing."""

    async def count(self) -> int:
        """Return that it has no routes."""
        return 0

    async def stop(self) -> None:
        """Nothing."""


CONTENDERS: dict[str, type[Contender]] = {"ours": Ours, "floor": Floor, "chp": Chp, "jtp": Jtp, "direct": Direct}


def traefik_version(command: str) -> str:
    """Ask Traefik for its version."""
    return first_line(command, "version").partition(":")[2].strip()


def first_line(*command: str) -> str:
    """Return the first line that a command says, or why it says nothing."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        return f"unknown: {error}"
    return (done.stdout or done.stderr).strip().partition("\n")[0].strip()


def find_traefik(given: str) -> str:
    """Return the Traefik binary: the one given, or on PATH, or beside this Python; "" if there is none."""
    return _find(given, "traefik", [_scripts()])


def find_chp(given: str) -> str:
    """Return configurable-http-proxy: the one given, or on PATH, or what npm put into this folder; "" if none."""
    return _find(given, "configurable-http-proxy", ["node_modules/.bin"])


def _scripts() -> str:
    import sysconfig

    return sysconfig.get_path("scripts")


def _find(given: str, name: str, folders: list[str]) -> str:
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *folders])
    found = shutil.which(given or name, path=path)
    return str(Path(found).absolute()) if found else ""
