"""The cases of the conformance suite, looked at without running them."""

from __future__ import annotations

import re

import pytest

from traefik_toml_proxy.conformance import CASES, Case, Level


def test_ids_are_unique() -> None:
    """A case is known by its id, in results and in tables."""
    assert len({case.id for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_case_says_what_a_proxy_must_do_and_why(case: Case) -> None:
    """An id that can be chosen by its group, one sentence, and a source that somebody can look up."""
    assert re.fullmatch(r"[a-z]+\.[a-z0-9.-]+", case.id)
    assert re.fullmatch(r"[A-Z0-9`].*[a-z0-9`]\.", case.rule)
    assert ". " not in case.rule.replace("``.``", "")
    assert len(case.source) > 10


@pytest.mark.parametrize("level", Level)
def test_there_are_cases_of_each_level(level: Level) -> None:
    """What JupyterHub needs, what users rely on, and what is good to have."""
    assert len([case for case in CASES if case.level is level]) > 10


def test_required_cases_are_no_secret() -> None:
    """Who fails one hears of it: only what is beyond touches the security of others."""
    assert {case.level for case in CASES if case.sensitive} == {Level.BEYOND}
