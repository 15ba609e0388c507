"""How a case of the suite ended, and why. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from .case import Case


class Result(str, Enum):
    """The three ways in which a case can end."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_OFFERED = "not offered"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a case ended, why, and how many seconds it took."""

    case: Case
    result: Result
    reason: str
    seconds: float
