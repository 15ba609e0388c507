"""Laws of traefik/toml_text.py: every parser reads back exactly what is written, and no text starts a template."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from support.strategies import SETTINGS, read_toml, texts

from traefik_toml_proxy.stores.toml_text import dump_table, dumps, loads, toml_key, toml_string

Reader = Callable[[str], dict[str, Any]]
readers = pytest.mark.parametrize("read", [loads, read_toml], ids=["toml", "tomllib"])


def _can_be_a_key(text: str) -> bool:
    try:
        toml_key(text)
    except ValueError:
        return False
    return True


bare_keys = st.text("abcXYZ019_-", min_size=1, max_size=4)
keys = st.one_of(bare_keys, texts.filter(_can_be_a_key))
# toml.loads confuses arrays of tables that have the same name in different places, so each has a unique name.
array_keys = keys.map(lambda key: f"{key}-array")
scalars = st.one_of(texts, st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False))
values = st.one_of(scalars, st.lists(texts, max_size=4), st.lists(st.lists(texts, min_size=1, max_size=3), max_size=3))


def tables_of(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Tables of plain values, tables, and arrays of tables."""
    return st.builds(
        lambda plain, tables, arrays: plain | tables | arrays,
        st.dictionaries(keys, values, max_size=3),
        st.dictionaries(keys, inner, max_size=3),
        st.dictionaries(array_keys, st.lists(inner, min_size=1, max_size=3), max_size=2),
    )


trees = st.recursive(st.dictionaries(keys, values, max_size=3), tables_of, max_leaves=6)


@readers
@given(text=texts)
@SETTINGS
def test_a_string_is_read_back_exactly(read: Reader, text: str) -> None:
    """TOML 1.0, String: any Unicode character may be used, escaped where necessary."""
    assert {"a": text} == read(f"a = {toml_string(text)}\n")


@readers
@given(items=st.one_of(st.lists(texts), st.lists(st.lists(texts, min_size=1), max_size=3)))
@SETTINGS
def test_a_list_of_strings_is_read_back_exactly(read: Reader, items: list[Any]) -> None:
    """TOML 1.0, Array: values are separated by commas; a comma inside a string does not separate."""
    assert read(dumps({"a": items, "b": 1})) == {"a": items, "b": 1}


@readers
@given(tree=trees)
@SETTINGS
def test_a_tree_is_read_back_exactly(read: Reader, tree: dict[str, Any]) -> None:
    """Strings, lists of them, tables and arrays of tables come back unchanged, in any combination."""
    assert tree == read(dumps(tree))


@readers
@given(tree=trees)
@SETTINGS
def test_tables_that_are_written_alone_make_one_document(read: Reader, tree: dict[str, Any]) -> None:
    """In any order, as each of their headers has the whole path."""
    paths = (("t", "x y", "one"), ("u",), ("t", "x y", "other"))
    written = "".join(dump_table(path, tree) for path in paths)

    assert read(written) == {"t": {"x y": {"one": tree, "other": tree}}, "u": tree}


@given(tree=trees)
@SETTINGS
def test_no_text_starts_a_template(tree: dict[str, Any]) -> None:
    """``{{`` starts a Go template anywhere in the file (pkg/provider/file/file.go:131-147), so no ``{`` is written."""
    assert "{" not in dumps(tree)


@given(text=texts)
@SETTINGS
def test_a_string_is_one_line(text: str) -> None:
    """TOML 1.0, String: control characters other than tab must be escaped."""
    written = toml_string(text)

    assert written.isprintable()


@given(before=texts, surrogate=st.integers(0xD800, 0xDFFF).map(chr), after=texts)
@SETTINGS
def test_a_lone_surrogate_is_refused(before: str, surrogate: str, after: str) -> None:
    """TOML 1.0, String: an escape must be a Unicode scalar value, which a surrogate is not."""
    with pytest.raises(ValueError, match="lone surrogate"):
        toml_string(before + surrogate + after)


@readers
@given(text=texts)
@SETTINGS
def test_a_key_is_refused_or_read_back_exactly(read: Reader, text: str) -> None:
    """Every parser reads a written key as the same key, whether of a value, a table or an array."""
    assume(_can_be_a_key(text))
    tree = {"t": {text: 1}, text: {"x": {text: {text: 2}}}, "u": {text: [{"x": 3}, {text: 4}]}}
    assume(text not in ("t", "u", "x"))

    assert tree == read(dumps(tree))


@given(text=texts)
@SETTINGS
def test_reading_any_text_works_or_raises_value_error(text: str) -> None:
    """Somebody else may have written anything into the file."""
    try:
        tree = loads(text)
    except ValueError:
        return
    assert isinstance(tree, dict)
