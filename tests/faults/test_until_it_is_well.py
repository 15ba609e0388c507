"""A disk that is full for a while, and permissions that are taken for a while: what happens then, and when it is over."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.backend import get
from support.commanded_hub import CommandedHub
from support.fixtures import BackendMaker
from support.inside import traefik_pid
from support.waiting import eventually

_SOON = 10.0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with little space."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k,mode=700", "none", str(disk)], capture_output=True, text=True
    )
    if mount.returncode:
        pytest.skip(f"nothing can be mounted here: {mount.stderr.strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def fill(disk: Path) -> None:
    """Use up all the space."""
    with (disk / "ballast").open("ab", buffering=0) as ballast, contextlib.suppress(OSError):
        while True:
            ballast.write(b"x" * 4096)


async def is_served(url: str, path: str) -> bool:
    """Whether that server answers."""
    try:
        return (await get(url, path)).by == "ada"
    except OSError:
        return False


def counts(hub: CommandedHub, *parts: str) -> list[int]:
    """Return how many lines of the log have each part."""
    return [sum(part in line for line in hub.lines) for part in parts]


async def test_all_is_well_when_a_full_disk_has_space_again(
    disk: Path, traits: dict[str, Any], make_backend: BackendMaker, tmp_path: Path
) -> None:
    """Even if the file is deleted and Traefik is killed meanwhile. Each problem is logged once, and its end."""
    ada, url = await make_backend("ada"), traits["public_url"]
    state = disk / "state"
    async with CommandedHub.started(traits | {"state_dir": str(state)}, tmp_path / "log") as hub:
        assert await hub.add("/user/ada/", ada.url) == ""
        fill(disk)
        assert "No space left on device" in await hub.add("/user/bob/", ada.url)
        assert await is_served(url, "/user/ada/")
        (state / "dynamic.toml").unlink()
        fill(disk)
        await eventually(lambda: counts(hub, "ERROR The routes could not be written again") == [1], within=_SOON)
        pid = traefik_pid(state)
        os.kill(pid, signal.SIGKILL)
        await eventually(lambda: counts(hub, "has exited", "started again") == [1, 1], within=_SOON)
        (disk / "ballast").unlink()
        await eventually(lambda: is_served(url, "/user/ada/"), within=_SOON)
        await eventually(lambda: traefik_pid(state) != pid, within=_SOON)

        assert await hub.add("/user/bob/", ada.url) == ""
        assert await is_served(url, "/user/bob/")
        await eventually(lambda: counts(hub, "INFO", "is as it should be again")[1] == 1, within=_SOON)
        assert counts(hub, "dynamic.toml was deleted", "could not be written again", "state is full") == [1, 1, 0]


@pytest.mark.parametrize("mode", [0o000, 0o500])
async def test_all_is_well_when_permissions_are_given_back(
    traits: dict[str, Any], make_backend: BackendMaker, tmp_path: Path, mode: int
) -> None:
    """Meanwhile, users reach their servers, and changes fail with an error that names the folder.

    The log says once what cannot be looked at, if anything, and has no traceback.
    """
    ada, url, state = await make_backend("ada"), traits["public_url"], tmp_path / "state"
    async with CommandedHub.started(traits, tmp_path / "log") as hub:
        assert await hub.add("/user/ada/", ada.url) == ""
        state.chmod(mode)
        error = await hub.add("/user/bob/", ada.url)
        assert "Permission denied" in error
        assert str(state) in error
        assert await is_served(url, "/user/ada/")
        closed = int(mode == 0)
        await eventually(lambda: counts(hub, f"{state} cannot be examined") == [closed], within=_SOON)
        state.chmod(0o700)

        assert await hub.add("/user/bob/", ada.url) == ""
        assert await is_served(url, "/user/bob/")
        await eventually(lambda: counts(hub, "are as they should be again") == [closed], within=_SOON)
        assert counts(hub, "cannot be made again", "Traceback", "unexpectedly") == [closed, 0, 0]


async def test_a_file_that_was_deleted_without_permissions_to_write_it_again(
    traits: dict[str, Any], make_backend: BackendMaker, tmp_path: Path
) -> None:
    """It is written as soon as that is possible; the log has one line for each."""
    ada, url, state = await make_backend("ada"), traits["public_url"], tmp_path / "state"
    async with CommandedHub.started(traits, tmp_path / "log") as hub:
        assert await hub.add("/user/ada/", ada.url) == ""
        (state / "dynamic.toml").unlink()
        state.chmod(0o500)
        (state / "dynamic.toml.tmp").chmod(0o500)
        await eventually(lambda: counts(hub, "ERROR The routes could not be written again") == [1], within=_SOON)
        (state / "dynamic.toml.tmp").chmod(0o700)
        state.chmod(0o700)
        await eventually((state / "dynamic.toml").exists, within=_SOON)
        await eventually(lambda: counts(hub, "is as it should be again") == [1], within=_SOON)

        assert await is_served(url, "/user/ada/")
        assert counts(hub, "dynamic.toml was deleted", "could not be written again") == [1, 1]
