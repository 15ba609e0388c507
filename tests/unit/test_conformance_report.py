"""conformance.report: outcomes as text and JSON."""

from __future__ import annotations

import docutils.core

from traefik_toml_proxy.conformance.case import Case, Level
from traefik_toml_proxy.conformance.outcome import Outcome, Result
from traefik_toml_proxy.conformance.report import Results, as_json, comparison, line, summary


async def _nothing(_: object) -> None:
    """Test nothing."""


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


def test_a_line_says_what_was_seen() -> None:
    """An outcome is one line, even if its reason has several."""
    assert line(FAILED) == f"FAILED      expected api.two{' ' * 25}   1.50 s  seen this"
    assert line(PASSED).endswith("1.50 s")


def test_a_long_reason_is_cut() -> None:
    """The JSON has all of it."""
    long = outcome("api.long", Result.FAILED, reason="x" * 1000)

    assert len(line(long)) < 300
    assert as_json(Results("proxy", "1", [long]))["cases"][0]["reason"] == "x" * 1000


def test_a_summary_counts_and_explains() -> None:
    """It has the counts for each level, and the rule, the reason and the source of each failed case."""
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


def test_what_is_not_offered_has_neither_passed_nor_failed() -> None:
    """A proxy conforms without it, and so it does if only cases beyond fail."""
    assert Results("a", "1", [PASSED, LACKING, SECRET]).conforms
    assert not Results("a", "1", [PASSED, FAILED]).conforms


def test_security_problems_of_other_proxies_are_not_published() -> None:
    """Sensitive cases are shown for the reader's own proxy only."""
    own = Results("ours", "1", [PASSED, SECRET])
    other = Results("theirs", "2", [PASSED, SECRET], own=False)

    assert "names.secret" in summary(own)
    assert "names.secret" not in summary(other)
    assert [case["id"] for case in as_json(other)["cases"]] == ["api.one"]
    assert "theirs" not in comparison([own, other], date="2030-01-02").partition("names.secret")[2]


def test_a_comparison_has_a_column_for_each_proxy() -> None:
    """It has counts by level and group, and a row for each failed case, in well-formed reStructuredText."""
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
    """An empty table would be malformed."""
    assert "some proxy fails" not in comparison([Results("first", "1", [PASSED])], date="2030-01-02")
