"""Converts a tree of settings to TOML text that Traefik reads back exactly, and such text to a tree. Pure.

The ``toml`` package does the layout and the parsing. Strings and keys are written here, for two reasons: the package writes
control characters and some backslashes incorrectly, and Traefik's file provider takes any ``{{`` in the file for the start
of a Go template (pkg/provider/file/file.go:131-147).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import toml
import toml.encoder

from ..errors import quoted

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
# Everything except printable ASCII without " \ {, and a u or U after a backslash.
_SPECIAL = re.compile(r"[^ !#-\[\]-z|}~]|(?<=\\)[uU]")
_ESCAPES = {
    '"': '\\"',
    "\\": "\\\\",
    "\n": "\\n",
    "\t": "\\t",
    "\r": "\\r",
    "{": "\\u007b",
    "u": "\\u0075",
    "U": "\\U00000055",  # toml.loads decodes \\uXXXX first, which here would leave a \\U
}
# The header of a table that has no values before its first array of tables.
_EMPTY_HEADER = re.compile(r"(?m)^\[([^]\n]+)\]\n\n(?=\[\[\1\.)")
# toml.loads splits a list before it reads the strings in it (toml/decoder.py, load_array).
_IN_LIST = str.maketrans({",": "\\u002c", "[": "\\u005b", "]": "\\u005d"})


def toml_string(text: str) -> str:
    """Return ``text`` as a TOML basic string (TOML 1.0, String), without any ``{``.

    A ``u`` after a backslash is escaped, because ``toml.loads`` takes the two for the start of an escape if the string has
    another escape before them (toml/decoder.py, _load_unicode_escapes). A string that starts with a quote is written in
    triple quotes, because ``toml.loads`` loses that quote otherwise (load_value).

    Raises:
        ValueError: If the text has a lone surrogate, which TOML cannot represent.
    """
    quotes = '"""' if text.startswith('"') else '"'
    return quotes + _SPECIAL.sub(_escaped, text) + quotes


def _escaped(special: re.Match[str]) -> str:
    character = special[0]
    escape = _ESCAPES.get(character)
    if escape is not None:
        return escape
    if character.isprintable():
        return character
    code = ord(character)
    if 0xD800 <= code <= 0xDFFF:
        raise ValueError(f"TOML cannot represent the lone surrogate U+{code:04X}")
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def toml_key(text: str) -> str:
    """Return ``text`` as a key: bare where TOML allows it, else quoted.

    Raises:
        ValueError: If ``toml.loads`` would not read it back: it does not decode escapes in keys, and drops spaces at
            their ends and around dots.
    """
    if _BARE_KEY.fullmatch(text):
        return text
    keeps_spaces = text and text == ".".join(part.strip() for part in text.split("."))
    if not keeps_spaces or not text.isprintable() or not {'"', "\\", "{"}.isdisjoint(text):
        raise ValueError(
            f"the key {text!a} cannot be kept: a key must not be empty, have quotes, backslashes, braces or control "
            "characters, or have spaces at its ends or around a dot"
        )
    return f'"{text}"'


class TreeEncoder(toml.encoder.TomlEncoder):  # type: ignore[type-arg] # generic in the stubs only
    """The ``toml`` package's encoder with our strings and keys."""

    def __init__(self) -> None:
        super().__init__()
        self.dump_funcs[str] = toml_string

    def dump_value(self, v: Any) -> str:
        """Return one value that is not a table as TOML text.

        Raises:
            ValueError: If TOML has no such value. A list of tables and other values is not supported, either.
        """
        if isinstance(v, tuple):
            return self.dump_list(v)
        if type(v) not in self.dump_funcs:
            raise ValueError(f"{quoted(repr(v))} cannot be kept: it is a {type(v).__name__}")
        return str(super().dump_value(v))

    def dump_list(self, v: Iterable[Any]) -> str:
        """Return a list as TOML text."""
        texts = ((item, self.dump_value(item)) for item in v)
        safe = (text.translate(_IN_LIST) if isinstance(item, str) else text for item, text in texts)
        return f"[{', '.join(safe)}]"

    def dump_sections(self, o: Mapping[str, Any], sup: str) -> tuple[str, dict[str, Any]]:
        """Return the text of the plain values of one table, and its sub-tables, which the caller writes after it.

        Args:
            o: The table.
            sup: The dotted name of the table as TOML text, or "" for the root.
        """
        lines: list[str] = []
        arrays: list[str] = []
        tables: dict[str, Any] = {}
        for name, value in o.items():
            key = toml_key(str(name))
            if value is None:
                continue
            if isinstance(value, Mapping):
                tables[key] = value
            elif isinstance(value, (list, tuple)) and value and all(isinstance(item, Mapping) for item in value):
                arrays.extend(self._array_item(f"{sup}.{key}" if sup else key, item) for item in value)
            else:
                lines.append(f"{key} = {self.dump_value(value)}\n")
        return "".join(lines + arrays), tables

    def _array_item(self, name: str, item: Mapping[str, Any]) -> str:
        text, tables = self.dump_sections(item, name)
        inner = (self.dump_table(f"{name}.{key}", table) for key, table in tables.items())
        return "".join([f"\n[[{name}]]\n{text}", *inner])

    def dump_table(self, name: str, table: Mapping[str, Any]) -> str:
        """Return the text of one table and of those in it, with their headers.

        Args:
            name: The dotted name of the table as TOML text.
            table: The table.
        """
        text, tables = self.dump_sections(table, name)
        # A table without values needs no header if something in it has one.
        needs_header = not text.startswith("\n[[") if text else not tables
        header = f"\n[{name}]\n" if needs_header else ""
        inner = (self.dump_table(f"{name}.{key}", value) for key, value in tables.items())
        return "".join([header, text, *inner])


_ENCODER = TreeEncoder()


def dump_table(path: Sequence[str], table: Mapping[str, Any]) -> str:
    """Return the text of one table somewhere in a document, in a fraction of the time that :func:`dumps` takes.

    Args:
        path: The keys that lead to the table, outer ones first.
        table: As in :func:`dumps`.

    Raises:
        ValueError: If a value or key cannot be written in TOML.
    """
    return _ENCODER.dump_table(".".join(map(toml_key, path)), table)


def dumps(tree: Mapping[str, Any]) -> str:
    """Return ``tree`` as TOML text.

    Args:
        tree: Tables (dicts) of strings, numbers, booleans, dates, lists and tables; a value of None is left out.

    Raises:
        ValueError: If a value or key cannot be written in TOML.
    """
    # Without these headers, Traefik reads 5,000 routes in a tenth less time.
    return _EMPTY_HEADER.sub("", toml.dumps(tree, encoder=_ENCODER))


def loads(text: str) -> dict[str, Any]:
    """Parse TOML text, and return the tree.

    Raises:
        ValueError: If the text is not TOML.
    """
    try:
        return toml.loads(text)
    except (IndexError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError) as error:
        # The package raises these for some invalid text, instead of its own error.
        raise ValueError(f"not TOML ({type(error).__name__}: {error})") from error
