"""Fixtures that run the quickstart."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from e2e.quickstart import Quickstart


@contextlib.contextmanager
def running(quickstart: Quickstart) -> Iterator[Quickstart]:
    """Run the quickstart; it must log no error and leave no process behind."""
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
    """A running quickstart, shared by the tests of a module."""
    with running(Quickstart(tmp_path_factory.mktemp("quickstart"))) as quickstart:
        yield quickstart


@pytest.fixture
def own_quickstart(tmp_path: Path) -> Iterator[Quickstart]:
    """A running quickstart for one test, which may stop and start it."""
    with running(Quickstart(tmp_path)) as quickstart:
        yield quickstart


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the quickstart's output to the report of a failed test."""
    report = yield
    if report.failed and call.when == "call":
        for used in getattr(item, "funcargs", {}).values():
            if isinstance(used, Quickstart):
                report.sections.append(("The quickstart's output", used.output))
    return report
