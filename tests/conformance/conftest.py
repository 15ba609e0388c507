"""Cases of the suite share a proxy, so leftover processes are looked for only after the last case of a class."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from traefik_toml_proxy.conformance.processes import own_processes


@pytest.fixture(autouse=True)
def nothing_is_left() -> None:
    """Override the fixture of the same name, which checks after each test."""


@pytest.fixture(autouse=True, scope="class")
def nothing_is_left_after_all() -> Iterator[None]:
    """Fail the last test of a class that leaves a process behind."""
    before = own_processes()
    yield
    left = own_processes() - before
    assert not left, f"left running: {left}"
