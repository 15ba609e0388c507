"""A real JupyterHub with many running servers, in a process of its own, with any of the proxies. I/O: processes, files."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import textwrap
from contextlib import suppress
from pathlib import Path

from .contenders.base import Settings
from .interpreter import Interpreter
from .processes import Process, descendants, end, is_running
from .waiting import within

_CONFIG = """\
    c.JupyterHub.bind_url = {bind_url!r}
    c.JupyterHub.hub_port = {hub_port}
    c.JupyterHub.db_url = {db_url!r}
    c.JupyterHub.cookie_secret = bytes.fromhex({secret!r})
    c.JupyterHub.authenticator_class = "dummy"
    c.Authenticator.allow_all = True
    c.JupyterHub.spawner_class = "benchmarks.standing.StandingSpawner"
    c.JupyterHub.proxy_class = {proxy_class!r}
    c.JupyterHub.log_level = "WARN"
    # As an admin has it who wants to restart the Hub without disturbing users.
    c.JupyterHub.cleanup_servers = False
    c.JupyterHub.cleanup_proxy = False
    """

# The class of each proxy, and its settings. The password of jupyterhub-traefik-proxy is fixed: with a new one for each Hub,
# it could not talk to a Traefik that an earlier Hub has left running.
_PROXIES = {
    "ours": (
        "traefik_toml_proxy.TraefikTomlProxy",
        """\
    c.TraefikTomlProxy.state_dir = {folder!r} + "/state"
    c.TraefikTomlProxy.traefik_command = [{traefik!r}]
    """,
    ),
    "in-process": ("traefik_toml_proxy.InProcessProxy", ""),
    "in-process-asyncio": ("traefik_toml_proxy.InProcessProxy", "    c.InProcessProxy.event_loop = 'asyncio'"),
    "in-process-apart": (
        "traefik_toml_proxy.InProcessProxy",
        """\
    c.InProcessProxy.where = "process"
    c.InProcessProxy.state_dir = {folder!r} + "/state"
    """,
    ),
    "chp": (
        "jupyterhub.proxy.ConfigurableHTTPProxy",
        """\
    c.ConfigurableHTTPProxy.api_url = {api_url!r}
    c.ConfigurableHTTPProxy.command = [{chp!r}]
    c.ConfigurableHTTPProxy.pid_file = {folder!r} + "/chp.pid"
    """,
    ),
    "jtp": (
        "jupyterhub_traefik_proxy.fileprovider.TraefikFileProviderProxy",
        """\
    c.TraefikFileProviderProxy.traefik_api_url = {api_url!r}
    c.TraefikFileProviderProxy.traefik_api_password = {token!r}
    c.TraefikFileProviderProxy.static_config_file = {folder!r} + "/traefik.toml"
    c.TraefikFileProviderProxy.dynamic_config_file = {folder!r} + "/rules.toml"
    c.TraefikFileProviderProxy.check_route_timeout = 300
    """,
    ),
}

_PROXIES["before"] = _PROXIES["ours"]

# How many seconds a Hub may take to end when it is asked to.
_PATIENCE = 60


class Hub:
    """A Hub that can be restarted with the same files.

    Args:
        name: The contender that is its proxy.
        settings: The contender's settings.
        interpreter: The Python that it runs in.
        database: The file of its database.
        hub_port: The port of the Hub itself.
    """

    def __init__(self, name: str, settings: Settings, interpreter: Interpreter, database: Path, hub_port: int) -> None:
        self._settings = settings
        self._interpreter = interpreter
        self._folder = Path(settings.folder)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._token = secrets.token_hex(32)
        proxy_class, more = _PROXIES[name]
        config = (textwrap.dedent(_CONFIG) + textwrap.dedent(more)).format(
            bind_url=settings.public_url,
            hub_port=hub_port,
            db_url=f"sqlite:///{database}",
            secret=secrets.token_hex(32),
            proxy_class=proxy_class,
            folder=settings.folder,
            api_url=settings.api_url,
            chp=settings.chp,
            traefik=settings.traefik,
            token=self._token,
        )
        self._config = self._folder / "jupyterhub_config.py"
        self._config.write_text(config, encoding="utf-8")
        self._log = self._folder / "hub.log"
        self._process: asyncio.subprocess.Process | None = None
        self._seen: set[Process] = set()

    async def start(self) -> None:
        """Start its process, without waiting until it serves."""
        first = self._folder / "bin"
        first.mkdir(exist_ok=True)
        if self._settings.traefik and not (first / "traefik").exists():
            (first / "traefik").symlink_to(self._settings.traefik)
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                self._interpreter.executable,
                "-m",
                "jupyterhub",
                "-f",
                str(self._config),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                env={
                    **self._interpreter.environment(),
                    "PATH": f"{first}{os.pathsep}{os.environ['PATH']}",
                    # Fixed, as each Hub would make a new one for configurable-http-proxy.
                    "CONFIGPROXY_AUTH_TOKEN": self._token,
                },
                start_new_session=True,
            )

    @property
    def has_ended(self) -> bool:
        """Whether its process does not run (any more)."""
        return self._process is None or self._process.returncode is not None

    def proxies(self) -> list[Process]:
        """Return the running processes of its proxy, started by this Hub or by one before it."""
        if self._process is not None:
            self._seen.update(descendants(self._process.pid))
        return [process for process in self._seen if is_running(process)]

    async def stop(self) -> None:
        """Send SIGTERM, and wait until it has ended."""
        await self._end(signal.SIGTERM)

    async def kill(self) -> None:
        """Send SIGKILL, and wait until it has ended."""
        await self._end(signal.SIGKILL)

    async def _end(self, number: signal.Signals) -> None:
        self.proxies()
        if self._process is None or self._process.returncode is not None:
            return
        self._process.send_signal(number)
        await within(_PATIENCE, self._process.wait())

    def kill_proxy(self) -> None:
        """Send SIGKILL to the proxy."""
        for process in self.proxies():
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)

    async def close(self) -> None:
        """Stop everything that was started."""
        try:
            await self.stop()
        except asyncio.TimeoutError:
            await self.kill()
        for left in self.proxies():
            await asyncio.to_thread(end, left)

    def tail(self) -> str:
        """Return the end of the output of the Hub and its proxy."""
        return self._log.read_text(encoding="utf-8", errors="replace")[-1500:] if self._log.exists() else ""
