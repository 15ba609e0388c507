"""Starting the quickstart: its files, its messages, its addresses."""

from __future__ import annotations

import contextlib
import stat
import subprocess
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from e2e.person import Person
from e2e.quickstart import Quickstart, command, environment


def _start(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Let it read its configuration and print it."""
    home.mkdir(exist_ok=True)
    return subprocess.run(
        command(*arguments, "--show-config"),
        cwd=home,
        env=environment(home),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_it_writes_nothing_to_its_working_directory(quickstart: Quickstart) -> None:
    """That may be a read-only checkout."""
    assert list(quickstart.started_in.iterdir()) == []


def test_its_files_are_in_one_private_folder(quickstart: Quickstart) -> None:
    """They include the cookie secret and users' notebooks."""
    [folder] = (quickstart.home / ".local" / "state").iterdir()

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [file.name for file in quickstart.home.iterdir()] == [".local"]


async def test_users_stay_logged_in_after_a_restart(own_quickstart: Quickstart) -> None:
    """The second start finds the database and the cookie secret of the first."""
    async with contextlib.aclosing(Person(own_quickstart.url, "alice")) as person:
        await person.log_in(then="/hub/home")

        own_quickstart.stop()
        own_quickstart.start()

        page = await person.open("/hub/home")
    assert (page.code, urlsplit(page.effective_url).path) == (HTTPStatus.OK, "/hub/home")


def test_it_warns_that_every_user_of_the_machine_can_log_in(quickstart: Quickstart) -> None:
    """All users of a machine can connect to loopback."""
    assert "EVERYBODY WHO CAN USE THIS MACHINE" in quickstart.output
    assert "DANGER" not in quickstart.output


@pytest.mark.parametrize("address", ["--JupyterHub.bind_url=http://0.0.0.0:8000", "--url=http://:8000", "--ip=0.0.0.0"])
def test_it_warns_about_an_address_that_others_can_reach(tmp_path: Path, address: str) -> None:
    """Anybody can log in without a password."""
    assert "DANGER" in _start(tmp_path / "home", address).stderr


def test_with_another_port_it_stays_on_loopback(tmp_path: Path) -> None:
    """By default, JupyterHub would listen on all addresses."""
    said = _start(tmp_path / "home", "--port=9000")

    assert ".ip = '127.0.0.1'" in said.stdout
    assert "DANGER" not in said.stderr


def test_it_says_what_to_do_if_it_cannot_write(tmp_path: Path) -> None:
    """The error names the variable that moves the files."""
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / ".local").touch()

    ended = _start(tmp_path / "home")

    assert ended.returncode != 0
    assert "XDG_STATE_HOME" in ended.stderr
    assert "Traceback" not in ended.stderr
