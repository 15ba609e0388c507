"""The commands that look at a Hub's proxy: they say what is well, change nothing, and show no secret."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytest_asyncio
from support.backend import get
from support.certificates import make_certificate
from support.doctored import Patient, tree
from support.fixtures import BackendMaker
from support.waiting import PATIENCE

from traefik_toml_proxy import TraefikTomlProxy
from traefik_toml_proxy.cli.main import TraefikTomlProxyApp
from traefik_toml_proxy.findings import Verdict


@pytest_asyncio.fixture
async def patient(tmp_path: Path) -> AsyncIterator[Patient]:
    """A Hub's configuration without a mistake."""
    async with contextlib.AsyncExitStack() as opened:
        yield Patient(tmp_path, opened)


class Done(NamedTuple):
    """What came of a command."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def run(patient: Patient, capsys: pytest.CaptureFixture[str]) -> Callable[..., Awaitable[Done]]:
    """Run a command of ours in this process: importing JupyterHub in another one takes seconds."""

    def call(command: str, arguments: list[str]) -> int:
        app = TraefikTomlProxyApp()
        try:
            app.initialize([command, *arguments])
            app.start()
        except SystemExit as end:
            return int(end.code or 0)
        finally:
            for each in (app, app.subapp):
                if each is not None:
                    type(each).clear_instance()
        return 0

    async def run(command: str, *arguments: str) -> Done:
        file = [] if "-f" in arguments else ["-f", str(patient.file)]
        capsys.readouterr()
        status = await asyncio.to_thread(call, command, [*file, *arguments])
        return Done(status, *capsys.readouterr())

    return run


Run = Callable[..., Awaitable[Done]]


async def _not_fine(patient: Patient) -> list[str]:
    return [str(finding) for finding in await patient.findings() if finding.verdict is not Verdict.FINE]


async def _started(patient: Patient, backend: str) -> TraefikTomlProxy:
    """Start the Hub's proxy, with a route for a user."""
    proxy = await patient.proxy()
    await proxy.start()
    await proxy.add_route("/user/ada/", backend, {"user": "ada", "server_name": ""})
    return proxy


def _without_names(line: str) -> str:
    return re.sub(r"/\S+|:?\d+[\d.:]*|127\S+", "…", line)


class TestHealthy:
    """There is nothing to mend, and nothing is changed."""

    @pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
    async def test_before_the_start_and_while_it_runs(
        self, patient: Patient, make_backend: BackendMaker, tls: bool
    ) -> None:
        if tls:
            for trait, value in make_certificate(patient.folder, "hub").traits.items():
                patient.set(f"JupyterHub.{trait}", value)
        before = tree(patient.folder)
        assert await _not_fine(patient) == []
        assert tree(patient.folder) == before

        await _started(patient, (await make_backend("ada")).url)
        before = tree(patient.folder)
        assert await _not_fine(patient) == []
        assert tree(patient.folder) == before

    async def test_after_the_hub_has_stopped(self, patient: Patient, make_backend: BackendMaker) -> None:
        """Its routes stay in the file."""
        proxy = await _started(patient, (await make_backend("ada")).url)
        await proxy.stop()
        assert await _not_fine(patient) == []

    @pytest.mark.parametrize("provider", ["directory", "filename"])
    async def test_with_a_traefik_of_others(self, patient: Patient, make_backend: BackendMaker, provider: str) -> None:
        """As it is described in the documentation."""
        watched = {"directory": patient.watched, "filename": patient.routes}[provider]
        patient.routes.touch()
        traefik = await patient.use_traefik_of_others(provider={provider: str(watched)})
        patient.set("TraefikProxy.check_route_timeout", 10 * PATIENCE)
        proxy = await patient.proxy()
        await proxy.add_route("/user/ada/", (await make_backend("ada")).url, {})
        before = tree(patient.watched)

        assert await _not_fine(patient) == []
        assert tree(patient.watched) == before
        assert traefik.complaints == []


