"""Another user, for tests that root runs."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

# Numbers that no user or group of the system has.
USER, GROUP = 54321, 54322

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a program as another user")


@contextlib.contextmanager
def open_folder() -> Iterator[Path]:
    """Make a folder that other users can reach, unlike pytest's tmp_path."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
