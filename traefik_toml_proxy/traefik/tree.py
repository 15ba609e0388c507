"""Trees of settings, as nested dicts: merging two of them. Pure."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any


def deep_merge(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Return a new tree with everything of both; where both have a value that is not a table, ``theirs`` wins.

    Neither argument is changed, and the result shares no dict or list with them.
    """
    merged: dict[str, Any] = {key: copy.deepcopy(value) for key, value in ours.items()}
    for key, value in theirs.items():
        mine = merged.get(key)
        both_tables = isinstance(mine, Mapping) and isinstance(value, Mapping)
        merged[key] = deep_merge(mine, value) if both_tables else copy.deepcopy(value)  # type: ignore[arg-type]
    return merged


def plain(tree: Any) -> Any:
    """Return ``tree`` with every mapping as a plain dict: traitlets' Config makes up what it is asked for."""
    if isinstance(tree, Mapping):
        return {str(key): plain(value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [plain(value) for value in tree]
    return tree
