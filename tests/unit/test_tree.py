"""traefik.tree: merging trees of settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from traefik_toml_proxy.traefik.tree import deep_merge, plain


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ({}, {}, {}),
        ({"a": 1}, {"b": 2}, {"a": 1, "b": 2}),
        ({"a": 1}, {"a": 2}, {"a": 2}),
        ({"t": {"a": 1, "b": 1}}, {"t": {"b": 2, "c": 3}}, {"t": {"a": 1, "b": 2, "c": 3}}),
        ({"t": {"u": {"a": 1}}}, {"t": {"u": {"b": 2}}}, {"t": {"u": {"a": 1, "b": 2}}}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ({"t": {"a": 1}}, {"t": 2}, {"t": 2}),
        ({"t": 2}, {"t": {"a": 1}}, {"t": {"a": 1}}),
        ({"t": {"a": 1}}, {"t": {}}, {"t": {"a": 1}}),
        ({"a": 1}, {"a": None}, {"a": None}),
    ],
)
def test_the_second_tree_wins_where_both_have_a_value(
    ours: Mapping[str, Any], theirs: Mapping[str, Any], expected: dict[str, Any]
) -> None:
    """Tables are merged at every level; any other value is replaced."""
    assert expected == deep_merge(ours, theirs)


def test_the_merged_tree_is_independent_of_both() -> None:
    """Merging changes neither of them, nor does changing the result."""
    ours = {"mine": {"list": [1]}, "both": {"a": [1]}}
    theirs = {"theirs": {"list": [2]}, "both": {"b": {"c": [2]}}}

    merged = deep_merge(ours, theirs)
    for table in (merged["mine"], merged["theirs"]):
        table["list"].append(0)
    merged["both"]["a"].append(0)
    merged["both"]["b"]["c"].append(0)

    assert ours == {"mine": {"list": [1]}, "both": {"a": [1]}}
    assert theirs == {"theirs": {"list": [2]}, "both": {"b": {"c": [2]}}}


class MakesUp(dict[str, Any]):
    """A mapping that creates missing keys when they are read, as traitlets' Config does."""

    def __missing__(self, key: str) -> dict[str, Any]:
        return {}


def test_a_plain_tree_has_only_what_was_set() -> None:
    """A traitlets Config becomes dicts, with strings as keys, and lists."""
    tree = MakesUp(a=MakesUp(b=(1, MakesUp(c="x"))), n=2)

    copy = plain(tree)

    assert copy == {"a": {"b": [1, {"c": "x"}]}, "n": 2}
    assert [dict, dict, dict] == [type(copy), type(copy["a"]), type(copy["a"]["b"][1])]
    assert plain({1: "x"}) == {"1": "x"}
