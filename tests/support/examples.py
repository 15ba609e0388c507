"""The files in examples/, as a test installs them: with its own paths and ports in place of those in the file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"


def install(example: str, to: Path, *, changes: Mapping[str, object] | None = None) -> Path:
    """Copy a file; return its new path.

    Args:
        example: Its path in examples/.
        to: The new path, or a folder.
        changes: What to replace; each must be in the file.
    """
    text = EXAMPLES.joinpath(example).read_text("utf-8")
    for before, after in (changes or {}).items():
        assert before in text, f"{before!r} is no longer in examples/{example}"
        text = text.replace(before, str(after))
    path = to / Path(example).name if to.is_dir() else to
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path
