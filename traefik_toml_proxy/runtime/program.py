"""Finds the Traefik program and asks for its version. Does I/O, never on the event loop."""

from __future__ import annotations

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
from ..threads import in_thread
from ..traefik.static import OLDEST_VERSION, Version

_VERSION = re.compile(r"^Version:\s+v?(\d+)\.(\d+)\.(\d+)", re.MULTILINE)
_VERSION_SECONDS = 20

# The only variables that Traefik inherits from the Hub: no secrets, and not HTTP_PROXY and the like, because Traefik would
# send users' requests through that proxy (pkg/server/service/transport.go:320).
_KEPT_VARIABLES = ("HOME", "LANG", "LC_ALL", "LC_CTYPE", "LOGNAME", "PATH", "TMPDIR", "TZ", "USER")


@dataclass(frozen=True, slots=True)
class Program:
    """A Traefik that can be started.

    Attributes:
        command: The absolute path of the program, and the arguments to put first.
        version: The version that it reports.
    """

    command: tuple[str, ...]
    version: Version


# Go collects garbage half as often: with 5,000 routes, a reload takes a sixth less time and 60 MiB more; with one, 9 MiB.
_OUR_VARIABLES = {"GOGC": "200"}


def child_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for Traefik: a few harmless variables of this process, our defaults, and ``extra``."""
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    return kept | _OUR_VARIABLES | dict(extra)


async def find_program(command: Sequence[str], environment: Mapping[str, str]) -> Program:
    """Find Traefik: use ``command``, or if it is empty look beside the running Python, then on PATH.

    Args:
        command: ``c.TraefikProxy.traefik_command``; may be empty.
        environment: The environment in which to run it, to ask for its version.

    Raises:
        TraefikNotFound: If the program does not exist.
        TraefikUnsupported: If the program is too old, or not Traefik.
    """
    full_command = await in_thread(_find, command)
    version = await in_thread(_ask_version, full_command, environment)
    if version < OLDEST_VERSION:
        raise TraefikUnsupported(" ".join(full_command), "Traefik " + ".".join(map(str, version)))
    return Program(full_command, version)


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
    command_text = " ".join(command)
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
        raise TraefikUnsupported(command_text, f"not a program that can be run ({error.strerror})") from error
    with process:
        try:
            output, _ = process.communicate(timeout=_VERSION_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise TraefikUnsupported(command_text, f"not responding (no version within {_VERSION_SECONDS} s)") from None
    text = output.decode(errors="replace")
    match = _VERSION.search(text)
    if match is None:
        raise TraefikUnsupported(command_text, f"not Traefik, or does not report its version ({quoted(text)})")
    major, minor, patch = map(int, match.groups())
    return major, minor, patch
