"""Tables as plain text, and the ratios that the package makes promises about. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict


class Ratio(TypedDict):
    """A number that the package makes a promise about.

    Attributes:
        name: What it is.
        value: None if it was not measured.
        wanted: The limit, with its direction.
        kept: Whether the value is within the limit; None without a value.
        note: The numbers behind it.
    """

    name: str
    value: float | None
    wanted: str
    kept: bool | None
    note: str


def ratio(name: str, value: float | None, limit: float, note: str, *, at_least: bool = False) -> Ratio:
    """Return a ratio.

    Args:
        name: What it is.
        value: None if it was not measured.
        limit: The most that it should be, or the least.
        note: The numbers behind it.
        at_least: Whether ``limit`` is the least.
    """
    kept = None if value is None else (value >= limit if at_least else value <= limit)
    return {
        "name": name,
        "value": value,
        "wanted": f"{'>=' if at_least else '<='} {limit:g}",
        "kept": kept,
        "note": note if value is not None else "not measured",
    }


def ratio_table(ratios: Sequence[Ratio]) -> str:
    """Return the ratios as a table."""
    verdict = {True: "kept", False: "NOT KEPT", None: ""}
    rows = [
        [ratio["name"], number(ratio["value"], 2), ratio["wanted"], verdict[ratio["kept"]], ratio["note"]]
        for ratio in ratios
    ]
    return text_table(["ratio", "value", "wanted", "", "how"], rows)


def number(value: float | None, digits: int = 1) -> str:
    """Return a number as text, and "" for None."""
    return "" if value is None else f"{value:.{digits}f}"


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return rows in columns, with numbers aligned to the right and everything else to the left."""
    lines = [header, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    right = [
        bool(rows) and all(_is_number(row[column]) for row in rows if row[column]) for column in range(len(header))
    ]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in lines
    )


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).replace("/", "", 1).isdigit()
