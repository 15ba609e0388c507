"""Certificates that an agent has read or made by another process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.certificates import make_certificate

from traefik_toml_proxy.agent.certificates import PairFilesInChild, default_pair_in_child
from traefik_toml_proxy.errors import ConfigurationError
from traefik_toml_proxy.runtime.certificate import PairFiles, default_pair
from traefik_toml_proxy.runtime.pairs import UnusablePair


def test_the_pair_is_the_same(tmp_path: Path) -> None:
    made = make_certificate(tmp_path, "hub.example.org")
    files = PairFilesInChild(made.cert, made.key)

    assert files.pair(files.read()) == PairFiles(made.cert, made.key).pair(files.read())


def test_what_is_wrong_with_a_pair_is_said_in_the_same_words(tmp_path: Path) -> None:
    """Whatever bytes there are."""
    one, two = make_certificate(tmp_path, "one"), make_certificate(tmp_path, "two")
    files = PairFilesInChild(one.cert, two.key)
    with pytest.raises(UnusablePair, match="is not the key of the first certificate"):
        files.pair(files.read())
    with pytest.raises(UnusablePair, match="there is no certificate in"):
        files.pair((b"\xff\xfe\0", b""))


def test_the_default_pair_is_made_once(tmp_path: Path) -> None:
    made = default_pair_in_child(tmp_path)

    assert made == default_pair_in_child(tmp_path) == default_pair(tmp_path)
    with pytest.raises(ConfigurationError, match="could not be written"):
        default_pair_in_child(tmp_path / "missing" / "folder")


def test_a_process_that_fails_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    with pytest.raises(ConfigurationError, match="has failed"):
        default_pair_in_child(tmp_path)


def test_neither_key_nor_passphrase_is_an_argument(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others on the machine can read these."""
    made = make_certificate(tmp_path, "hub")
    seen = []
    run = subprocess.run

    def note(command: list[str], **more: object) -> object:
        seen.extend(command)
        return run(command, **more)  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess, "run", note)
    files = PairFilesInChild(made.cert, made.key, "pass-word")
    files.pair(files.read())

    assert seen == [sys.executable, "-m", "traefik_toml_proxy.agent.certificates"]
