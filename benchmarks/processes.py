"""Processes, their memory and their processor time. I/O: /proc, signals."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Process(NamedTuple):
    """A process, with its start time: ids are reused."""

    pid: int
    started: int


class _Stat(NamedTuple):
    parent: int
    state: str
    cpu_ticks: int
    user_ticks: int
    started: int
    resident_pages: int


def _stat(pid: int) -> _Stat | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # proc(5): the command may contain anything, and ends at the last parenthesis. Index 0 here is field 3 there.
    fields = text.rpartition(")")[2].split()
    return _Stat(
        parent=int(fields[1]),
        state=fields[0],
        cpu_ticks=int(fields[11]) + int(fields[12]),
        user_ticks=int(fields[11]),
        started=int(fields[19]),
        resident_pages=int(fields[21]),
    )


def identify(pid: int) -> Process | None:
    """Return the running process with this id, or None."""
    stat = _stat(pid)
    return None if stat is None else Process(pid, stat.started)


def is_running(process: Process) -> bool:
    """Whether a process still runs; a zombie does not."""
    stat = _stat(process.pid)
    return stat is not None and stat.started == process.started and stat.state not in "ZX"


def cpu_seconds(processes: list[Process]) -> float:
    """Return the user and system time that the processes have used since their start."""
    stats = [_stat(process.pid) for process in processes]
    return sum(stat.cpu_ticks for stat in stats if stat) / _TICK


def user_seconds(processes: list[Process]) -> float:
    """Return the user time that the processes have used since their start: all but that of the kernel."""
    stats = [_stat(process.pid) for process in processes]
    return sum(stat.user_ticks for stat in stats if stat) / _TICK


def resident_bytes(processes: list[Process]) -> int:
    """Return the resident memory of the processes; memory that they share is counted for each."""
    stats = [_stat(process.pid) for process in processes]
    return sum(stat.resident_pages for stat in stats if stat) * _PAGE


def descendants(pid: int) -> list[Process]:
    """Return the processes that a process has started, and those that they have started in turn."""
    children: dict[int, list[Process]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and (stat := _stat(int(folder.name))) is not None:
            children.setdefault(stat.parent, []).append(Process(int(folder.name), stat.started))
    found = []
    todo = [pid]
    while todo:
        for process in children.get(todo.pop(), []):
            found.append(process)
            todo.append(process.pid)
    return found


def end(process: Process, seconds: float = 5) -> None:
    """End a process, with SIGTERM and, if it still runs after ``seconds``, with SIGKILL."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if not is_running(process):
            return
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)
        deadline = time.monotonic() + seconds
        while is_running(process) and time.monotonic() < deadline:
            with suppress(ChildProcessError):
                os.waitpid(process.pid, os.WNOHANG)  # a child of ours stays a zombie until then
            time.sleep(0.02)
