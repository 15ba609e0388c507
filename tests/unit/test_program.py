"""Finding the Traefik program and asking for its version."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

import pytest
from support.processes import MARK
from support.programs import FOREVER, any_script, script, tells
from support.waiting import PATIENCE, eventually

from traefik_toml_proxy.errors import TraefikNotFound, TraefikUnsupported
from traefik_toml_proxy.runtime import program
from traefik_toml_proxy.runtime.program import Program, child_environment, find_program


@pytest.fixture
def empty_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No Traefik beside Python, and a PATH with one empty folder; returns the folder."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python" / "python3"))
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.fixture
def environment() -> dict[str, str]:
    """The environment for a script: it needs PATH for the shell's commands."""
    return {"PATH": os.environ["PATH"], **MARK}


class TestFinding:
    """Where Traefik is looked for."""

    async def test_the_one_on_the_path_is_found(self, empty_python: Path, environment: dict[str, str]) -> None:
        """Without a traefik_command, PATH is searched."""
        there = script(empty_python / "traefik", "")

        assert await find_program([], environment) == Program((str(there),), (3, 7, 0))

    async def test_the_one_beside_python_comes_first(
        self, empty_python: Path, tmp_path: Path, environment: dict[str, str]
    ) -> None:
        """A Traefik in JupyterHub's own virtual environment is preferred to one on PATH."""
        script(empty_python / "traefik", "")
        (tmp_path / "python").mkdir()
        beside = script(tmp_path / "python" / "traefik", "", version="3.8.1")

        assert await find_program([], environment) == Program((str(beside),), (3, 8, 1))

    async def test_traefik_command_comes_before_all(
        self, empty_python: Path, tmp_path: Path, environment: dict[str, str]
    ) -> None:
        """It may be a path with arguments."""
        script(empty_python / "traefik", "")
        own = any_script(tmp_path / "own", f'[ "$*" = "wrapped version" ] && {tells("3.9.0")}')

        found = await find_program([str(own), "wrapped"], environment)
        assert found == Program((str(own), "wrapped"), (3, 9, 0))

    async def test_traefik_command_may_be_a_name_on_the_path(
        self, empty_python: Path, environment: dict[str, str]
    ) -> None:
        """The command that runs later has the absolute path."""
        there = script(empty_python / "traefik3", "")

        assert (await find_program(["traefik3"], environment)).command == (str(there),)

    @pytest.mark.usefixtures("empty_python")
    async def test_without_any_the_error_says_what_to_do(self, environment: dict[str, str]) -> None:
        """It lists where it was looked for, and how to install it."""
        with pytest.raises(TraefikNotFound) as caught:
            await find_program([], environment)

        for part in ("(beside Python)", os.environ["PATH"], "pip install", "c.TraefikProxy.traefik_command"):
            assert part in str(caught.value)

    @pytest.mark.parametrize("name", ["/no/such/traefik", "no-such-traefik", "/tmp", "/etc/passwd", ""])
    async def test_a_command_that_is_no_program_is_an_error(self, name: str, environment: dict[str, str]) -> None:
        """The error names the command and the trait."""
        with pytest.raises(TraefikNotFound) as caught:
            await find_program([name], environment)

        assert repr(name) in str(caught.value)
        assert "c.TraefikProxy.traefik_command" in str(caught.value)


