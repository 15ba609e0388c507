"""OverlayDict: a dict whose changed copies are cheap, since they share what has not changed. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Generic, TypeVar

T = TypeVar("T")

# How many changes a copy can have beside what it shares; more are merged when it is copied. With 50,000 entries, that takes
# a millisecond or two, and a copy otherwise takes some microseconds.
_FEW = 256


class OverlayDict(Generic[T]):
    """A dict from texts to anything but None. Change one only before others know it."""

    __slots__ = ("_base", "_changed", "_length")

    def __init__(self) -> None:
        # Shared with copies, so it is never changed.
        self._base: dict[str, T] = {}
        # What differs from it; None for what is deleted.
        self._changed: dict[str, T | None] = {}
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def get(self, key: str) -> T | None:
        """Return the value of a key, or None."""
        base = self._base.get(key)
        return self._changed.get(key, base)

    def items(self) -> Iterator[tuple[str, T]]:
        """Yield all keys, with their values."""
        base, changed = self._base, self._changed
        added = ((key, value) for key, value in changed.items() if key not in base)
        for key, shared in chain(base.items(), added):
            value = changed.get(key, shared) if changed else shared
            if value is not None:
                yield key, value

    def set(self, key: str, value: T) -> None:
        """Add a key, or replace its value."""
        self._length += self.get(key) is None
        self._changed[key] = value

    def delete(self, key: str) -> None:
        """Delete a key that is there."""
        self._length -= 1
        if key in self._base:
            self._changed[key] = None
        else:
            del self._changed[key]

    def copy(self) -> OverlayDict[T]:
        """Return a copy that can be changed."""
        made: OverlayDict[T] = OverlayDict()
        made._length = self._length
        if len(self._changed) <= _FEW:
            made._base, made._changed = self._base, self._changed.copy()
            return made
        merged = made._base = self._base.copy()
        for key, value in self._changed.items():
            if value is None:
                del merged[key]
            else:
                merged[key] = value
        return made

    def differences(self, before: OverlayDict[T]) -> Iterator[tuple[str, T | None]]:
        """Yield the keys that do not have the same object in ``before``, with their values; None for what is not here.

        If both share most, only the rest is looked at.
        """
        if self._base is before._base:
            keys = dict.fromkeys(chain(before._changed, self._changed))
        else:
            keys = dict.fromkeys(key for key, _ in chain(before.items(), self.items()))
        for key in keys:
            value = self.get(key)
            if before.get(key) is not value:
                yield key, value
