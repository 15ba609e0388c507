"""Tells when a proxy that answers has stopped loading what is committed, so that only a restart helps. Pure."""

from __future__ import annotations

from .seams import Answer

# How many checks in a row, about one a second, may find the same old revision live. Meanwhile it is committed again, twice.
_FIRST_LIMIT = 20
_LAST_LIMIT = 600


class Standstill:
    """Counts the checks in a row that found the same old revision live, whatever was committed meanwhile."""

    def __init__(self) -> None:
        self._live: int | None = None
        self._count = 0
        self._limit = _FIRST_LIMIT
        # A restarted proxy serves the last revision when it starts, so only a later one shows that it loads new ones.
        self._tried_at = 0

    def found(self, answer: Answer, revision: int) -> bool:
        """Note what a check found.

        Args:
            answer: The answer.
            revision: The last commit.

        Returns:
            Whether to restart the proxy now. The next time comes after twice as many checks, unless a later revision than
            this one has been live.
        """
        if answer.serves(revision):
            self._count = 0
            if revision > self._tried_at:
                self._limit = _FIRST_LIMIT
        elif not answer.answered or answer.refused:
            # It is restarting already, or something else answers; then a restart is of no use.
            self._count = 0
        elif answer.revision != self._live:
            self._live, self._count = answer.revision, 0
        else:
            self._count += 1
        if self._count <= self._limit:
            return False
        self._count, self._limit, self._tried_at = 0, min(2 * self._limit, _LAST_LIMIT), revision
        return True
