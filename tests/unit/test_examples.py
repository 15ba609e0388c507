"""examples/: each folder says what it is for, and a test runs each of its files."""

from __future__ import annotations

from pathlib import Path

import docutils.core
import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = sorted(folder for folder in ROOT.joinpath("examples").iterdir() if folder.is_dir())
TESTS = {file: file.read_text("utf-8") for file in ROOT.glob("tests/**/*.py") if file != Path(__file__)}


def _files(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file() and file.name != "README.rst" and _is_text(file)]


def _is_text(file: Path) -> bool:
    return "__pycache__" not in file.parts


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_folder_says_what_it_is_for(folder: Path) -> None:
    """In a short README without a warning, which names each of its files."""
    text = folder.joinpath("README.rst").read_text("utf-8")
    settings = {"report_level": 2, "halt_level": 2, "_disable_config": True}
    docutils.core.publish_doctree(text, settings_overrides=settings)

    assert len(text.splitlines()) <= 60
    assert [file.name for file in _files(folder) if file.name not in text] == []


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_each_file_is_run_by_a_test(folder: Path) -> None:
    """It names the file: support/examples.py installs it as it is, with other paths and ports."""
    names = [file.relative_to(folder.parent).as_posix() for file in _files(folder)]

    assert [name for name in names if not any(f'"{name}"' in text for text in TESTS.values())] == []


def test_the_documentation_lists_all_folders() -> None:
    """Each with what it is for."""
    page = ROOT.joinpath("docs/how-to/examples.rst").read_text("utf-8")

    assert [folder.name for folder in FOLDERS if f"``examples/{folder.name}``\n     - " not in page] == []
