"""What a look has found."""

from __future__ import annotations

from traefik_toml_proxy.findings import Finding, anything_wrong, fine, unknown, wrong


def test_a_finding_is_a_sentence_with_what_mends_it() -> None:
    assert str(wrong("ports", "It is taken.", "Stop it.")) == "It is taken. Stop it."
    assert str(fine("ports", "free")) == "free"


def test_a_finding_can_be_json() -> None:
    assert wrong("ports", "It is taken.").as_dict() == {
        "about": "ports",
        "verdict": "wrong",
        "text": "It is taken.",
        "mend": "",
    }


def test_only_what_is_wrong_must_be_mended() -> None:
    """What is not known may be well."""
    found: list[Finding] = [fine("a", ""), unknown("b", "")]

    assert not anything_wrong(found)
    assert anything_wrong([*found, wrong("c", "")])
