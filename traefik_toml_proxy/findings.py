"""What a look at one thing has found: that it is fine, or what is wrong and how to mend it. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum


class Verdict(Enum):
    """What a finding says."""

    FINE = "fine"
    WRONG = "wrong"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found about one thing.

    Attributes:
        about: What was looked at, in a few words.
        verdict: Whether it is fine.
        text: What was found, in whole sentences or a few words.
        mend: What mends it, a line of configuration or a command where there is one; "" if the text says it already.
    """

    about: str
    verdict: Verdict
    text: str
    mend: str = ""

    def __str__(self) -> str:
        return " ".join(filter(None, [self.text, self.mend]))

    def as_dict(self) -> dict[str, str]:
        """Return it as JSON can hold it."""
        return {"about": self.about, "verdict": self.verdict.value, "text": self.text, "mend": self.mend}


def fine(about: str, text: str) -> Finding:
    """Return that something is as it should be."""
    return Finding(about, Verdict.FINE, text)


def wrong(about: str, text: str, mend: str = "") -> Finding:
    """Return that something must be mended."""
    return Finding(about, Verdict.WRONG, text, mend)


def unknown(about: str, text: str, mend: str = "") -> Finding:
    """Return that something could not be found out."""
    return Finding(about, Verdict.UNKNOWN, text, mend)


def anything_wrong(findings: Iterable[Finding]) -> bool:
    """Whether one of them must be mended."""
    return any(finding.verdict is Verdict.WRONG for finding in findings)
