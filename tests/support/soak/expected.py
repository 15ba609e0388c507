"""What users may see at each moment: which servers may answer, and which failures are no fault of the proxy. Pure."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum


class Failure(Enum):
    """How a request can fail."""

    NO_CONNECTION = "no connection"
    CUT = "cut off"
    NOT_FOUND = "404 without a server"
    CERTIFICATE = "another certificate"


# Exactly what may fail, and when; at all other times, nothing may.
#
# From the end of Traefik until the next one has all routes. It listens before it has read them, and their certificate.
GONE = frozenset(Failure)
# From the moment when somebody has emptied the file until it is written again. Traefik runs, so nothing is cut.
EMPTIED = frozenset({Failure.NOT_FOUND, Failure.CERTIFICATE})


@dataclass(eq=False)
class Question:
    """A request that is under way, or a websocket that is open.

    Attributes:
        what: What it asks for, a key of the expectations.
        answers: What may answer, at any moment since it began.
        failures: How it may fail, at any moment since it began.
    """

    what: str
    answers: set[str]
    failures: set[Failure]


@dataclass
class Expected:
    """What may answer now, by what is asked for; and what has been seen that may not.

    Attributes:
        problems: What has been seen that may not be, in words.
        answered: How many requests, messages and downloads were as they should be.
        failed: How many were not, but were allowed to.
    """

    problems: list[str] = field(default_factory=list)
    answered: int = 0
    failed: int = 0
    _began: float = field(default_factory=time.monotonic)
    _answers: dict[str, frozenset[str]] = field(default_factory=dict)
    _outages: list[frozenset[Failure]] = field(default_factory=list)
    _open: set[Question] = field(default_factory=set)

    @property
    def now(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._began

    def expect(self, what: str, answers: Iterable[str]) -> None:
        """From now on, only these may answer; questions that are open may still get what was right before."""
        self._answers[what] = frozenset(answers)
        for question in self._open:
            if question.what == what:
                question.answers |= self._answers[what]

    def answers(self, what: str) -> frozenset[str]:
        """Return what may answer now."""
        return self._answers[what]

    @contextlib.contextmanager
    def outage(self, failures: frozenset[Failure]) -> Iterator[None]:
        """While the block runs, questions may fail like this, also those that have begun before."""
        self._outages.append(failures)
        for question in self._open:
            question.failures |= failures
        try:
            yield
        finally:
            self._outages.remove(failures)

    @contextlib.contextmanager
    def asking(self, what: str) -> Iterator[Question]:
        """Ask a question while the block runs."""
        question = Question(what, set(self._answers[what]), set().union(*self._outages))
        self._open.add(question)
        try:
            yield question
        finally:
            self._open.discard(question)

    def judge(self, question: Question, seen: str | Failure) -> None:
        """Count what a question has led to, or note it as a problem."""
        if seen in question.answers:
            self.answered += 1
        elif seen in question.failures:
            self.failed += 1
        else:
            may = sorted(question.answers) + sorted(failure.value for failure in question.failures)
            text = seen.value if isinstance(seen, Failure) else seen
            self.problem(f"{question.what}: {text}; it may be: {', '.join(may)}")

    def problem(self, what: str) -> None:
        """Note something that may not be."""
        self.problems.append(f"{self.now:8.3f} {what}")
