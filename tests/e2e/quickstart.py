"""A JupyterHub that is started as in the quickstart, with all its files in a temporary folder."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from support.certificates import Pair
from support.ports import free_ports
from support.processes import all_others, command_line
from support.processes import environment as environment_of
from support.waiting import PATIENCE

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "examples" / "quickstart/jupyterhub_config.py"

_START_SECONDS = 60
_STOP_SECONDS = 30
# The last message of a starting Hub. Until then, SIGTERM ends it at once, and nothing that it has started
# (jupyterhub/app.py:3953 of 6.1.1).
_STARTED = "JupyterHub is now running at"
# The beginning of a log message: [E 2026-11-22 23:38:49.389 JupyterHub app:3493]; its other lines are indented.
_LOGGED = re.compile(r"\[(?P<level>[DIWEC]) [-\d]+ [:.\d]+ (?P<who>[\w.]+)")
# The loggers of users' servers, which log errors when a page is closed while it opens a websocket.
_SERVERS = {"ServerApp", "LabApp", "JupyterHubSingleUser"}
# JupyterHub logs this at level CRITICAL when it is asked to stop.
_ASKED_TO_STOP = "Received signal SIGTERM"


def wait_until(condition: Callable[[], bool], *, within: float, what: str) -> None:
    """Return when ``condition`` is true.

    Raises:
        AssertionError: With ``what``, if it has not been true within that many seconds.
    """
    deadline = time.monotonic() + within * PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"not within {within} s: {what}"
        time.sleep(0.02)


def environment(home: Path) -> dict[str, str]:
    """Return the environment of a user without any configuration."""
    return {"HOME": str(home), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"}


def command(*arguments: str) -> list[str]:
    """Return the quickstart's command, with more arguments."""
    return [sys.executable, "-m", "jupyterhub", "-f", str(CONFIG), *arguments]


class Quickstart:
    """The quickstart's JupyterHub, in a process group of its own.

    Attributes:
        url: Where it is for a browser, without a slash at the end.
        home: The home folder of whoever started it.
        started_in: Its working directory.
    """

    def __init__(self, folder: Path, *arguments: str, tls: Pair | None = None) -> None:
        """Choose its ports and folders; it is not started.

        Args:
            folder: For all its files; empty, or left by an earlier one.
            arguments: More arguments for its command.
            tls: Its certificate, if it is to be public as https.
        """
        self._port, hub_port = free_ports(2)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self._port}"
        self.home = folder / "home"
        self.started_in = folder / "started-in"
        self._mark = str(self.home)
        self._output = folder / "output.txt"
        self._tls = tls.client() if tls else None
        pair = [f"--JupyterHub.{name}={file}" for name, file in tls.traits.items()] if tls else []
        self._command = command(
            f"--JupyterHub.bind_url={self.url}", f"--JupyterHub.hub_port={hub_port}", *pair, *arguments
        )
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def routes_file(self) -> Path:
        """The file with the routes."""
        return self.home / ".local" / "state" / "jupyterhub-quickstart" / "traefik" / "dynamic.toml"

    @property
    def output(self) -> str:
        """All output so far, of the Hub, its Traefik and its servers."""
        return self._output.read_text(errors="replace") if self._output.exists() else ""

    @property
    def trouble(self) -> list[str]:
        """The lines of its output that are errors of the Hub or of Traefik, whose output is in the Hub's log."""
        found = []
        who = ""
        for line in self.output.splitlines():
            if logged := _LOGGED.match(line):
                who = logged["who"]
                wrong = logged["level"] in "EC" and who not in _SERVERS and _ASKED_TO_STOP not in line
            elif line.startswith("    "):
                wrong = "Traceback" in line and who not in _SERVERS
            else:  # not a log message; a kernel that is ended early also writes a traceback
                wrong = "never retrieved" in line or "never awaited" in line
            if wrong or "/traefik_toml_proxy/" in line.partition('File "')[2]:
                found.append(line)
        return found

    def start(self) -> None:
        """Start it, for the first time or again; returns when the public URL serves the Hub.

        Raises:
            AssertionError: If it has ended, or does not serve in time.
        """
        self.home.mkdir(exist_ok=True)
        self.started_in.mkdir(exist_ok=True)
        said_before = len(self.output)
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(
                self._command,
                cwd=self.started_in,
                env=environment(self.home),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

        def started_or_ended() -> bool:
            return self._ended() or (_STARTED in self.output[said_before:] and self._serves())

        wait_until(started_or_ended, within=_START_SECONDS, what=f"serving {self.url}")
        assert not self._ended(), f"ended with status {self._process.returncode}"

    def stop(self) -> None:
        """Send SIGTERM, as a service manager would, and wait until all its processes have ended.

        Raises:
            AssertionError: If one has not ended in time; it is killed.
        """
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_STOP_SECONDS * PATIENCE)
            wait_until(lambda: not self.processes(), within=5, what="the end of all that was started")
        except (subprocess.TimeoutExpired, AssertionError) as error:
            raise AssertionError(f"still running after SIGTERM: {self.processes()}") from error
        else:
            assert self._process.returncode == 0, f"ended with status {self._process.returncode}"
        finally:
            self.kill()

    def kill(self) -> None:
        """Kill all its processes."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    def processes(self) -> dict[int, str]:
        """Return the command lines, by process id, of the Hub and all processes that it has started.

        They are found by the home folder in their environment or on their command line: Traefik and the servers are in
        their own sessions, and processes that they leave behind get another parent.
        """
        found = {}
        for pid in all_others():
            with contextlib.suppress(OSError):
                line = " ".join(command_line(pid))
                if self._mark in line or self._mark in "".join(environment_of(pid).values()):
                    found[pid] = line
        return found

    def _ended(self) -> bool:
        assert self._process is not None
        return self._process.poll() is not None

    def _serves(self) -> bool:
        connection = (
            http.client.HTTPSConnection("127.0.0.1", self._port, timeout=5 * PATIENCE, context=self._tls)
            if self._tls
            else http.client.HTTPConnection("127.0.0.1", self._port, timeout=5 * PATIENCE)
        )
        try:
            connection.request("GET", "/hub/health")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
