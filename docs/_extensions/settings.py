"""What `autodoc` shows of a proxy class: the settings that it adds, with their help texts."""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata
from traitlets import Integer, TraitType


class _Octal(int):
    """A file mode, shown as it is written in a configuration file."""

    def __repr__(self) -> str:
        return f"0o{self:o}"


def modes_in_octal(app: Sphinx, what: str, name: str, obj: Any, skip: bool, options: Any) -> None:
    """Show the default of a file mode as an administrator writes it."""
    if isinstance(obj, Integer) and name.endswith("_mode"):
        obj.default_value = _Octal(obj.default_value)


def skip_all_but_settings(app: Sphinx, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool:
    """Leave out methods, and traits that are not for configuration files."""
    return skip or not (isinstance(obj, TraitType) and bool(obj.metadata.get("config")))


def help_as_rst(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Turn a help text, which is written for a terminal, into reStructuredText: code in backticks, and indented examples."""
    for number, line in enumerate(lines):
        example_follows = line.endswith(":") and "".join(lines[number + 1 : number + 3]).startswith("    ")
        lines[number] = re.sub(r"(?<!`)`([^`]+)`(?!`)", r"``\1``", line) + (":" if example_follows else "")


def setup(app: Sphinx) -> ExtensionMetadata:
    """Connect all of them to `autodoc`."""
    app.connect("autodoc-skip-member", modes_in_octal)
    app.connect("autodoc-skip-member", skip_all_but_settings)
    app.connect("autodoc-process-docstring", help_as_rst)
    return {"parallel_read_safe": True}
