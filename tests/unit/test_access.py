"""Files and folders are created for those who may read them, and for nobody else."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import pytest

from traefik_toml_proxy.access import create, make_folder, make_folder_like_its_parent, may_give

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can choose any group")

GROUP = 54322


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@needs_root
def test_a_file_is_open_to_the_group_only_when_it_has_it(tmp_path: Path) -> None:
    """Not for a moment can the group before read it."""
    seen: list[tuple[int, int]] = []
    real = os.fchmod

    def fchmod(descriptor: int, mode: int) -> None:
        status = os.fstat(descriptor)
        seen.append((status.st_gid, stat.S_IMODE(status.st_mode)))
        real(descriptor, mode)

    with mock.patch("os.fchmod", fchmod):
        os.close(create(tmp_path / "file", 0o640, GROUP))

    assert seen == [(GROUP, 0o600)]
    assert mode_of(tmp_path / "file") == 0o640


def test_the_group_of_the_process_needs_no_rights(tmp_path: Path) -> None:
    """Nothing is changed where nothing has to be."""
    with mock.patch("os.fchown", side_effect=AssertionError):
        os.close(create(tmp_path / "file", 0o640, tmp_path.stat().st_gid))


def test_a_group_that_is_not_the_user_s_own_is_a_clear_error(tmp_path: Path) -> None:
    """The error names the file and says why; nothing is left."""
    refused = PermissionError(errno.EPERM, "Operation not permitted")
    with (
        mock.patch("os.fchown", side_effect=refused),
        pytest.raises(PermissionError, match="is not in that group") as failure,
    ):
        create(tmp_path / "file", 0o640, GROUP)

    assert failure.value.filename == str(tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def umask() -> Iterator[Callable[[int], int]]:
    """Set the umask of this process for a test."""
    before = os.umask(0o077)
    yield os.umask
    os.umask(before)


@needs_root
def test_a_new_folder_is_for_the_owner_and_the_group(tmp_path: Path, umask: Callable[[int], int]) -> None:
    """Those above it are as the system makes them."""
    umask(0o022)
    make_folder(tmp_path / "a" / "b", GROUP)

    assert (mode_of(tmp_path / "a" / "b"), (tmp_path / "a" / "b").stat().st_gid) == (0o750, GROUP)
    assert (mode_of(tmp_path / "a"), (tmp_path / "a").stat().st_gid) == (0o755, tmp_path.stat().st_gid)


@needs_root
def test_the_group_may_enter_the_new_folders_above(tmp_path: Path, umask: Callable[[int], int]) -> None:
    """And not list them. Those that were there are somebody else's, and stay as they are."""
    umask(0o077)
    (tmp_path / "there").mkdir()
    make_folder(tmp_path / "there" / "a" / "b" / "c", GROUP)

    made = [tmp_path / "there" / name for name in (".", "a", "a/b", "a/b/c")]
    assert [mode_of(folder) for folder in made] == [0o700, 0o710, 0o710, 0o750]
    assert [folder.stat().st_gid == GROUP for folder in made] == [False, True, True, True]


def test_a_new_folder_above_without_a_group_is_as_the_system_makes_it(
    tmp_path: Path, umask: Callable[[int], int]
) -> None:
    umask(0o077)
    make_folder(tmp_path / "a" / "b")

    assert [mode_of(tmp_path / name) for name in ("a", "a/b")] == [0o700, 0o700]


def test_who_may_give_files_to_a_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """Root, and who is in it."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "getegid", lambda: 1001)
    monkeypatch.setattr(os, "getgroups", lambda: [1002])
    assert [may_give(group) for group in (0, 1000, 1001, 1002)] == [False, False, True, True]

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert may_give(1000)


def test_a_new_folder_without_a_group_is_private(tmp_path: Path) -> None:
    """And one that is there is left as it is, with a group as well."""
    make_folder(tmp_path / "a")
    make_folder(tmp_path / "a", GROUP)

    assert mode_of(tmp_path / "a") == 0o700
    assert (tmp_path / "a").stat().st_gid != GROUP


@needs_root
@pytest.mark.parametrize("parent", [0o700, 0o755])
def test_a_folder_of_ours_is_for_the_group_in_any_case(tmp_path: Path, parent: int) -> None:
    """Also one that an earlier Hub has made without it."""
    tmp_path.chmod(parent)
    make_folder_like_its_parent(tmp_path / "new.tmp")
    make_folder_like_its_parent(tmp_path / "new.tmp", GROUP)

    assert (mode_of(tmp_path / "new.tmp"), (tmp_path / "new.tmp").stat().st_gid) == (parent | 0o050, GROUP)


def test_a_folder_is_for_those_who_can_read_the_one_that_it_is_in(tmp_path: Path) -> None:
    """Others cannot write to it, and one that is there stays as it is."""
    tmp_path.chmod(0o775)
    make_folder_like_its_parent(tmp_path / "new")
    tmp_path.chmod(0o700)
    make_folder_like_its_parent(tmp_path / "new")

    assert mode_of(tmp_path / "new") == 0o755
