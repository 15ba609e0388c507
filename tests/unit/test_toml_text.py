"""traefik_toml_proxy.stores.toml_text: trees as TOML text."""

from __future__ import annotations

from datetime import date, datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from support.strategies import read_toml

from traefik_toml_proxy.stores.toml_text import dump_table, dumps, loads, toml_key, toml_string


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", '""'),
        ("plain text ~ ' ` | }}", '"plain text ~ \' ` | }}"'),
        ('say "hi"', r'"say \"hi\""'),
        ("a\\b", r'"a\\b"'),
        ("\n\t\r", r'"\n\t\r"'),
        ("{{ x }}", r'"\u007b\u007b x }}"'),
        ("\0\x17\x1b\x7f", r'"\u0000\u0017\u001b\u007f"'),
        ("\x85\u2028\u202e\ufeff", r'"\u0085\u2028\u202e\ufeff"'),
        ("é秀😀║", '"é秀😀║"'),
        ("\U000e0001", r'"\U000e0001"'),
    ],
)
def test_a_string_is_escaped_where_necessary(text: str, expected: str) -> None:
    """Printable characters stay readable, except quotes, backslashes and ``{``, which could start a template."""
    assert expected == toml_string(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"\u0041", r'"\\\u00750041"'),
        (r"\U00000041", r'"\\\U0000005500000041"'),
        (r"\\u", r'"\\\\\u0075"'),
        (r"\x41", r'"\\x41"'),
        ('"', r'"""\""""'),
        ('""x', r'"""\"\"x"""'),
    ],
)
def test_text_that_the_toml_package_misreads_is_written_in_another_form(text: str, expected: str) -> None:
    """A ``u`` after a backslash is written as an escape, and a string that begins with a quote has triple quotes."""
    assert expected == toml_string(text)
    assert loads(f"a = {expected}") == {"a": text} == read_toml(f"a = {expected}")


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb"])
def test_a_lone_surrogate_is_refused(text: str) -> None:
    """TOML has none; the error shows it."""
    with pytest.raises(ValueError, match=r"lone surrogate U\+D[8F]"):
        toml_string(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bare_Key-9", "bare_Key-9"),
        ("two words", '"two words"'),
        ("example.com", '"example.com"'),
        ("it's", '"it\'s"'),
        ("é", '"é"'),
        ("a]b=#,[", '"a]b=#,["'),
    ],
)
def test_a_key_is_bare_or_quoted(text: str, expected: str) -> None:
    """A key of letters, digits, ``-`` and ``_`` needs no quotes; any other that can be read back is quoted."""
    assert expected == toml_key(text)


