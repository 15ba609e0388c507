"""Cases of the conformance suite: their table, how one is written down, and how it fails."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from traefik_toml_proxy.conformance import CASES, Failed, Level
from traefik_toml_proxy.conformance.case import Group, expect, expect_equal


def test_a_case_is_a_coroutine_with_its_rule_as_docstring() -> None:
    """Its id is made of its group and its name; line breaks in the docstring do not matter."""
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
    """Results are told by id."""
    counts = Counter(case.id for case in CASES)

    assert counts.most_common(1)[0][1] == 1


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_case_says_what_a_proxy_must_do_and_who_says_so(case: Any) -> None:
    """A rule is a sentence; its source is not left out; no case waits for ever."""
    assert case.rule.endswith(".")
    assert case.source
    assert 0 < case.seconds <= 120


def test_what_is_as_wanted_goes_on() -> None:
    """Nothing happens."""
    expect([1], "no list")
    expect_equal(1, 1, "the number")


def test_what_is_not_as_wanted_fails_with_what_was_seen() -> None:
    """A message is for somebody who has not read the case."""
    with pytest.raises(Failed, match=r"^there is no list$"):
        expect([], "there is no list")
    with pytest.raises(Failed, match=r"^the name: '\\xfc' instead of 'u'$"):
        expect_equal("ü", "u", "the name")


def test_a_long_value_is_cut_in_a_message() -> None:
    """Nobody reads a megabyte."""
    with pytest.raises(Failed) as failed:
        expect_equal("x" * 1_000, "", "the body")

    assert str(failed.value) == f"the body: '{'x' * 199}… (1002 characters) instead of ''"
