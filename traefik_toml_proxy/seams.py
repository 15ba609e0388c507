"""The seams of the package: the protocols between its parts, and the values that cross them. Pure.

A :class:`~traefik_toml_proxy.publisher.RoutePublisher` keeps a :class:`Store` up to date and asks a :class:`LiveCheck`
whether users are served what it has committed. :class:`Activity` tells when users were last seen. What implements them
may use any file, process or network; who calls them need not know which.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from .routes import Snapshot


class Store(Protocol):
    """Keeps the last committed snapshot. Owned by one publisher; its methods are never called concurrently."""

    @property
    def location(self) -> str:
        """Where the snapshot is kept, for messages: a path or a URL."""

    async def open(self) -> Snapshot:
        """Become the only owner of what is kept. Called once, before anything else.

        Returns:
            The snapshot that was committed last, by whichever process; an empty one with revision 0 if there is none.

        Raises:
            StoreLocked: If another process is the owner.
            StoreError: If the store cannot be used; the message says what to do.
        """

    async def commit(self, snapshot: Snapshot) -> None:
        """Replace what is kept, as a whole and durably.

        After an error the store holds either the snapshot it held before or this one, never a mixture. A store that
        cannot tell which reports it through :meth:`damage` until the next commit.

        Raises:
            CommitFailed: If the snapshot could not be written, or its outcome is unknown.
            StoreLocked: If another process has become the owner.
        """

    async def damage(self) -> str | None:
        """Return how what is kept may differ from what was committed last, or None if it does not.

        The text completes a sentence that begins with the location: ``was deleted``, ``may hold a change that failed``.
        The same damage is reported until the next commit. Does not raise.
        """

    async def close(self) -> None:
        """Give up ownership; what is kept stays. May be called twice, and without :meth:`open`."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a :class:`LiveCheck` found out.

    Attributes:
        revision: The revision that users are served, or None if that is not known.
        answered: Whether there was an answer at all; False while the proxy is down.
        description: What was asked and what it answered, in words, for messages.
        advice: What an admin can look at when this is not the revision they expect; whole sentences, or "".
    """

    revision: int | None
    answered: bool
    description: str
    advice: str = ""

    def serves(self, revision: int) -> bool:
        """Whether ``revision`` or a later one is live."""
        return self.revision is not None and self.revision >= revision


class LiveCheck(Protocol):
    """Knows which revision users are served."""

    async def ask(self) -> Answer:
        """Ask once. Does not raise."""

    async def wait(self, revision: int, timeout: float) -> Answer:
        """Ask until ``revision`` or a later one is live.

        Args:
            revision: The revision to wait for.
            timeout: Seconds to wait at most.

        Returns:
            The last answer. If it does not serve ``revision``, the time was up. Does not raise.
        """

    async def close(self) -> None:
        """Stop asking. May be called twice."""


class Activity(Protocol):
    """Knows when users were last seen by the proxy."""

    async def last_seen(self) -> Mapping[str, datetime]:
        """Return, by routespec, when a request or message last went to that route; each with a time zone.

        Routes that have seen no traffic, or of which this is not known, are left out. Does not raise.
        """
