"""What users may see at each moment, which failures are no fault of the proxy, and how long users may wait. Pure."""

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


@dataclass(frozen=True)
class Bounds:
    """What may come of a fault; at all other times, nothing may fail.

    Attributes:
        mended: Seconds until all is as it should be, besides those that the fault lasts, or Python takes to start.
        outage: Seconds for which a user may get nothing: from a request that fails or takes long to the next answer.
        failures: How requests may fail meanwhile.
        hangs: Whether users also wait for as long as the fault lasts.
    """

    mended: float
    outage: float
    failures: frozenset[Failure] = frozenset()
    hangs: bool = False


# How long a user may wait at any time, in seconds: answers take milliseconds, but the machine may be busy.
USUAL = 3.0
# From the end of Traefik until the next one has all routes. It listens before it has read them, and their certificate.
GONE = frozenset(Failure)
# From the moment when somebody has emptied the file until it is written again. Traefik runs, so nothing is cut.
EMPTIED = frozenset({Failure.NOT_FOUND, Failure.CERTIFICATE})

# By fault, see docs/explanation/crashes.rst.
BOUNDS = {
    # The next Hub takes over Traefik, and nobody notices.
    "kill_the_hub": Bounds(6, USUAL),
    # Users wait until the next Hub has added all routes. One that is stopped gives Traefik two seconds to exit.
    "stop_the_hub": Bounds(12, 12, GONE),
    "kill_both": Bounds(8, 8, GONE),
    # The files are looked at every three seconds, and taken at the second look that finds them the same.
    "renew_the_certificate": Bounds(12, USUAL),
    "renew_and_kill_the_hub": Bounds(18, USUAL),
    # It is started again at once, or, if it dies soon after a start, after half a second, a second and so on.
    "kill_traefik": Bounds(6, 6, GONE),
    # Noticed within a second. Three seconds later Traefik is asked to exit, which takes up to two.
    "move_the_folder": Bounds(12, 6, GONE),
    "replace_the_folder": Bounds(12, 6, GONE),
    # Noticed within two seconds. A version that was just being written names a certificate that is gone, and a Traefik that
    # cannot read that closes connections during the handshake.
    "empty_the_folder": Bounds(6, 5, frozenset({Failure.CERTIFICATE, Failure.NO_CONNECTION})),
    # Noticed within a second.
    "empty_the_file": Bounds(5, 5, EMPTIED),
    # Traefik goes on with what it has read.
    "delete_the_file": Bounds(5, USUAL),
    "cut_the_file": Bounds(5, USUAL),
    "close_the_file": Bounds(5, USUAL),
    # Changes fail, and users do not notice.
    "close_the_folder": Bounds(5, USUAL),
    "break_the_disk": Bounds(5, USUAL),
    # Nothing fails: what was asked meanwhile is answered when it goes on.
    "stop_traefik": Bounds(5, USUAL, hangs=True),
}


@dataclass(eq=False)
class Question:
    """A request that is under way, or a websocket that is open.

    Attributes:
        what: What it asks for, a key of the expectations.
        answers: What may answer, at any moment since it began.
        failures: How it may fail, at any moment since it began.
        user: Who asks, and waits for it; None if nobody waits.
    """

    what: str
    answers: set[str]
    failures: set[Failure]
    user: str | None


@dataclass
class Outage:
    """A fault, while users may notice it.

    Attributes:
        fault: Which one.
        failures: How requests may fail.
        seconds: How long a user may wait.
        excused: How many seconds were not the proxy's.
    """

    fault: str
    failures: frozenset[Failure]
    seconds: float
    excused: float = 0


@dataclass
class _Wait:
    """A user that waits: since when, for how long it may, and because of which fault."""

    since: float
    most: float = USUAL
    fault: str = "no fault"

    def extend(self, outage: Outage) -> None:
        if outage.seconds >= self.most:
            self.most, self.fault = outage.seconds, outage.fault


@dataclass
class Expected:
    """What may answer now, by what is asked for; and what has been seen that may not.

    Attributes:
        patience: Every bound is multiplied by this.
        problems: What has been seen that may not be, in words.
        answered: How many requests, messages and downloads were as they should be.
        failed: How many were not, but were allowed to.
        longest: For how many seconds a user has waited at the most, by the fault meanwhile.
    """

    patience: float = 1
    problems: list[str] = field(default_factory=list)
    answered: int = 0
    failed: int = 0
    longest: dict[str, float] = field(default_factory=dict)
    _began: float = field(default_factory=time.monotonic)
    _answers: dict[str, frozenset[str]] = field(default_factory=dict)
    _outages: list[Outage] = field(default_factory=list)
    _open: set[Question] = field(default_factory=set)
    _waits: dict[str, _Wait] = field(default_factory=dict)

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
    def outage(self, fault: str, seconds: float = 0) -> Iterator[Outage]:
        """While the block runs, users may notice a fault, also those who began to wait before.

        Args:
            fault: Which one, a key of BOUNDS.
            seconds: How long it lasts, if it is one that lasts.
        """
        bounds = BOUNDS[fault]
        outage = Outage(fault, bounds.failures, bounds.outage + (seconds if bounds.hangs else 0))
        self._outages.append(outage)
        for question in self._open:
            question.failures |= outage.failures
        for wait in self._waits.values():
            wait.extend(outage)
        try:
            yield outage
        finally:
            self._outages.remove(outage)

    def excuse(self, seconds: float) -> None:
        """Python took so long to start a Hub, which some users wait for: those who may fail until then."""
        for outage in self._outages:
            outage.excused += seconds
            if outage.failures:
                outage.seconds += seconds
                for wait in self._waits.values():
                    wait.extend(outage)

    @contextlib.contextmanager
    def asking(self, what: str, user: str | None = None) -> Iterator[Question]:
        """Ask a question while the block runs.

        Args:
            what: What is asked for.
            user: Who waits for the answer; None if nobody does.
        """
        failures = set().union(*(outage.failures for outage in self._outages))
        question = Question(what, set(self._answers[what]), failures, user)
        self._open.add(question)
        if user is not None:
            self.wants(user)
        try:
            yield question
        finally:
            self._open.discard(question)

    def judge(self, question: Question, seen: str | Failure) -> None:
        """Count what a question has led to, or note it as a problem."""
        if seen in question.answers:
            self.gets(question.user)
        elif seen in question.failures:
            self.failed += 1
        else:
            may = sorted(question.answers) + sorted(failure.value for failure in question.failures)
            text = seen.value if isinstance(seen, Failure) else seen
            self.problem(f"{question.what}: {text}; it may be: {', '.join(may)}")

    def wants(self, user: str) -> None:
        """A user waits from now on, if it does not wait already: a request that has failed does not end a wait."""
        if user not in self._waits:
            self._waits[user] = wait = _Wait(self.now)
            for outage in self._outages:
                wait.extend(outage)

    def gets(self, user: str | None) -> None:
        """A user has got what it wanted, so it waits no longer; None if nobody has waited."""
        self.answered += 1
        if user is not None:
            self.leaves(user)

    def leaves(self, user: str) -> None:
        """A user waits no longer, whether or not it has got what it wanted."""
        wait = self._waits.pop(user, None)
        if wait is None:
            return
        seconds = self.now - wait.since
        self.longest[wait.fault] = max(seconds, self.longest.get(wait.fault, 0))
        if seconds > wait.most * self.patience:
            self.problem(f"{user} has waited for {seconds:.1f} s; with {wait.fault}, at most {wait.most:g} s")

    def problem(self, what: str) -> None:
        """Note something that may not be."""
        self.problems.append(f"{self.now:8.3f} {what}")
