"""Merges and copies trees of settings, which are nested dicts. Pure."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any


def deep_merge(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Return a new tree with the content of both. Tables are merged; for any other value, ``theirs`` overrides ``ours``.

    The arguments are not changed, and the result shares no dict or list with them.
    """
    merged: dict[str, Any] = {key: copy.deepcopy(value) for key, value in ours.items()}
    for key, value in theirs.items():
        our_value = merged.get(key)
        both_tables = isinstance(our_value, Mapping) and isinstance(value, Mapping)
        merged[key] = deep_merge(our_value, value) if both_tables else copy.deepcopy(value)  # type: ignore[arg-type]
    return merged


def plain(tree: Any) -> Any:
    """Return ``tree`` as plain dicts and lists: the Config of traitlets creates missing keys when they are read."""
    if isinstance(tree, Mapping):
        return {str(key): plain(value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [plain(value) for value in tree]
    return tree
