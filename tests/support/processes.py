"""Looking at processes through /proc (proc(5))."""

from __future__ import annotations

import contextlib
import os
from io import FileIO
from pathlib import Path

# In the environment of what tests start, so that it is found even after its own parent has ended.
MARK = {"TTP_TEST": str(os.getpid())}

# Fields of /proc/<pid>/stat, counted from the one after the name.
_STATE, _PARENT, _START_TICKS = 0, 1, 19


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def alive(pid: int | None) -> bool:
    """Whether a process is running; a zombie is not."""
    try:
        return pid is not None and _stat(pid)[_STATE] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def all_others() -> set[int]:
    """Return the ids of all processes but this one."""
    with os.scandir("/proc") as entries:
        return {int(entry.name) for entry in entries if entry.name.isdigit()} - {os.getpid()}


def started_here() -> set[int]:
    """Return the running processes that this one has started, or that have its :data:`MARK`.

    It reads bytes, with no more calls than it must: it is called twice for each test, and looks at all processes.
    """
    here, mark = str(os.getpid()).encode(), "=".join(*MARK.items()).encode()
    found = set()
    for pid in all_others():
        with contextlib.suppress(OSError):  # it has ended meanwhile, or belongs to another user
            state, parent = _read(pid, "stat").rpartition(b")")[2].split(None, 2)[:2]
            if state not in b"ZX" and (parent == here or mark in _read(pid, "environ").split(b"\0")):
                found.add(pid)
    return found


def _read(pid: int, file: str) -> bytes:
    with FileIO(f"/proc/{pid}/{file}") as opened:
        return opened.readall()


def identity(pid: int) -> dict[str, object]:
    """Return what identifies a process, as in the record of a running Traefik."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return {"pid": pid, "boot": boot, "start_ticks": int(_stat(pid)[_START_TICKS])}


def command_line(pid: int | None) -> list[str]:
    """Return the program and its arguments."""
    return _entries(pid, "cmdline")


def environment(pid: int | None) -> dict[str, str]:
    """Return the environment that the process was started with."""
    return dict(entry.split("=", 1) for entry in _entries(pid, "environ") if "=" in entry)


def _entries(pid: int | None, file: str) -> list[str]:
    return Path(f"/proc/{pid}/{file}").read_bytes().decode(errors="surrogateescape").removesuffix("\0").split("\0")


def children(pid: int) -> set[int]:
    """Return the processes that this one has started and not waited for: running ones and zombies."""
    found = set()
    for other in all_others():
        with contextlib.suppress(OSError):
            if int(_stat(other)[_PARENT]) == pid:
                found.add(other)
    return found


def descriptors(pid: int | None) -> list[str]:
    """Return what each open descriptor of the process is: a path, or ``socket:[number]`` and the like."""
    found = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            found.append(str(link.readlink()))
    return found


def open_files(pid: int | None) -> set[str]:
    """Return what the process has open: paths, and ``socket:[number]`` and the like."""
    return set(descriptors(pid))


def listening(pid: int | None) -> set[str]:
    """Return where the process listens for TCP connections: ``127.0.0.1:8000``, ``[::]:8000``."""
    sockets = open_files(pid)
    found = set()
    for family in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{family}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
                host, _, port = fields[1].partition(":")
                found.add(f"{_address(host)}:{int(port, 16)}")
    return found


def _address(text: str) -> str:
    """Read an address as the kernel writes it: hexadecimal words in the machine's byte order."""
    if len(text) == 8:
        return ".".join(str(byte) for byte in reversed(bytes.fromhex(text)))
    return f"[{text.lower()}]" if int(text, 16) else "[::]"
