"""look_at_group: whether the group of a Traefik that others run can read the file with the routes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.other_user import GROUP, needs_root, open_folder

from traefik_toml_proxy.findings import Finding, Verdict
from traefik_toml_proxy.runtime import looks
from traefik_toml_proxy.runtime.looks import look_at_group

pytestmark = needs_root


@pytest.fixture
def file() -> Iterator[Path]:
    """The path of the file, in a folder that the group may read."""
    with open_folder() as folder:
        (folder / "hub").mkdir(mode=0o755)
        (folder / "hub" / "routes").mkdir(mode=0o750)
        os.chown(folder / "hub" / "routes", -1, GROUP)
        yield folder / "hub" / "routes" / "r.toml"


def look(file: Path, watched: Path | None = None) -> Finding:
    """Return the one finding."""
    [found] = look_at_group(GROUP, "traefik", file, watched or file.parent)
    return found


def test_a_group_that_may_read_its_folder_is_fine(file: Path) -> None:
    """The file is yet to be written; so may be the folder, which will be for the group."""
    assert look(file).verdict is Verdict.FINE
    assert look(file.parent / "more" / "r.toml").verdict is Verdict.FINE


@pytest.mark.parametrize(
    ("folder", "mode", "words"),
    [
        ("hub", 0o700, "may not enter"),
        ("hub", 0o754, "may not enter"),
        ("hub/routes", 0o710, "may not read"),
        ("hub/routes", 0o740, "may not read"),
    ],
)
def test_a_folder_that_keeps_it_out_is_named(file: Path, folder: str, mode: int, words: str) -> None:
    """With the line that mends it."""
    closed = file.parents[2] / folder
    closed.chmod(mode)
    found = look(file)

    assert found.verdict is Verdict.WRONG
    assert f"The group 'traefik' {words} {closed}" in found.text
    assert f"chgrp traefik {closed} && chmod g+" in found.mend


def test_the_folder_that_is_watched_must_be_readable_as_well(file: Path) -> None:
    """To others, it is enough to enter the folders around the file."""
    file.parents[1].chmod(0o711)
    assert look(file).verdict is Verdict.FINE
    assert f"may not read {file.parents[1]}" in look(file, file.parents[1]).text


def test_who_is_not_in_the_group_cannot_give_it_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the words of the start, unless the file gets the group of its folder."""
    monkeypatch.setattr(looks, "may_give", lambda _: False)
    found = look(file)
    assert f"cannot be given to the group {GROUP}, because the user of this process is not in that group" in found.text
    assert "usermod --append --groups traefik " in found.mend

    file.parent.chmod(0o2750)
    assert look(file).verdict is Verdict.FINE


def test_what_an_acl_gives_is_not_denied(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who reads the folder by an ACL is not seen in its mode."""
    file.parent.chmod(0o700)
    monkeypatch.setattr(os, "listxattr", lambda _: ["system.posix_acl_access"])

    assert look(file).verdict is Verdict.FINE
