"""Processes as Linux's /proc shows them. Does I/O: reads /proc, sends signals."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

# In the environment of everything that the suite starts: it says which run of the suite a process belongs to, also after
# its parent has been killed.
MARK = "CONFORMANCE_RUN"
# Seconds in which a killed process must have ended.
_SECONDS_TO_END = 5.0


def folder_prefix() -> str:
    """Return what the names of this run's folders begin with: they tell its processes if those have lost their mark."""
    return f"conformance-{os.getpid()}-"


def own_processes() -> set[int]:
    """Return the ids of the running processes that this run of the suite has started, those of a killed Hub included."""
    mark = f"{MARK}={os.getpid()}".encode()
    folder = f"/{folder_prefix()}".encode()
    found = set()
    for pid in _all_processes():
        state, parent, *_ = _stat(pid)
        if pid == os.getpid() or state in ("", "Z"):
            continue
        with contextlib.suppress(OSError):
            if (
                parent == str(os.getpid())
                or mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
                or folder in Path(f"/proc/{pid}/cmdline").read_bytes()
                or folder in os.fsencode(Path(f"/proc/{pid}/cwd").readlink())
            ):
                found.add(pid)
    return found


def descendants(pid: int) -> set[int]:
    """Return the ids of the processes that a process has started, and that those have started in turn."""
    parents = {child: _stat(child)[1] for child in _all_processes()}
    found: set[int] = set()
    generation = {pid}
    while generation:
        generation = {child for child, parent in parents.items() if parent and int(parent) in generation} - found
        found |= generation
    return found


def start_time(pid: int) -> str:
    """Return when a process was started, in clock ticks since boot; "" if there is no such process.

    The id of a process may be reused, its id and start time together are not.
    """
    return _stat(pid)[19]


def kill_all(pids: Iterable[int]) -> None:
    """Kill processes with SIGKILL, wait until they have ended, and reap those that are children of this one."""
    killed = {pid: start_time(pid) for pid in pids}
    for pid in killed:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)
    end = time.monotonic() + _SECONDS_TO_END
    while time.monotonic() < end and any(_runs(pid, started) for pid, started in killed.items()):
        time.sleep(0.01)


def _runs(pid: int, started: str) -> bool:
    state, *_ = _stat(pid)
    return state not in ("", "Z", "X") and start_time(pid) == started


def _all_processes() -> Iterator[int]:
    return (int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit())


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/<pid>/stat after the command (proc(5)): state, parent and so on; all "" if it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return [""] * 50
