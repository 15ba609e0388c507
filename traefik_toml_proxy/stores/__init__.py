"""Where the dynamic configuration is kept, one file per store; here the protocol they share. Pure."""

from __future__ import annotations

from typing import Protocol

from ..routes import Snapshot


class Store(Protocol):
    """Keeps the last committed snapshot where Traefik finds it. Owned by one RoutePublisher."""

    @property
    def location(self) -> str:
        """Where it is kept, for messages."""

    async def open(self) -> Snapshot:
        """Take the store for this process, before anything else.

        Returns:
            The snapshot that was committed last, by whichever process; an empty one with revision 0 when there is none.

        Raises:
            StoreLocked: If another process has it.
            StoreError: If it cannot be used; the message says what to do.
        """

    async def commit(self, snapshot: Snapshot) -> None:
        """Replace what is kept, whole and durably. Not concurrently.

        Raises:
            CommitFailed: If it could not be; then what was kept before is still there, untouched.
        """

    async def damage(self) -> str | None:
        """Say what somebody else did to what was committed last (``was deleted``), or None if it is as it was left."""

    async def close(self) -> None:
        """Let go of the store; what is kept stays. May be called twice."""
