"""overlay: copies have their own changes, and are cheap."""

from __future__ import annotations

import pytest

from traefik_toml_proxy import overlay
from traefik_toml_proxy.overlay import OverlayDict


def filled(count: int) -> OverlayDict[int]:
    """Return a dict with so many entries."""
    made = OverlayDict[int]()
    for number in range(count):
        made.set(f"k{number}", number)
    return made


def test_a_copy_and_what_it_was_copied_from_change_apart() -> None:
    first = filled(3)
    second = first.copy()
    second.set("k0", 10)
    second.set("new", 3)
    second.delete("k2")
    first.set("mine", 4)

    assert dict(first.items()) == {"k0": 0, "k1": 1, "k2": 2, "mine": 4}
    assert dict(second.items()) == {"k0": 10, "k1": 1, "new": 3}
    assert (len(first), len(second)) == (4, 3)
    assert (second.get("k2"), second.get("mine"), second.get("k1")) == (None, None, 1)


def test_what_is_shared_can_be_deleted_and_added_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlay, "_FEW", 2)
    first = filled(5).copy()
    for key in ("k0", "k1", "k2"):
        first.delete(key)
    shared = first.copy()
    assert (shared._changed, len(shared)) == ({}, 2)
    for number in range(3):
        shared.set(f"k{number}", number)
    shared = shared.copy()
    changed = shared.copy()
    changed.delete("k1")
    assert (len(changed), changed.get("k1")) == (4, None)
    changed.set("k1", 7)
    changed.set("more", 8)
    changed.delete("more")

    assert (len(changed), changed.get("k1"), changed.get("more")) == (5, 7, None)
    assert dict(changed.items()) == {"k0": 0, "k1": 7, "k2": 2, "k3": 3, "k4": 4}
    assert dict(shared.items()) == {f"k{number}": number for number in range(5)}


def test_copies_share_what_has_not_changed_until_too_much_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise each of many changes would copy all routes, or all that has ever changed."""
    monkeypatch.setattr(overlay, "_FEW", 5)
    shared = filled(20).copy()
    sizes = set()
    current = shared
    for number in range(100):
        current = current.copy()
        current.set(f"k{number % 20}", -number)
        sizes.add(len(current._changed))

    assert max(sizes) == 5 + 1
    assert shared.copy()._base is shared._base
    assert dict(current.items()) == {f"k{number % 20}": -number for number in range(100)}


def test_differences_are_found_with_or_without_a_shared_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlay, "_FEW", 2)
    before = filled(5).copy()
    after = before.copy()
    after.set("k0", 9)
    after.set("new", 3)
    after.delete("k4")
    apart = OverlayDict[int]()
    for key, value in after.items():
        apart.set(key, value)

    for one in (after, apart):
        assert dict(one.differences(before)) == {"k0": 9, "new": 3, "k4": None}
        assert dict(before.differences(one)) == {"k0": 0, "new": None, "k4": 4}
    assert dict(after.differences(after)) == {}
