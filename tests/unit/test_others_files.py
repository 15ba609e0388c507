"""Seeing files as another process does: by its own root, its working directory, and the permissions of its user."""

from __future__ import annotations

import asyncio
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.apart import in_namespaces
from support.other_user import GROUP, USER, needs_root
from support.waiting import eventually

from traefik_toml_proxy.runtime.others_files import FilesOf, permitted


@contextmanager
def waiting(*before: str, **how: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process that waits."""
    process = subprocess.Popen([*before, "sleep", "30"], **how)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_process_beside_this_one_sees_the_same_files(tmp_path: Path) -> None:
    """Relative paths begin in its own folder, and links are followed."""
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    with waiting(cwd=tmp_path) as process:
        files = FilesOf(process.pid)

        assert (files.differ, files.hidden) == (False, False)
        assert files.path("file").samefile(tmp_path / "file")
        assert files.around("link", tmp_path / "file") == tmp_path / "file"
        assert files.around("..", tmp_path / "file") == tmp_path.parent
        assert files.around("nothing", tmp_path / "file") is None
        assert files.absolute("link") == str(tmp_path / "file")


def test_a_process_that_has_ended_has_none(tmp_path: Path) -> None:
    files = FilesOf(2**22 + 1)

    assert (files.differ, files.hidden, files.may_read(str(tmp_path))) == (False, False, None)
    assert files.absolute("a") == "a"


def test_a_folder_that_may_not_be_looked_into_is_not_guessed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Absolute paths are the same for both, unless it is in a container."""
    monkeypatch.setattr(os, "access", lambda *_: False)
    (tmp_path / "file").touch()
    with waiting(cwd=tmp_path) as process:
        files = FilesOf(process.pid)

        assert files.path(str(tmp_path)) == tmp_path
        assert files.around("file", tmp_path / "file") is None
        with pytest.raises(PermissionError):
            files.path("file")


async def test_everybody_can_tell_who_is_in_a_container(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the ids of the process, if it has some of its own."""
    monkeypatch.setattr(os, "access", lambda *_: False)
    with waiting(*in_namespaces("true", "--pid", "--fork", "--kill-child")) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        [child] = await eventually(lambda: children.read_text().split())
        outer, inner = [await asyncio.to_thread(FilesOf, int(pid)) for pid in (process.pid, child)]

        assert (outer.hidden, inner.hidden) == (False, True)
        with pytest.raises(PermissionError):
            inner.path("/etc")


@needs_root
def test_all_folders_around_the_file_must_let_its_user_in() -> None:
    """The file's own folder may be open, and the one around it not."""
    with tempfile.TemporaryDirectory() as made:
        outer = Path(made)
        outer.chmod(0o755)
        (outer / "hubs" / "one").mkdir(parents=True)
        file = outer / "hubs" / "one" / "r.toml"
        file.touch(mode=0o644)
        with waiting(user=USER, group=GROUP, extra_groups=[]) as process:
            assert FilesOf(process.pid).may_read(str(file)) is True
            (outer / "hubs").chmod(0o700)
            assert FilesOf(process.pid).may_read(str(file)) is False
            os.chown(outer / "hubs", -1, GROUP)
            (outer / "hubs").chmod(0o710)
            assert FilesOf(process.pid).may_read(str(file)) is True


@pytest.mark.parametrize(
    ("mode", "owner", "group", "expected"),
    [
        (0o600, 1000, 1000, True),
        (0o600, 1, 1000, False),
        (0o640, 1, 1000, True),
        (0o640, 1, 1, False),
        (0o604, 1, 1, True),
    ],
)
def test_permissions(mode: int, owner: int, group: int, expected: bool) -> None:
    """Of the owner, the group, or all others, the first that fits decides."""
    status = os.stat_result((0o100000 | mode, 0, 0, 1, owner, group, 0, 0, 0, 0))

    assert permitted(status, 0o4, 1000, {1000}) == expected