class TestVersion:
    """The program must be a Traefik of a supported version."""

    @pytest.mark.parametrize(
        ("said", "version"),
        [("3.6.2", (3, 6, 2)), ("v3.10.2", (3, 10, 2)), ("3.7.0-rc.1", (3, 7, 0)), ("4.0.0", (4, 0, 0))],
    )
    async def test_the_version_is_read(
        self, tmp_path: Path, environment: dict[str, str], said: str, version: tuple[int, int, int]
    ) -> None:
        """Traefik prints it in several forms."""
        there = script(tmp_path / "traefik", "", version=said)

        assert (await find_program([str(there)], environment)).version == version

    @pytest.mark.parametrize("said", ["3.6.0", "3.5.3", "2.11.0", "1.7.34"])
    async def test_a_version_that_is_too_old_is_an_error(
        self, tmp_path: Path, environment: dict[str, str], said: str
    ) -> None:
        """The error names the version, the one that is needed, and how to get it."""
        there = script(tmp_path / "traefik", "", version=said)
        with pytest.raises(TraefikUnsupported) as caught:
            await find_program([str(there)], environment)

        for part in (str(there), f"Traefik {said}", "3.6.2 or newer", "pip install --upgrade"):
            assert part in str(caught.value)

    @pytest.mark.parametrize(
        ("body", "shown"),
        [
            ("echo hello", "hello"),
            ("echo >&2 'unknown command version'; exit 1", "unknown command version"),
            ("exit 0", "''"),
            ("kill -9 $$", "''"),
            ("echo 'Version: three'", "three"),
            ("printf '\\033[31m\\377'", "\\x1b[31m"),
        ],
        ids=["another program", "error", "silent", "killed", "no number", "hostile"],
    )
    async def test_another_program_is_an_error_that_shows_its_output(
        self, tmp_path: Path, environment: dict[str, str], body: str, shown: str
    ) -> None:
        """The output, escaped, helps to see which program it is."""
        there = any_script(tmp_path / "traefik", body)
        with pytest.raises(TraefikUnsupported, match="not Traefik") as caught:
            await find_program([str(there)], environment)

        assert shown in str(caught.value)

    async def test_a_file_that_cannot_be_run_is_an_error(self, tmp_path: Path, environment: dict[str, str]) -> None:
        """It is executable but not a program."""
        there = tmp_path / "traefik"
        there.write_bytes(b"\x7fELF garbage")
        there.chmod(0o700)
        with pytest.raises(TraefikUnsupported, match="not a program that can be run"):
            await find_program([str(there)], environment)

    @pytest.mark.parametrize("body", [FOREVER, f"while :; do sleep 0.05; done & {FOREVER}"], ids=["one", "two"])
    async def test_a_program_that_does_not_end_is_killed(
        self, tmp_path: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, body: str
    ) -> None:
        """It is killed after a while, with its child processes; the error says so."""
        monkeypatch.setattr(program, "_VERSION_SECONDS", 0.3)
        there = any_script(tmp_path / "traefik", body)
        began = time.monotonic()
        with pytest.raises(TraefikUnsupported):
            await find_program([str(there)], environment)

        assert time.monotonic() - began < 5 * PATIENCE

    async def test_after_a_cancellation_no_process_is_left(
        self, tmp_path: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The Hub may be stopped while the program has not answered yet."""
        monkeypatch.setattr(program, "_VERSION_SECONDS", 1 * PATIENCE)
        there = any_script(tmp_path / "traefik", f"touch {tmp_path / 'run'}; {FOREVER}")
        asking = asyncio.create_task(find_program([str(there)], environment))
        await eventually((tmp_path / "run").exists)
        asking.cancel()
        await asyncio.wait([asking])

        assert asking.cancelled()


class TestEnvironment:
    """Which of the Hub's environment variables Traefik gets."""

    def test_only_a_few_variables_are_passed_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """No secrets of the Hub, and no proxy variables, which would divert users' requests."""
        for name in ("JUPYTERHUB_CRYPT_KEY", "CONFIGPROXY_AUTH_TOKEN", "HTTP_PROXY", "https_proxy", "AWS_SECRET"):
            monkeypatch.setenv(name, "secret")
        monkeypatch.setenv("PATH", "/some/bin")
        monkeypatch.setenv("LANG", "C")

        kept = child_environment({})
        assert "secret" not in kept.values()
        assert (kept["PATH"], kept["LANG"], kept["GOGC"]) == ("/some/bin", "C", "200")

    def test_traefik_env_is_added_and_wins(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """It may set any variable, even PATH or a proxy."""
        monkeypatch.setenv("PATH", "/some/bin")
        environment = child_environment({"PATH": "/other", "HTTP_PROXY": "http://proxy", "GOGC": "50"})

        assert (environment["PATH"], environment["HTTP_PROXY"], environment["GOGC"]) == ("/other", "http://proxy", "50")
