"""Scripts that stand in for Traefik and misbehave on demand."""

from __future__ import annotations

import shlex
from pathlib import Path

# Sleeps until it is killed. `exec` keeps it one process, and ignored signals ignored.
FOREVER = "exec tail -f /dev/null"


def says_version(version: str) -> str:
    """Return what ``traefik version`` prints for this version."""
    return f"Version:      {version}\nCodename:     langres\nGo version:   go1.26.9\nOS/Arch:      linux/amd64\n"


def script(path: Path, body: str, *, version: str = "3.7.0") -> Path:
    """Write a shell script that prints a version as Traefik does, and otherwise runs ``body``.

    Args:
        path: Where to write it.
        body: Shell commands.
        version: The version that it prints.
    """
    return any_script(path, f'if [ "$1" = version ]; then {tells(version)}; exit; fi\n{body}')


def tells(version: str) -> str:
    """Return a shell command that prints what ``traefik version`` prints; works with an empty PATH."""
    return f"printf %s {shlex.quote(says_version(version))}"


def any_script(path: Path, body: str) -> Path:
    """Write a shell script that runs ``body``, whatever its arguments are."""
    new = path.with_name(path.name + ".new")
    new.write_text(f"#!/bin/sh\n{body}\n")
    new.chmod(0o700)
    return new.rename(path)  # a shell that is running the old file must not read the new one
