"""The Python that a worker or a Hub runs in: this one, or one with another version of the package. I/O: makes a folder."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

_BENCHMARKS = Path(__file__).resolve().parent

# The folder of this checkout.
ROOT = _BENCHMARKS.parent


@dataclass(frozen=True)
class Interpreter:
    """A Python, and where it finds the package ``benchmarks``.

    Attributes:
        executable: Its path.
        import_folder: The folder that has ``benchmarks``; processes start in it, as ``python -m`` looks there first.
        python_path: For the environment variable ``PYTHONPATH``.
    """

    executable: str
    import_folder: Path
    python_path: str

    def environment(self) -> dict[str, str]:
        """Return this process's environment, with ``benchmarks`` on the import path in any folder."""
        return {**os.environ, "PYTHONPATH": self.python_path}


def this_interpreter() -> Interpreter:
    """Return the Python that runs this, with the ``traefik_toml_proxy`` of this checkout."""
    python_path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    return Interpreter(sys.executable, ROOT, python_path)


def other_interpreter(executable: str, folder: Path) -> Interpreter:
    """Return another Python, with the ``benchmarks`` of this checkout and the ``traefik_toml_proxy`` installed there.

    Args:
        executable: Its path.
        folder: Gets a link to ``benchmarks``, and nothing else: the checkout has a ``traefik_toml_proxy`` as well, which
            would hide the installed one.
    """
    folder.mkdir()
    (folder / "benchmarks").symlink_to(_BENCHMARKS)
    return Interpreter(str(Path(executable).absolute()), folder, str(folder))
