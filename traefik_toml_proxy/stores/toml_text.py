"""A tree of settings <-> TOML text that Traefik reads back exactly. Pure.

The ``toml`` package does the layout and the reading. Its own writer of strings is wrong for control characters and for some
backslashes, and Traefik's file provider takes any ``{{`` in the file as the start of a Go template, wherever it stands
(pkg/provider/file/file.go:131-147); so strings and keys are written here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import toml
import toml.encoder

from ..errors import quoted

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
# All but printable ASCII without " \ {, and what would belong to a backslash before it.
_SPECIAL = re.compile(r"[^ !#-\[\]-z|}~]|(?<=\\)[uU]")
_ESCAPES = {
    '"': '\\"',
    "\\": "\\\\",
    "\n": "\\n",
    "\t": "\\t",
    "\r": "\\r",
    "{": "\\u007b",
    "u": "\\u0075",
    "U": "\\U00000055",  # toml.loads undoes \\uXXXX first, and would find a \\U then
}
# The header of a table with nothing in it but an array of tables, which begins at once.
_EMPTY_HEADER = re.compile(r"(?m)^\[([^]\n]+)\]\n\n(?=\[\[\1\.)")
# toml.loads takes a list apart before it reads the strings in it (toml/decoder.py, load_array).
_IN_LIST = str.maketrans({",": "\\u002c", "[": "\\u005b", "]": "\\u005d"})


def toml_string(text: str) -> str:
    """Return ``text`` as a TOML basic string (TOML 1.0, String), without any ``{``.

    A ``u`` behind a backslash is written as an escape: ``toml.loads`` takes the two for the beginning of one where the
    string holds another escape before them (toml/decoder.py, _load_unicode_escapes). It also loses quotes at the beginning
    of a string (load_value), but not between three quotes.

    Raises:
        ValueError: If it holds a lone surrogate, which TOML cannot.
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
        raise ValueError(f"TOML cannot hold the lone surrogate U+{code:04X}")
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def toml_key(text: str) -> str:
    """Return ``text`` as a key: bare where TOML allows it, else quoted.

    Raises:
        ValueError: If ``toml.loads`` would not read it back: it does not undo escapes in keys, and drops spaces at the ends
            and around dots.
    """
    if _BARE_KEY.fullmatch(text):
        return text
    spaces_stay = text and text == ".".join(part.strip() for part in text.split("."))
    if not spaces_stay or not text.isprintable() or not {'"', "\\", "{"}.isdisjoint(text):
        raise ValueError(
            f"the key {text!a} cannot be kept: no empty keys, no quotes, backslashes, braces or control characters in "
            "keys, and no spaces at their ends or around a dot"
        )
    return f'"{text}"'


class TreeEncoder(toml.encoder.TomlEncoder):  # type: ignore[type-arg] # generic in the stubs only
    """The ``toml`` package's encoder with our strings and keys."""

    def __init__(self) -> None:
        super().__init__()
        self.dump_funcs[str] = toml_string

    def dump_value(self, v: Any) -> str:
        """Write one value that is not a table.

        Raises:
            ValueError: If TOML has no such value; a list of tables and other things is not one, either.
        """
        if isinstance(v, tuple):
            return self.dump_list(v)
        if type(v) not in self.dump_funcs:
            raise ValueError(f"{quoted(repr(v))} cannot be kept: it is a {type(v).__name__}")
        return str(super().dump_value(v))

    def dump_list(self, v: Iterable[Any]) -> str:
        """Write a list."""
        texts = ((item, self.dump_value(item)) for item in v)
        safe = (text.translate(_IN_LIST) if isinstance(item, str) else text for item, text in texts)
        return f"[{', '.join(safe)}]"

    def dump_sections(self, o: Mapping[str, Any], sup: str) -> tuple[str, dict[str, Any]]:
        """Write the plain values of one table; hand back its sub-tables to be written after it.

        Args:
            o: The table.
            sup: Its own dotted name, already as TOML text, or "" for the root.
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
        parts = [f"\n[[{name}]]\n{text}"]
        while tables:
            key, table = next(iter(tables.items()))
            del tables[key]
            inner, deeper = self.dump_sections(table, f"{name}.{key}")
            if inner or not deeper:
                parts.append(f"\n[{name}.{key}]\n{inner}")
            tables = {f"{key}.{sub}": value for sub, value in deeper.items()} | tables
        return "".join(parts)


_ENCODER = TreeEncoder()


def dumps(tree: Mapping[str, Any]) -> str:
    """Return ``tree`` as TOML text.

    Args:
        tree: Strings, numbers, booleans, dates, lists and tables of them; a value of None is left out.

    Raises:
        ValueError: If a string or key cannot be written in TOML.
    """
    # Traefik reads 5,000 routes in a tenth less time without these headers.
    return _EMPTY_HEADER.sub("", toml.dumps(tree, encoder=_ENCODER))


def loads(text: str) -> dict[str, Any]:
    """Return the tree that ``text`` holds.

    Raises:
        ValueError: If it is not TOML.
    """
    try:
        return toml.loads(text)
    except (IndexError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError) as error:
        # The package trips over some broken text instead of saying that it is broken.
        raise ValueError(f"not TOML ({type(error).__name__}: {error})") from error
