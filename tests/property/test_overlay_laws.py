"""overlay: whatever is done, each copy is what a dict would be."""

from __future__ import annotations

from unittest import mock

from hypothesis import given
from hypothesis import strategies as st

from traefik_toml_proxy import overlay
from traefik_toml_proxy.overlay import OverlayDict

KEYS = st.sampled_from("abcdefgh")
STEPS = st.lists(st.tuples(st.sampled_from(["set", "delete", "copy"]), KEYS, st.integers(0, 3)), max_size=60)


@given(STEPS, st.integers(0, 4))
def test_an_overlay_dict_is_a_dict(steps: list[tuple[str, str, int]], few: int) -> None:
    """Earlier copies keep what they had, and the differences make one of any other."""
    with mock.patch.object(overlay, "_FEW", few):
        current, model = OverlayDict[int](), dict[str, int]()
        kept: list[tuple[OverlayDict[int], dict[str, int]]] = []
        for step, key, value in steps:
            if step == "set":
                current.set(key, value)
                model[key] = value
            elif step == "copy":
                kept.append((current, dict(model)))
                current = current.copy()
            elif key in model:
                current.delete(key)
                del model[key]
            assert len(current) == len(model)
            assert current.get(key) == model.get(key)
        kept.append((current, model))

        for one, entries in kept:
            assert dict(one.items()) == entries
            for other, other_entries in kept:
                made = dict(other_entries)
                for changed, new in one.differences(other):
                    made.pop(changed, None)
                    if new is not None:
                        made[changed] = new
                assert made == entries
