"""The cases as pytest tests: subclass :class:`ProxyConformance` and give it a fixture ``subject``. Does I/O through them."""

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
    """Runs cases in an event loop of its own, which the proxy under test lives in from the first case to the last."""

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
    """End what a proxy has left running in this loop, as ``asyncio.run`` does."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


class ProxyConformance:
    """One test for each case.

    A subclass whose name begins with ``Test`` has a fixture ``subject`` that returns a
    :class:`~traefik_toml_proxy.conformance.Subject`. Its scope is the class, or wider: one proxy goes from case to case.
    With parameters there is one for each::

        class TestMyProxy(ProxyConformance):
            @pytest.fixture(scope="class", params=[{}, {"MyProxy": {"trait": "value"}}])
            @classmethod
            def subject(cls, request):
                return StartedByHub("my_package:MyProxy", request.param)

    A case that the proxy does not offer is skipped, with the reason.
    """

    #: The cases to run; a subclass may choose.
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
        """Make one test of each case, those that share a proxy one after the other."""
        if "case" in metafunc.fixturenames:
            ordered = sorted(self.cases, key=lambda case: (case.fresh, repr(case.options)))
            metafunc.parametrize("case", ordered, ids=[case.id for case in ordered])
