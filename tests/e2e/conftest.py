"""The Hub that end-to-end tests use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.hub import RunningHub, running_hub


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[RunningHub]:
    """The quickstart example, running; it must end without an error and without leaving anything."""
    with running_hub(tmp_path) as running:
        yield running
