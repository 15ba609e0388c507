"""conformance.case: how a case is defined, and how it fails."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from traefik_toml_proxy.conformance import CASES, Failed, Level
from traefik_toml_proxy.conformance.case import Group, expect, expect_equal


def test_a_case_is_a_coroutine_whose_docstring_is_the_rule() -> None:
    """Its id is made of its group and its name. Line breaks in the docstring do not matter."""
    group = Group("things")

    @group.case("work", Level.EXPECTED, "RFC 1", seconds=5)
    async def _work(_: Any) -> None:
        """Things
        work.
        """

    [case] = group.cases

    assert (case.id, case.level, case.rule, case.source) == ("things.work", Level.EXPECTED, "Things work.", "RFC 1")
    assert (case.run, case.seconds, case.fresh) == (_work, 5, False)


def test_ids_are_unique() -> None:
    """Results are identified by them."""
    counts = Counter(case.id for case in CASES)

    assert counts.most_common(1)[0][1] == 1


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_case_has_a_rule_and_a_source(case: Any) -> None:
    """A rule is a sentence, and no case waits for ever."""
    assert case.rule.endswith(".")
    assert case.source
    assert 0 < case.seconds <= 120


def test_a_true_condition_and_equal_values_pass() -> None:
    expect([1], "no list")
    expect_equal(1, 1, "the number")


def test_a_failure_says_what_was_seen() -> None:
    """Its message is for somebody who has not read the case."""
    with pytest.raises(Failed, match=r"^there is no list$"):
        expect([], "there is no list")
    with pytest.raises(Failed, match=r"^the name: '\\xfc' instead of 'u'$"):
        expect_equal("ü", "u", "the name")


def test_a_long_value_is_cut_in_a_message() -> None:
    """Nobody would read a megabyte."""
    with pytest.raises(Failed) as failed:
        expect_equal("x" * 1_000, "", "the body")

    assert str(failed.value) == f"the body: '{'x' * 199}… (1002 characters) instead of ''"
