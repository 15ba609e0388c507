"""Programs that take Traefik's place and misbehave on demand."""

from __future__ import annotations

import shlex
from pathlib import Path

# Sleeps until it is killed, as one process that keeps the signals it ignores.
FOREVER = "exec tail -f /dev/null"


def says_version(version: str) -> str:
    """Return what ``traefik version`` prints, for a version."""
    return f"Version:      {version}\nCodename:     langres\nGo version:   go1.26.9\nOS/Arch:      linux/amd64\n"


def script(path: Path, body: str, *, version: str = "3.7.0") -> Path:
    """Write a shell script that tells its version as Traefik does, and otherwise runs ``body``.

    Args:
        path: Where to write it.
        body: Shell commands.
        version: What it says it is.
    """
    return any_script(path, f'if [ "$1" = version ]; then {tells(version)}; exit; fi\n{body}')


def tells(version: str) -> str:
    """Return a shell command that prints what ``traefik version`` does; it needs nothing on PATH."""
    return f"printf %s {shlex.quote(says_version(version))}"


def any_script(path: Path, body: str) -> Path:
    """Write a shell script that runs ``body``, whatever its arguments are."""
    new = path.with_name(path.name + ".new")
    new.write_text(f"#!/bin/sh\n{body}\n")
    new.chmod(0o700)
    return new.rename(path)  # a shell that runs the old one reads on in it
