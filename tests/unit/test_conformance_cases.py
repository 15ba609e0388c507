"""conformance.cases: what all cases have in common, without running them."""

from __future__ import annotations

import re

import pytest

from traefik_toml_proxy.conformance import CASES, Case, Level


def test_ids_are_unique() -> None:
    """A case is identified by its id in results and tables."""
    assert len({case.id for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_case_has_a_well_formed_id_a_rule_and_a_source(case: Case) -> None:
    """The id starts with its group, the rule is one sentence, and the source can be looked up."""
    assert re.fullmatch(r"[a-z]+\.[a-z0-9.-]+", case.id)
    assert re.fullmatch(r"[A-Z0-9`].*[a-z0-9`]\.", case.rule)
    assert ". " not in case.rule.replace("``.``", "")
    assert len(case.source) > 10


@pytest.mark.parametrize("level", Level)
def test_there_are_cases_of_each_level(level: Level) -> None:
    """For what JupyterHub needs, what users rely on, and what is good to have."""
    assert len([case for case in CASES if case.level is level]) > 10


def test_only_cases_beyond_are_sensitive() -> None:
    """Failures of required and expected cases are always published."""
    assert {case.level for case in CASES if case.sensitive} == {Level.BEYOND}
