"""What the quickstart does when it is started, and what it leaves behind."""

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
    """Start it up to the point where it has read its settings, and show them."""
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


def test_it_writes_nothing_to_the_folder_that_it_is_started_in(quickstart: Quickstart) -> None:
    """It may be a checkout that cannot be written to."""
    assert list(quickstart.started_in.iterdir()) == []


def test_its_files_are_in_one_folder_for_its_user_alone(quickstart: Quickstart) -> None:
    """They hold the cookie secret and users' notebooks."""
    [folder] = (quickstart.home / ".local" / "state").iterdir()

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [file.name for file in quickstart.home.iterdir()] == [".local"]


async def test_who_is_logged_in_still_is_when_it_is_started_again(own_quickstart: Quickstart) -> None:
    """A second start finds the database and the cookie secret of the first."""
    async with contextlib.aclosing(Person(own_quickstart.url, "alice")) as person:
        await person.log_in(then="/hub/home")

        own_quickstart.stop()
        own_quickstart.start()

        page = await person.open("/hub/home")
    assert (page.code, urlsplit(page.effective_url).path) == (HTTPStatus.OK, "/hub/home")


def test_it_says_that_whoever_can_use_the_machine_is_let_in(quickstart: Quickstart) -> None:
    """Loopback is for all users of a machine."""
    assert "EVERYBODY WHO CAN USE THIS MACHINE" in quickstart.output
    assert "DANGER" not in quickstart.output


@pytest.mark.parametrize("address", ["--JupyterHub.bind_url=http://0.0.0.0:8000", "--url=http://:8000", "--ip=0.0.0.0"])
def test_an_address_that_others_can_reach_is_called_a_danger(tmp_path: Path, address: str) -> None:
    """Anybody is let in without a password, so it had better be meant."""
    assert "DANGER" in _start(tmp_path / "home", address).stderr


def test_another_port_alone_leaves_it_on_loopback(tmp_path: Path) -> None:
    """JupyterHub itself would listen on all addresses then."""
    said = _start(tmp_path / "home", "--port=9000")

    assert ".ip = '127.0.0.1'" in said.stdout
    assert "DANGER" not in said.stderr


def test_it_says_what_to_do_where_it_cannot_write(tmp_path: Path) -> None:
    """A home that cannot be written to is named, with the variable that moves the files."""
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / ".local").touch()

    ended = _start(tmp_path / "home")

    assert ended.returncode != 0
    assert "XDG_STATE_HOME" in ended.stderr
    assert "Traceback" not in ended.stderr
