"""Where the programs are that the contenders run, and in which versions. I/O: looks for files, runs ``--version``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path


def find_traefik(given: str) -> str:
    """Return the Traefik binary: the given one, or one on PATH or beside this Python; "" if there is none."""
    return _find(given, "traefik", sysconfig.get_path("scripts"))


def find_chp(given: str) -> str:
    """Return configurable-http-proxy: the given one, or one on PATH or installed by npm in this folder; "" if none."""
    return _find(given, "configurable-http-proxy", "node_modules/.bin")


def _find(given: str, name: str, folder: str) -> str:
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), folder])
    found = shutil.which(given or name, path=path)
    return str(Path(found).absolute()) if found else ""


def traefik_version(command: str) -> str:
    """Return Traefik's version, as it says."""
    return first_line(command, "version").partition(":")[2].strip()


def first_line(*command: str) -> str:
    """Return the first line that a command prints, or why it prints nothing."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        return f"unknown: {error}"
    return (done.stdout or done.stderr).strip().partition("\n")[0].strip()
