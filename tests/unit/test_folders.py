"""traefik_toml_proxy.folders: a folder that is replaced by another one is noticed, and one that is gone is made again."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.other_user import GROUP

from traefik_toml_proxy.folders import HeldFolder


@pytest.fixture
def held(tmp_path: Path) -> Iterator[HeldFolder]:
    """A folder that is there."""
    (tmp_path / "state").mkdir(mode=0o750)
    held = HeldFolder(tmp_path / "state")
    held.hold()
    yield held
    held.release()


def replace(folder: Path) -> None:
    """Delete it and make it again; file systems like to use the same inode again."""
    shutil.rmtree(folder)
    folder.mkdir()


def move(folder: Path) -> None:
    folder.rename(folder.with_name("old"))
    folder.mkdir()


@pytest.mark.parametrize("harm", [replace, move])
def test_each_replacement_is_counted_once(held: HeldFolder, harm: Callable[[Path], None]) -> None:
    """However often it is looked at."""
    for number in (1, 2):
        harm(held.path)
        held.look()
        held.look()
        assert held.moves == number
        shutil.rmtree(held.path.with_name("old"), ignore_errors=True)


def test_what_goes_on_inside_is_no_move(held: HeldFolder) -> None:
    """Nor is another mode."""
    (held.path / "file").touch()
    held.path.chmod(0o700)
    held.look()

    assert held.moves == 0


def another_group() -> int:
    """Return a group that a new folder does not get by itself, but that this process may give it."""
    others = [GROUP] if os.geteuid() == 0 else [group for group in os.getgroups() if group != os.getegid()]
    if not others:
        pytest.skip("this user has only one group")
    return others[0]


def test_one_that_is_gone_is_made_again_for_the_same_users(held: HeldFolder) -> None:
    """With its mode and group, and with the folders above."""
    os.chown(held.path, -1, another_group())
    before = held.path.stat()
    shutil.rmtree(held.path)
    with pytest.raises(FileNotFoundError):
        held.look()
    held.restore()
    after = held.path.stat()

    assert (held.moves, stat.S_IMODE(after.st_mode), after.st_gid) == (1, 0o750, before.st_gid)


def test_the_folders_above_one_that_is_made_again_let_its_group_in(tmp_path: Path) -> None:
    """Also with a umask that would not."""
    held = HeldFolder(tmp_path / "above" / "state")
    held.path.mkdir(parents=True)
    os.chown(held.path, -1, another_group())
    held.path.chmod(0o750)
    held.hold()
    before = held.path.stat()
    shutil.rmtree(held.path.parent)
    umask = os.umask(0o077)
    held.restore()
    os.umask(umask)
    held.release()

    above = held.path.parent.stat()
    assert (stat.S_IMODE(above.st_mode), above.st_gid) == (0o710, before.st_gid)
    assert stat.S_IMODE(held.path.stat().st_mode) == 0o750


def test_a_folder_that_is_not_held_is_left_alone(tmp_path: Path) -> None:
    """Also after it has been released, twice."""
    held = HeldFolder(tmp_path / "state")
    held.restore()
    held.path.mkdir()
    held.hold()
    held.release()
    held.release()
    replace(held.path)
    held.look()

    assert held.moves == 0
