"""No proxy at all: what the clients and the server behind the routes can do by themselves. No I/O."""

from __future__ import annotations

from collections.abc import Sequence

from ..workload import Entry
from .base import Contender


class Direct(Contender):
    """The server that is behind the others' routes, at the port that it listens on anyway."""

    is_bare = True

    def missing(self) -> str:
        """Return "": nothing needs to be installed."""
        return ""

    def version(self) -> str:
        """Return "": it has no version."""
        return ""

    def prepare(self) -> None:
        """Do nothing."""

    async def start(self) -> None:
        """Do nothing."""

    async def fill(self) -> None:
        """Do nothing."""

    async def add(self, entries: Sequence[Entry]) -> None:
        """Do nothing."""

    async def delete(self, routespecs: Sequence[str]) -> None:
        """Do nothing."""

    async def count(self) -> int:
        """Return 0: it has no routes."""
        return 0

    async def stop(self) -> None:
        """Do nothing."""
