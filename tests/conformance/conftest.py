"""A proxy lives from one case of the suite to the next: what is left is looked for after the last one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from traefik_toml_proxy.conformance.processes import own_processes


@pytest.fixture(autouse=True)
def nothing_is_left() -> None:
    """Stand in for the guard of the same name, which looks after each test."""


@pytest.fixture(autouse=True, scope="class")
def nothing_is_left_after_all() -> Iterator[None]:
    """Fail the last test of a class that leaves a process behind."""
    before = own_processes()
    yield
    left = own_processes() - before
    assert not left, f"left running: {left}"