class TestDoctor:
    """``python -m traefik_toml_proxy doctor``."""

    async def test_it_says_that_all_is_well(self, patient: Patient, run: Run) -> None:
        """A line for each thing; the configuration may print what it likes."""
        patient.write("print('hello')")
        done = await run("doctor")

        lines = done.stdout.splitlines()
        assert (done.returncode, lines[0]) == (0, f"{patient.file} was executed.")
        assert lines[-1] == "All is well."
        assert {line.partition(" ")[0] for line in lines[1:-1]} == {"ok"}

    async def test_it_prints_what_the_documentation_shows(
        self, patient: Patient, run: Run, make_backend: BackendMaker
    ) -> None:
        """The same things, in the same order and words, with other names and numbers."""
        page = (Path(__file__).parents[2] / "docs" / "how-to" / "doctor.rst").read_text()
        block = re.search(r"code-block:: text\n\n((?: {3}.*\n)+)", page)
        assert block is not None
        patient.set("TraefikProxy.trusted_proxies", ["10.0.0.5"])
        await _started(patient, (await make_backend("ada")).url)
        lines = iter(map(_without_names, (await run("doctor")).stdout.splitlines()))

        shown = [_without_names(line[3:]) for line in block[1].splitlines()]
        assert [line for line in shown if line not in lines] == []

    async def test_what_is_wrong_is_in_its_json_and_its_status(self, patient: Patient) -> None:
        """Settings on the command line go before those in the file."""
        line = [sys.executable, "-m", "traefik_toml_proxy", "doctor", "-f", str(patient.file), "--json"]
        done = await asyncio.to_thread(
            subprocess.run,
            [*line, "--TraefikProxy.traefik_command=/no/such/traefik"],
            capture_output=True,
            text=True,
            timeout=30 * PATIENCE,
            check=False,
        )

        [found] = [finding for finding in json.loads(done.stdout) if finding["verdict"] == "wrong"]
        assert (done.returncode, found["about"]) == (1, "Traefik")
        assert "/no/such/traefik" in found["text"]

    @pytest.mark.parametrize("arguments", ["-f nowhere.py", "more", "--json=no", "--nothing=at-all"])
    async def test_a_wrong_option_has_a_status_of_its_own(self, run: Run, arguments: str) -> None:
        done = await run("doctor", *arguments.split())

        assert (done.returncode, done.stdout) == (2, "")
        assert arguments.split()[-1].partition("=")[0].strip("-") in done.stderr

    async def test_it_has_colours_on_a_terminal(self, patient: Patient) -> None:
        """If rich is installed, as with the extra `cli`."""
        parent, child = pty.openpty()
        try:
            line = [sys.executable, "-m", "traefik_toml_proxy", "doctor", "-f", str(patient.file)]
            environment = {**os.environ, "TERM": "xterm-256color"}
            process = await asyncio.create_subprocess_exec(*line, stdout=child, env=environment)
            status = await process.wait()
            output = await asyncio.to_thread(os.read, parent, 2**16)
        finally:
            os.close(parent)
            os.close(child)

        assert status == 0
        assert b"\x1b[32mok " in output


async def test_the_routes_are_shown_with_when_they_were_used(
    patient: Patient, run: Run, make_backend: BackendMaker
) -> None:
    """As a table, or as JSON; what was never used has no time. The status says whether they are live."""
    ada = await make_backend("ada")
    proxy = await _started(patient, ada.url)
    await proxy.add_route("/services/<&>/", "http://127.0.0.1:1", {"service": "x"})
    await get(proxy.public_url, "/user/ada/")

    done, as_json = await run("routes"), await run("routes", "--json")
    rows = [line.split("  ") for line in done.stdout.splitlines()]
    tree: dict[str, Any] = json.loads(as_json.stdout)

    assert (done.returncode, as_json.returncode) == (0, 0)
    assert rows[0][0] == "Route"
    assert rows[1][0] == "/services/%3C&%3E/" or rows[1][0].startswith("/services/")
    assert [cell.strip() for cell in rows[2] if cell][:3] == ["/user/ada/", "user ada", ada.url]
    assert rows[2][-1].endswith(" s ago")
    assert done.stdout.splitlines()[-1].endswith("with 2 routes is live.")
    assert tree["live"] is True
    assert [route["last_used"] is None for route in tree["routes"]] == [True, False]

    await proxy.stop()
    done = await run("routes")
    assert done.returncode == 1
    assert "with 2 routes is not live: no answer from" in done.stdout


async def test_a_user_s_name_cannot_look_like_another_line(
    patient: Patient, run: Run, make_backend: BackendMaker
) -> None:
    """JupyterHub lets a name have line ends."""
    proxy = await _started(patient, (await make_backend("ada")).url)
    name = "eve\nRevision 9 with 1 routes is live."
    await proxy.add_route("/user/eve/", "http://127.0.0.1:1", {"user": name})

    assert [line[:10] for line in (await run("routes")).stdout.splitlines()] == [
        "Route     ",
        "/user/ada/",
        "/user/eve/",
        "Revision 3",
    ]


async def test_what_traefik_is_told_is_shown_without_secrets(patient: Patient, run: Run) -> None:
    """With internal_ssl, the file has a key. In JSON, each configuration is one text."""
    patient.set("JupyterHub.internal_ssl", True)
    patient.set("JupyterHub.internal_certs_location", str(patient.folder / "internal-ssl"))
    patient.set(
        "TraefikProxy.route_middlewares", {"password": {"basicAuth": {"users": ["ada:$apr1$hush"], "realm": "Hub"}}}
    )
    await patient.proxy()  # makes the certificates
    before = tree(patient.folder)
    done, as_json = await run("render"), await run("render", "--json")

    assert (done.returncode, done.stderr) == (0, "")
    assert tree(patient.folder) == before
    assert "[providers.file]" in done.stdout
    assert 'realm = "Hub"' in done.stdout
    assert 'users = "(hidden)"' in done.stdout
    assert "PRIVATE KEY-----(hidden)-----END" in done.stdout
    assert "hush" not in done.stdout + as_json.stdout
    key = (patient.folder / "internal-ssl" / "proxy-client" / "proxy-client.key").read_text().splitlines()[1]
    assert key not in done.stdout + as_json.stdout
    assert 'users = "(hidden)"' in json.loads(as_json.stdout)["dynamic"]


async def test_a_setting_that_cannot_be_used_is_not_rendered(patient: Patient, run: Run) -> None:
    """The reason is that of the start."""
    patient.set("TraefikProxy.redirect_http", 80)
    done = await run("render")

    assert (done.returncode, done.stdout) == (1, "")
    assert "there is no https to send browsers to" in done.stderr
