"""The cases as pytest tests: subclass :class:`ProxyConformance`, with a fixture ``subject``. Does I/O through the cases."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import ClassVar

import pytest

from .case import Case
from .cases import CASES
from .outcome import Outcome, Result
from .runner import Session
from .subject import Subject


class Runner:
    """Runs cases in an event loop of its own, in which the proxy under test stays from the first case to the last."""

    def __init__(self, subject: Subject) -> None:
        self._loop = asyncio.new_event_loop()
        self._session = Session(subject)

    def run(self, case: Case) -> Outcome:
        """Run one case."""
        return self._loop.run_until_complete(self._session.run(case))

    def close(self) -> None:
        """Stop the proxy."""
        try:
            self._loop.run_until_complete(self._session.close())
            self._loop.run_until_complete(_cancel_all())
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
        finally:
            self._loop.close()


async def _cancel_all() -> None:
    """Cancel what a proxy has left running in this loop, as ``asyncio.run`` does."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


class ProxyConformance:
    """One test for each case.

    Subclass it under a name that starts with ``Test``, with a fixture ``subject`` that returns a
    :class:`~traefik_toml_proxy.conformance.Subject`. The fixture's scope must be the class or wider, since cases share a
    proxy. With parameters, the cases run once for each of them::

        class TestMyProxy(ProxyConformance):
            @pytest.fixture(scope="class", params=[{}, {"MyProxy": {"trait": "value"}}])
            @classmethod
            def subject(cls, request):
                return StartedByHub("my_package:MyProxy", request.param)

    A case that is about something the proxy does not offer is skipped, with the reason.
    """

    #: The cases to run; a subclass may select some of them.
    cases: ClassVar[tuple[Case, ...]] = CASES

    @pytest.fixture(scope="class")
    @classmethod
    def conformance_runner(cls, subject: Subject) -> Iterator[Runner]:
        """Keep the proxy from the first case to the last."""
        runner = Runner(subject)
        yield runner
        runner.close()

    def test_case(self, conformance_runner: Runner, case: Case) -> None:
        """Run one case."""
        outcome = conformance_runner.run(case)
        if outcome.result is Result.NOT_OFFERED:
            pytest.skip(f"not offered: {outcome.reason}")
        if outcome.result is Result.FAILED:
            pytest.fail(f"{case.rule}\nSeen: {outcome.reason}\nSource: {case.source}", pytrace=False)

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Make a test of each case, with those that share a proxy one after another."""
        if "case" in metafunc.fixturenames:
            ordered = sorted(self.cases, key=lambda case: (case.fresh, repr(case.options)))
            metafunc.parametrize("case", ordered, ids=[case.id for case in ordered])
