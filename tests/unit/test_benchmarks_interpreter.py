"""benchmarks.interpreter: another Python runs these benchmarks with the package that is installed there."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import traefik_toml_proxy
from benchmarks import interpreter
from benchmarks.interpreter import Interpreter, other_interpreter, this_interpreter

_SHOW = "import benchmarks.worker as w, traefik_toml_proxy as p; print(w.__file__, p.__file__, sep='\\n')"


def imported_by(python: Interpreter) -> list[Path]:
    """Return the folders that a Python imports ``benchmarks`` and ``traefik_toml_proxy`` from."""
    done = subprocess.run(
        [python.executable, "-c", _SHOW],
        cwd=python.import_folder,
        env=python.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    return [Path(line).parent.resolve() for line in done.stdout.splitlines()]


def test_this_python_imports_both_from_the_checkout() -> None:
    root = Path(interpreter.__file__).parents[1]

    assert imported_by(this_interpreter()) == [root / "benchmarks", root / "traefik_toml_proxy"]


def test_another_python_imports_its_own_version_of_the_package(tmp_path: Path) -> None:
    """The checkout's would hide it if the whole checkout were on the import path."""
    shutil.copytree(Path(traefik_toml_proxy.__file__).parent, tmp_path / "installed" / "traefik_toml_proxy")
    python = tmp_path / "python"
    python.write_text(
        f'#!/bin/sh\nexport PYTHONPATH="$PYTHONPATH:{tmp_path}/installed"\nexec "{sys.executable}" "$@"\n'
    )
    python.chmod(0o755)

    other = other_interpreter(str(python), tmp_path / "links")

    benchmarks = Path(interpreter.__file__).parent
    assert imported_by(other) == [benchmarks, tmp_path / "installed" / "traefik_toml_proxy"]