@pytest.mark.parametrize("text", ["", 'a"b', "a\\b", "a{b", "a\nb", "\x7f", "\ud800", " a", "a ", "a .b", "a. b"])
def test_a_key_that_cannot_be_read_back_is_refused(text: str) -> None:
    """``toml.loads`` does not decode escapes in keys, and drops some spaces."""
    with pytest.raises(ValueError, match="cannot be kept"):
        toml_key(text)


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        ({}, ""),
        ({"a": 1, "b": True, "c": 1.5, "d": "x"}, 'a = 1\nb = true\nc = 1.5\nd = "x"\n'),
        ({"a": None, "b": 1}, "b = 1\n"),
        ({"day": date(2020, 1, 2)}, "day = 2020-01-02\n"),
        ({"at": datetime(2020, 1, 2, 3, 4, 5, tzinfo=timezone.utc)}, "at = 2020-01-02T03:04:05Z\n"),
        (
            {"a": [], "b": ["x", "y"], "c": (1, 2), "d": [[1], []]},
            'a = []\nb = ["x", "y"]\nc = [1, 2]\nd = [[1], []]\n',
        ),
        ({"a": [["x,y", "[z]"]]}, 'a = [["x\\u002cy", "\\u005bz\\u005d"]]\n'),
        ({"t": {}}, "[t]\n"),
        ({"t": {"u": {"a": 1}}}, "[t.u]\na = 1\n"),
        ({"t": {"a": 1, "u": {}}}, "[t]\na = 1\n\n[t.u]\n"),
        ({"t": {"x y": {"a": 1}}}, '[t."x y"]\na = 1\n'),
        ({"l": [{"a": 1}, {"a": 2}]}, "\n[[l]]\na = 1\n\n[[l]]\na = 2\n"),
        ({"l": ({"a": 1},)}, "\n[[l]]\na = 1\n"),
        ({"t": {"l": [{"a": 1}]}}, "[[t.l]]\na = 1\n"),
        ({"t": {"b": 2, "l": [{"a": 1}]}}, "[t]\nb = 2\n\n[[t.l]]\na = 1\n"),
        ({"t": {"l": [{"a": 1}], "u": {}}}, "[[t.l]]\na = 1\n\n[t.u]\n"),
        ({"l": [{"a": 1, "t": {"b": 2}}]}, "\n[[l]]\na = 1\n\n[l.t]\nb = 2\n"),
        ({"l": [{"t": {"u": {"b": 2}}, "v": {}}]}, "\n[[l]]\n\n[l.t.u]\nb = 2\n\n[l.v]\n"),
        ({1: "x"}, '1 = "x"\n'),
    ],
)
def test_a_tree_is_written_table_by_table(tree: dict[str, Any], expected: str) -> None:
    """Values come before sub-tables, an empty table has a header, None is omitted, and no table is inline."""
    assert expected == dumps(tree)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ({}, "\n[a.b-c]\n"),
        ({"x": 1}, "\n[a.b-c]\nx = 1\n"),
        ({"x": None}, "\n[a.b-c]\n"),
        ({"t": {}}, "\n[a.b-c.t]\n"),
        ({"t": {"u": {"x": 1}}, "y": 2}, "\n[a.b-c]\ny = 2\n\n[a.b-c.t.u]\nx = 1\n"),
        ({"l": [{"x": 1}, {}]}, "\n[[a.b-c.l]]\nx = 1\n\n[[a.b-c.l]]\n"),
        ({"t": {"l": [{"x": {"y": 1}}], "z": 2}}, "\n[a.b-c.t]\nz = 2\n\n[[a.b-c.t.l]]\n\n[a.b-c.t.l.x]\ny = 1\n"),
    ],
)
def test_a_table_alone_has_its_whole_path(table: dict[str, Any], expected: str) -> None:
    """In its header, or in those of what is in it."""
    assert expected == dump_table(("a", "b-c"), table)


@pytest.mark.parametrize(
    "value", [b"x", {1, 2}, Path("/x"), object(), 1j, [None], [{"a": 1}, 2], [[{"a": 1}]], ["x", ["y", b"z"]]]
)
def test_what_toml_cannot_hold_is_refused(value: object) -> None:
    """Only text, numbers, booleans, dates, and lists and tables of them are accepted."""
    with pytest.raises(ValueError, match="cannot be kept: it is a"):
        dumps({"a": value})


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "a = ",
        "a = 1\na = 2",
        'a = "\\q"',
        "[a]\n[a]\n",
        'a = [["[", "x"], ["y"]]',
        "a = " + "[" * 2000 + "]" * 2000,
        "a.b = 1\na.b.c = 2",
        "a\r",
    ],
)
def test_what_is_not_toml_is_a_value_error(text: str) -> None:
    """Whatever exception the ``toml`` package raises for it, the caller gets ValueError."""
    with pytest.raises(ValueError, match=r".+"):
        loads(text)


def test_what_is_toml_is_read() -> None:
    """The result is a tree of dicts, lists and values."""
    assert loads('# x\na = 1\n[t]\nb = ["x"]\n[[l]]\nc = 1.5\n') == {"a": 1, "t": {"b": ["x"]}, "l": [{"c": 1.5}]}
