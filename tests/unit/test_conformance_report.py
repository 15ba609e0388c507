"""Outcomes of the conformance suite, as text and JSON."""

from __future__ import annotations

import docutils.core

from traefik_toml_proxy.conformance.case import Case, Level
from traefik_toml_proxy.conformance.outcome import Outcome, Result
from traefik_toml_proxy.conformance.report import Results, as_json, comparison, line, summary


async def _nothing(_: object) -> None:
    """Try nothing."""


def outcome(
    name: str, result: Result, *, level: Level = Level.REQUIRED, sensitive: bool = False, reason: str = ""
) -> Outcome:
    """Return the outcome of a case of that name."""
    case = Case(name, level, f"Rule of {name}.", f"source of {name}", _nothing, sensitive=sensitive)
    return Outcome(case, result, reason, 1.5)


PASSED = outcome("api.one", Result.PASSED)
FAILED = outcome("api.two", Result.FAILED, level=Level.EXPECTED, reason="seen\n  this")
LACKING = outcome("tls.one", Result.NOT_OFFERED, level=Level.EXPECTED, reason="none")
SECRET = outcome("names.secret", Result.FAILED, level=Level.BEYOND, sensitive=True, reason="a way in")


def test_a_line_tells_what_was_seen() -> None:
    """One line for each outcome, also where the reason has several."""
    assert line(FAILED) == f"FAILED      expected api.two{' ' * 25}   1.50 s  seen this"
    assert line(PASSED).endswith("1.50 s")


def test_a_long_reason_is_cut() -> None:
    """The whole of it is in the JSON."""
    long = outcome("api.long", Result.FAILED, reason="x" * 1000)

    assert len(line(long)) < 300
    assert as_json(Results("proxy", "1", [long]))["cases"][0]["reason"] == "x" * 1000


def test_a_summary_counts_and_explains() -> None:
    """How many of each level, and for what has failed the rule, what was seen, and the source."""
    text = summary(Results("proxy", "1.2", [PASSED, FAILED, LACKING]))

    assert text.splitlines() == [
        "proxy 1.2",
        "  required  1 passed, 0 failed, 0 not offered",
        "  expected  0 passed, 1 failed, 1 not offered",
        "  beyond    0 passed, 0 failed, 0 not offered",
        "  api.two (expected): Rule of api.two.",
        "      seen: seen this",
        "      source: source of api.two",
    ]


def test_what_is_not_offered_has_not_passed_and_not_failed() -> None:
    """A proxy conforms without it, and a failure beyond what is expected costs it nothing."""
    assert Results("a", "1", [PASSED, LACKING, SECRET]).conforms
    assert not Results("a", "1", [PASSED, FAILED]).conforms


def test_the_security_of_others_is_not_for_a_public_table() -> None:
    """What is sensitive is shown for one's own proxy alone."""
    own = Results("ours", "1", [PASSED, SECRET])
    other = Results("theirs", "2", [PASSED, SECRET], own=False)

    assert "names.secret" in summary(own)
    assert "names.secret" not in summary(other)
    assert [case["id"] for case in as_json(other)["cases"]] == ["api.one"]
    assert "theirs" not in comparison([own, other], date="2030-01-02").partition("names.secret")[2]


def test_a_comparison_is_a_table_with_a_column_for_each() -> None:
    """Counts by level and group, and a row for each case that somebody fails; well-formed reStructuredText."""
    first = Results("first", "1", [PASSED, outcome("api.two", Result.PASSED, level=Level.EXPECTED), LACKING])
    second = Results("second", "2", [PASSED, FAILED, outcome("tls.one", Result.PASSED, level=Level.EXPECTED)])
    text = comparison([first, second], date="2030-01-02")
    docutils.core.publish_doctree(
        text, settings_overrides={"report_level": 2, "halt_level": 2, "_disable_config": True}
    )

    assert "Made on 2030-01-02." in text
    assert "   * - **expected**\n     - 1 of 1, 1 not offered\n     - 1 of 2\n" in text
    assert "   * - api\n     - 2 of 2\n     - 1 of 2\n" in text
    assert "   * - ``api.two``\n     - expected\n     - Rule of api.two.\n     - second\n" in text


def test_a_comparison_without_failures_has_no_table_of_them() -> None:
    """An empty table would be no table."""
    assert "somebody fails" not in comparison([Results("first", "1", [PASSED])], date="2030-01-02")
