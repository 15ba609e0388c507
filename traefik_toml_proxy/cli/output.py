"""Prints what commands have found: with colours and tables on a terminal if rich is there, else as plain text. Does I/O."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import quoted
from ..findings import Finding, Verdict, anything_wrong
from ..masking import without_secrets

_MARKS = {Verdict.FINE: ("ok", "green"), Verdict.WRONG: ("WRONG", "bold red"), Verdict.UNKNOWN: ("?", "yellow")}


def say(text: str, style: str = "") -> None:
    """Print a line, without secrets.

    Args:
        text: The text; control characters in it are escaped, except for line ends.
        style: A style of rich, for a terminal.
    """
    shown = _shown(text)
    console = _console()
    if console is None:
        print(shown)  # noqa: T201 - this is where commands print
    else:
        console.print(shown, style=style, markup=False, highlight=False, soft_wrap=True)


def say_json(tree: Any) -> None:
    """Print a tree as JSON, without secrets."""
    print(json.dumps(_masked(tree), indent=1))  # noqa: T201 - as above


def _masked(tree: Any) -> Any:
    """Return a tree in which no text has secrets. As JSON, the lines of a text could not be told apart."""
    match tree:
        case str():
            return without_secrets(tree)
        case Mapping():
            return {key: _masked(value) for key, value in tree.items()}
        case list():
            return [_masked(value) for value in tree]
    return tree


def say_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table, without secrets."""
    # Each is one line: a user's name that has line ends could look like more rows.
    shown = [[_shown(cell.replace("\n", "\\n")) for cell in row] for row in rows]
    console = _console()
    if console is None:
        widths = [max(map(len, column)) for column in zip(header, *shown, strict=True)]
        for row in (header, *shown):
            line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            print(line.rstrip())  # noqa: T201 - as above
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(*header)
    for row in shown:
        table.add_row(*map(Text, row))
    console.print(table)


def say_findings(introduction: str, findings: Sequence[Finding]) -> None:
    """Print a line for each finding, and under it what mends it."""
    say(introduction, "dim")
    for finding in findings:
        mark, style = _MARKS[finding.verdict]
        say(f"{mark:<5}  {finding.about}: {finding.text}", style)
        if finding.mend:
            say(f"       {finding.mend}")
    if anything_wrong(findings):
        conclusion = "Something is wrong."
    elif any(finding.verdict is Verdict.UNKNOWN for finding in findings):
        conclusion = "Nothing is wrong, as far as could be seen."
    else:
        conclusion = "All is well."
    say(conclusion, "bold")


def _shown(text: str) -> str:
    lines = without_secrets(text).split("\n")
    return "\n".join(line if line.isprintable() else quoted(line, limit=len(line)) for line in lines)


def _console() -> Any:
    """Return a console of rich; None if the output is no terminal, or rich is not installed."""
    if not sys.stdout.isatty():
        return None
    try:
        from rich.console import Console
    except ImportError:
        return None
    return Console()
