"""The protocols between the parts of the package, and the values that cross them. Pure.

A :class:`~traefik_toml_proxy.publisher.RoutePublisher` keeps a :class:`Store` up to date and asks a :class:`LiveCheck`
whether the last commit is live, which means that users are served it. :class:`Activity` tells when users were last seen,
and :class:`Metrics` is told what goes on.
Implementations may use any file, process or network; callers do not depend on which.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from .routes import Snapshot


class Store(Protocol):
    """Keeps the last committed snapshot. Owned by one publisher; its methods are never called concurrently."""

    @property
    def location(self) -> str:
        """Where the snapshot is kept, for messages: a path or a URL."""

    @property
    def moves(self) -> int:
        """How often the place was replaced by another one, so that a program that watches it may see no commit any more."""

    async def open(self) -> Snapshot:
        """Become the only owner of the store. Called once, before anything else.

        Returns:
            The last committed snapshot, whichever process committed it; an empty one with revision 0 if there is none.

        Raises:
            StoreLocked: If another process is the owner.
            StoreTooNew: If a newer version of this package has written it.
            StoreError: If the store cannot be used; the message says what to do.
        """

    async def commit(self, snapshot: Snapshot) -> None:
        """Replace the stored snapshot, atomically and durably.

        After an error, the store holds either the previous snapshot or this one, never a mixture. A store that cannot
        tell which must report that from :meth:`damage` until the next commit.

        Raises:
            CommitFailed: If the snapshot could not be written, or it is unknown whether it was.
            StoreLocked: If another process has become the owner.
        """

    async def damage(self) -> str | None:
        """Return how the stored snapshot may differ from the last commit, or None if it does not.

        The text completes a sentence that begins with the location: ``was deleted``, ``may contain a failed change``.
        Damage is reported by every call until the next commit. Does not raise.
        """

    async def close(self) -> None:
        """Give up ownership; the snapshot stays stored. May be called twice, and without :meth:`open`."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of a :class:`LiveCheck`.

    Attributes:
        revision: The revision that users are served, or None if that is not known.
        answered: Whether the proxy answered at all; False while it is down.
        description: What was asked and what the answer was, in words, for messages.
        advice: What an admin can check if this is not the expected revision; whole sentences, or "".
        refused: Whether something else answered that is there to stay, such as a login page: waiting is of no use.
    """

    revision: int | None
    answered: bool
    description: str
    advice: str = ""
    refused: bool = False

    def serves(self, revision: int) -> bool:
        """Whether ``revision`` or a later one is live."""
        return self.revision is not None and self.revision >= revision


class LiveCheck(Protocol):
    """Finds out which revision is live."""

    async def ask(self) -> Answer:
        """Ask once. Does not raise."""

    async def wait(self, revision: int, timeout: float, *, if_refused: float | None = None) -> Answer:
        """Ask until ``revision`` or a later one is live.

        Args:
            revision: The revision to wait for.
            timeout: The maximum number of seconds to wait.
            if_refused: The maximum number of seconds to wait when all answers are refusals; None is ``timeout``.

        Returns:
            The last answer, or the one before a silence that has only just begun; it does not serve ``revision`` if the time
            ran out. Does not raise.
        """

    async def close(self) -> None:
        """Stop asking. May be called twice."""


class Activity(Protocol):
    """Knows when users were last seen by the proxy."""

    async def last_seen(self) -> Mapping[str, datetime]:
        """Return, by routespec, when the last request or message went to that route; each time has a time zone.

        Routes without traffic, or without information about it, are left out. Does not raise.
        """


class Event(enum.Enum):
    """What is counted."""

    COMMIT_FAILED = enum.auto()
    NOT_LIVE = enum.auto()
    REPAIR = enum.auto()
    RESTART = enum.auto()
    REQUEST_FAILED = enum.auto()


@dataclass(frozen=True, slots=True)
class Traffic:
    """What users have done since a proxy has started, as far as it knows.

    Attributes:
        requests: How many requests were answered, by the kind of their route, and by the first digit of the status: 1 is for
            websockets.
        connections: How many connections from users are open.
        websockets: How many of them are websockets; up to a second old.
    """

    requests: Mapping[tuple[str, int], int]
    connections: int
    websockets: int


class Metrics(Protocol):
    """Is told what a proxy does, for those who watch it. Its methods return at once, and do not raise."""

    def committed(self, revision: int, routes: int, changes: int) -> None:
        """Note a commit.

        Args:
            revision: Its revision.
            routes: How many routes it has.
            changes: For how many calls it was made; 0 for a repair.
        """

    def live(self, revision: int) -> None:
        """Note that a revision is live."""

    def took(self, seconds: float) -> None:
        """Note how long it took from the call until a change was live."""

    def count(self, event: Event, times: int = 1) -> None:
        """Count an event that has happened once, or so many times."""

    def replicas(self, there: int, ready: int) -> None:
        """Note how many replicas have a lease, and how many of them may get requests, if there can be several."""

    def certificate(self, which: str, expires: datetime) -> None:
        """Note when a certificate expires.

        Args:
            which: Which one: ``public`` or ``internal_ssl``.
            expires: When, with a time zone.
        """

    def traffic(self, ask: Callable[[], Traffic] | None) -> None:
        """Note who tells at any time, from any thread, what users have done; None when that has ended."""


class NoMetrics:
    """A :class:`Metrics` for those whom nobody watches."""

    def committed(self, revision: int, routes: int, changes: int) -> None:
        """Do nothing."""

    def live(self, revision: int) -> None:
        """Do nothing."""

    def took(self, seconds: float) -> None:
        """Do nothing."""

    def count(self, event: Event, times: int = 1) -> None:
        """Do nothing."""

    def replicas(self, there: int, ready: int) -> None:
        """Do nothing."""

    def certificate(self, which: str, expires: datetime) -> None:
        """Do nothing."""

    def traffic(self, ask: Callable[[], Traffic] | None) -> None:
        """Do nothing."""


NO_METRICS = NoMetrics()
