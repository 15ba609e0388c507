"""A JupyterHub in a process of its own, with a configuration that people write, and small servers for its users."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import ssl
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

from typing_extensions import Self

from .backend import Response, get
from .ports import free_port
from .processes import MARK, alive, all_others
from .processes import environment as environment_of
from .traefik import TRAEFIK_COMMAND
from .waiting import PATIENCE, eventually, within

_TESTS = Path(__file__).parents[1]
_TOKEN = "token-of-the-tests"
# It goes on with "at" and the public URL, or, with should_start = False, with the URL of the Hub itself.
_STARTED = "JupyterHub is now running"
# What a test adds to a configuration: its own ports, users without passwords, and their small servers.
_FOR_TESTS = """
load_subconfig({config!r})
c.JupyterHub.hub_port = {hub_port}
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = {home!r} + "/{{username}}"
c.Spawner.cmd = [{python!r}, "-m", "support.user_server"]
c.Spawner.environment = {environment!r}
if c.JupyterHub.get("proxy_class") != "in-process":
    c.TraefikProxy.traefik_env.update({mark!r})
    if {traefik!r}:
        c.TraefikProxy.traefik_command = {traefik!r}
# The Hub warns if its event loop stands still for a second, which is a deadline like those of the tests.
c.PeriodicMetricsCollector.event_loop_interval_log_threshold = {patience!r}
c.JupyterHub.services = [{{"name": "tests", "api_token": {token!r}}}]
c.JupyterHub.load_roles = [
    {{"name": "tests", "scopes": ["admin:users", "admin:servers", "proxy"], "services": ["tests"]}}
]
"""


class RealHub:
    """Runs between ``__aenter__`` and ``__aexit__``, which ends everything that it has started.

    Attributes:
        url: Where it is for a browser, ``http[s]://host:port``.
        base_url: Its base_url.
    """

    def __init__(
        self,
        folder: Path,
        config: Path,
        url: str,
        *,
        base_url: str = "/",
        more: str = "",
        tls: ssl.SSLContext | None = None,
        modules: Path | None = None,
        environment: dict[str, str] | None = None,
        command: Sequence[str] | None = None,
        inherits: Sequence[int] = (),
    ) -> None:
        """Choose its ports and folders; it is not started.

        Args:
            folder: Its working directory.
            config: The configuration to test.
            url: Where it is for a browser, ``http[s]://host:port``.
            base_url: Its base_url.
            more: More configuration, after that.
            tls: Whom to trust if the URL is https.
            modules: A folder with modules that the configuration imports.
            environment: More environment variables.
            command: What starts it with the file ``for_tests.py`` in its folder, if it is not to be started by itself. What
                it prints must have the Hub's log in it.
            inherits: The numbers of open files that it inherits.
        """
        self.url = url
        self.base_url = base_url
        self._folder = folder
        self._log = folder / "hub.log"
        self._tls = tls
        self._mark = {"TTP_TEST_HUB": str(folder)}
        path = ":".join(str(place) for place in (_TESTS, modules) if place)
        self._environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "PYTHONPATH": path,
            **MARK,
            **self._mark,
            **(environment or {}),
        }
        self._config = folder / "for_tests.py"
        self._config.write_text(
            _FOR_TESTS.format(
                config=str(config),
                hub_port=free_port(),
                home=str(folder / "users"),
                python=sys.executable,
                environment={"PYTHONPATH": path, **MARK, **self._mark},
                token=_TOKEN,
                patience=PATIENCE,
                mark={**MARK, **self._mark},
                traefik=TRAEFIK_COMMAND,
            )
            + more
        )
        self._command = command or (sys.executable, "-m", "jupyterhub", "-f", str(self._config))
        self._inherits = inherits
        self._process: asyncio.subprocess.Process | None = None

    @property
    def log(self) -> str:
        """Its output so far."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    @property
    def warnings(self) -> list[str]:
        """The warnings and errors in its log so far, without the time."""
        found = re.findall(r"^\[[WEC] [-\d]+ [:.\d]+ [\w.]+ [\w.]+:\d+\] (.*)", self.log, re.MULTILINE)
        # What the Hub says about the tests' own settings, and when it is asked to stop.
        usual = (
            "Allow_all is set",
            "Received signal",
            "allow_all",
            "Using testing authenticator",
            "Running JupyterHub as",
        )
        return [line for line in found if not any(text in line for text in usual)]

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        print(self.log)  # shown if the test has failed
        await self.kill()

    @contextlib.asynccontextmanager
    async def kept(self) -> AsyncIterator[Self]:
        """End all that it has started at the end of the block; it is not started yet."""
        try:
            yield self
        finally:
            print(self.log)  # shown if the test has failed
            await self.kill()

    async def start(self) -> None:
        """Start it, for the first time or again; returns when it says that it runs.

        Raises:
            AssertionError: If it has ended instead.
        """
        said = len(self.log)
        output = await asyncio.to_thread(self._log.open, "ab")
        with output:
            self._process = process = await asyncio.create_subprocess_exec(
                *self._command,
                cwd=self._folder,
                env=self._environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                pass_fds=self._inherits,
            )
        await eventually(
            lambda: process.returncode is not None or _STARTED in self.log[said:],
            within=60,
            what="the start of the Hub",
        )
        assert process.returncode is None, self.log[said:]

    async def stop(self) -> None:
        """Ask it to stop, as a service manager does, and wait until it has."""
        assert self._process is not None
        self._process.terminate()
        assert await within(30 * PATIENCE, self._process.wait()) == 0

    async def kill_alone(self) -> None:
        """Kill it, but nothing that it has started."""
        assert self._process is not None
        self._process.kill()
        await self._process.wait()

    async def kill(self) -> None:
        """Kill it, and everything that it has started."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()  # before it can start more
        for pid in self._started():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self._process is not None:
            await self._process.wait()
        await eventually(lambda: not any(map(alive, self._started())))

    def _started(self) -> list[int]:
        found = []
        for pid in all_others():
            with contextlib.suppress(OSError):
                if environment_of(pid).items() >= self._mark.items():
                    found.append(pid)
        return found

    async def ask(self, path: str, *, method: str = "GET", headers: dict[str, str] | None = None) -> Response:
        """Send a request to the public URL; the path is relative to base_url."""
        return await get(self.url, self.base_url + path, method=method, headers=headers, tls=self._tls)

    async def api(self, path: str, *, method: str = "GET") -> Response:
        """Call its REST API, through the proxy."""
        headers = {"Authorization": f"token {_TOKEN}", "Content-Length": "0"}
        return await self.ask(f"hub/api/{path}", method=method, headers=headers)

    async def start_server(self, name: str) -> int:
        """Start the server of a user, who need not be there yet; returns its process id."""
        user = quote(name, safe="")
        if (await self.api(f"users/{user}")).status == 404:
            made = await self.api(f"users/{user}", method="POST")
            assert made.status == 201, made
        started = await self.api(f"users/{user}/server", method="POST")
        assert started.status in {201, 202}, started

        async def ready() -> bool:
            answer = await self.api(f"users/{user}")
            assert answer.status == 200, answer
            return bool(json.loads(answer.body)["servers"].get("", {}).get("ready"))

        await eventually(ready, within=30, what=f"the server of {name}")
        pid = await self.server_of(name)
        assert pid > 0, f"the server of {name} is not reached"
        return pid

    async def stop_server(self, name: str) -> None:
        """Stop the server of a user."""
        user = quote(name, safe="")
        stopping = await self.api(f"users/{user}/server", method="DELETE")
        assert stopping.status in {202, 204}, stopping

        async def stopped() -> bool:
            return not json.loads((await self.api(f"users/{user}")).body)["servers"]

        await eventually(stopped, within=30, what=f"the end of the server of {name}")

    async def server_of(self, name: str, path: str = "x") -> int:
        """Return the process id of the server that answers for a user; -1 if somebody else answers."""
        answer = await self.ask(f"user/{quote(name, safe='@~')}/{path}")
        return int(answer.seen["pid"]) if answer.by == name else -1
