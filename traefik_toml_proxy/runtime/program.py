"""Finds the Traefik program and asks for its version. Does I/O, never on the event loop."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import TraefikNotFound, TraefikUnsupported, quoted
from ..traefik.static import OLDEST_VERSION, Version

_VERSION = re.compile(r"^Version:\s+v?(\d+)\.(\d+)\.(\d+)", re.MULTILINE)
_VERSION_SECONDS = 20

# All that Traefik gets of the Hub's environment. Not the Hub's secrets, and not HTTP_PROXY and its like, through which it
# would send users' requests (pkg/server/service/transport.go:320).
_KEPT_VARIABLES = ("HOME", "LANG", "LC_ALL", "LC_CTYPE", "LOGNAME", "PATH", "TMPDIR", "TZ", "USER")


@dataclass(frozen=True, slots=True)
class Program:
    """A Traefik that can be started.

    Attributes:
        command: The program and its first arguments.
        version: What it says it is.
    """

    command: tuple[str, ...]
    version: Version


# Go collects garbage half as often: with 5,000 routes a reload takes a sixth less time, for 60 MiB more; with one, 9 MiB.
_OUR_VARIABLES = {"GOGC": "200"}


def child_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for Traefik: the few harmless variables of this process, ours, and ``extra``."""
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    return kept | _OUR_VARIABLES | dict(extra)


async def find_program(command: Sequence[str], environment: Mapping[str, str]) -> Program:
    """Find Traefik: ``command`` if there is one, else beside the running Python, else on PATH.

    Args:
        command: ``c.TraefikProxy.traefik_command``; may be empty.
        environment: For asking it for its version.

    Raises:
        TraefikNotFound: If there is none.
        TraefikUnsupported: If it is too old, or no Traefik.
    """
    found = await asyncio.to_thread(_find, command)
    version = await asyncio.to_thread(_ask_version, found, environment)
    if version < OLDEST_VERSION:
        raise TraefikUnsupported(" ".join(found), "Traefik " + ".".join(map(str, version)))
    return Program(found, version)


def _find(command: Sequence[str]) -> tuple[str, ...]:
    if command:
        name, *arguments = command
        path = shutil.which(name)
        if path is None:
            raise TraefikNotFound([f"{quoted(name)} (c.TraefikProxy.traefik_command)"])
        return (str(Path(path).absolute()), *arguments)
    beside_python = str(Path(sys.executable).parent)
    path = shutil.which("traefik", path=beside_python) or shutil.which("traefik")
    if path is None:
        searched = os.environ.get("PATH", "")
        raise TraefikNotFound([f"traefik in {beside_python} (beside Python)", f"traefik on PATH ({searched})"])
    return (str(Path(path).absolute()),)


def _ask_version(command: tuple[str, ...], environment: Mapping[str, str]) -> Version:
    shown_command = " ".join(command)
    try:
        process = subprocess.Popen(
            [*command, "version"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            start_new_session=True,
        )
    except OSError as error:
        raise TraefikUnsupported(shown_command, f"not a program that can be run ({error.strerror})") from error
    with process:
        try:
            output, _ = process.communicate(timeout=_VERSION_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise TraefikUnsupported(shown_command, f"silent: no version within {_VERSION_SECONDS} s") from None
    said = output.decode(errors="replace")
    match = _VERSION.search(said)
    if match is None:
        raise TraefikUnsupported(shown_command, f"not Traefik, or one that does not tell its version ({quoted(said)})")
    major, minor, patch = map(int, match.groups())
    return major, minor, patch
