"""What is seen in a drill: requests, changes, faults, and what should not be. No I/O."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

# The width of a step of the time line, in seconds.
STEP = 0.5

# How many of each kind of problem are kept; all are counted.
_KEPT = 50


@dataclass
class Fault:
    """Something that was done to the stage.

    Attributes:
        what: What it was.
        kind: What it is an example of; the limits are for some kinds.
        begun: When it began, in seconds since the drill did.
        ended: When it was undone; None as long as it is not.
        well: When all was well again, and a change that began after it had been undone was live.
        victims: The replicas whose requests may fail meanwhile.
    """

    what: str
    kind: str
    begun: float
    ended: float | None = None
    well: float | None = None
    victims: tuple[str, ...] = ()


@dataclass
class Problems:
    """Things of one kind that should not be: how many, and the first ones."""

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, text: str) -> None:
        """Count one."""
        self.count += 1
        if len(self.first) < _KEPT:
            self.first.append(text)


# What should not be, with the words for it.
KINDS: Mapping[str, str] = {
    "failed": "requests failed on replicas that nothing had been done to",
    "unanswered": "requests were answered by no replica",
    "wrong": "answers were wrong",
    "stale": "answers right after a change did not know it",
    "errors": "changes failed",
    "lost": "routes were lost, or others than was asked for",
    "fenced": "changes of a Hub were written after another one had taken over",
    "unwell": "faults after which not all was well again in time",
}


class Record:
    """Takes down what happens.

    Attributes:
        faults: What was done, in order.
        problems: What should not be, by kind.
        changes: For each change, when it began, the seconds that it took, and whether it was an add.
        cut: How many requests failed on replicas that something was being done to.
        checks: How many answers were looked at right after a change.
        answered: For each replica, how many requests it has answered in each step of the time line.
    """

    def __init__(self) -> None:
        self._begin = time.monotonic()
        self.faults: list[Fault] = []
        self.problems = {kind: Problems() for kind in KINDS}
        self.changes: list[tuple[float, float, bool]] = []
        self.cut = 0
        self.checks = 0
        self.answered: dict[str, list[int]] = {}

    @property
    def now(self) -> float:
        """Seconds since the drill began."""
        return time.monotonic() - self._begin

    @property
    def during(self) -> str:
        """What is being done at the moment, or was done last."""
        return self.faults[-1].what if self.faults else "at the beginning"

    def problem(self, kind: str, text: str) -> None:
        """Take down something that should not be."""
        self.problems[kind].add(f"{self.now:.1f} s, {self.during}: {text}")

    def has_answered(self, replica: str) -> None:
        """Count a request."""
        steps = self.answered.setdefault(replica, [])
        step = int(self.now / STEP)
        steps.extend([0] * (step + 1 - len(steps)))
        steps[step] += 1

    def has_failed(self, replica: str, begun: float, text: str) -> None:
        """Count a request that has failed, whoever's fault that is.

        Args:
            replica: Where it was sent.
            begun: When.
            text: What happened.
        """
        if any(replica in fault.victims and (fault.well is None or begun <= fault.well) for fault in self.faults):
            self.cut += 1
        else:
            self.problem("failed", f"{replica}: {text}")

    def as_json(self) -> dict[str, Any]:
        """Return all of it as plain JSON."""
        return {
            "step_seconds": STEP,
            "faults": [asdict(fault) | {"victims": list(fault.victims)} for fault in self.faults],
            "problems": {kind: asdict(problems) for kind, problems in self.problems.items()},
            "changes": [[round(begun, 3), round(took, 4), is_add] for begun, took, is_add in self.changes],
            "cut": self.cut,
            "checks": self.checks,
            "answered": self.answered,
        }


def lost_routes(
    found: Mapping[str, Mapping[str, Any]],
    expected: Mapping[str, tuple[str, Mapping[str, Any]]],
    either: Mapping[str, tuple[str, Mapping[str, Any]] | None],
) -> list[str]:
    """Return how the routes of a proxy differ from those that were confirmed.

    Args:
        found: What ``get_all_routes`` returns.
        expected: The target and the data of each route.
        either: Routes that may also be as given here, because the Hub was killed while it changed them; None: not there.
    """
    wrong = []
    for routespec in sorted({*found, *expected}):
        route = found.get(routespec)
        has = None if route is None else (route["target"], route["data"])
        if has != expected.get(routespec) and not (routespec in either and has == either[routespec]):
            wrong.append(f"{routespec}: {has} instead of {expected.get(routespec)}")
    return wrong


def slowest(changes: Iterable[tuple[float, float, bool]], begun: float, ended: float) -> float | None:
    """Return how long the slowest change took that was going on in a span of time; None if there was none."""
    return max((took for at, took, _ in changes if at <= ended and at + took >= begun), default=None)
