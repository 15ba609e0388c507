"""Fixtures for tests that run the quickstart as a person would."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from e2e.quickstart import Quickstart


@contextlib.contextmanager
def _running(folder: Path) -> Iterator[Quickstart]:
    """The quickstart, running. It leaves no process behind, and tells of no error."""
    quickstart = Quickstart(folder)
    try:
        quickstart.start()
        yield quickstart
        quickstart.stop()
        assert not quickstart.trouble
    except BaseException:
        print(quickstart.output)
        raise
    finally:
        quickstart.kill()


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Quickstart]:
    """The quickstart, running; shared by the tests of a module."""
    with _running(tmp_path_factory.mktemp("quickstart")) as quickstart:
        yield quickstart


@pytest.fixture
def own_quickstart(tmp_path: Path) -> Iterator[Quickstart]:
    """The quickstart, running, for one test alone, which may stop it and start it again."""
    with _running(tmp_path) as quickstart:
        yield quickstart


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the quickstart has said beside the test that failed."""
    report = yield
    if report.failed and call.when == "call":
        for used in getattr(item, "funcargs", {}).values():
            if isinstance(used, Quickstart):
                report.sections.append(("The quickstart's output", used.output))
    return report
