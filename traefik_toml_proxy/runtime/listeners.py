"""Finds the processes that listen at a port, and looks at other processes. Does blocking I/O; call it in a thread."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ..errors import quoted

_LISTEN = "0A"  # include/net/tcp_states.h


class Process(NamedTuple):
    """A process.

    Attributes:
        pid: Its ID.
        name: Its short name, such as ``nginx``; "" if it has ended.
    """

    pid: int
    name: str

    def __str__(self) -> str:
        name = self.name if self.name.isidentifier() else quoted(self.name)
        return f"{name}, process {self.pid}"


def processes() -> Iterator[Process]:
    """Return all processes that can be seen."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                yield Process(int(entry.name), (entry / "comm").read_text().strip())


def listening_inodes(port: int) -> set[int]:
    """Return the inodes of the TCP sockets that listen at a port, at any address of this machine."""
    found = set()
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in Path("/proc/net", table).read_text().splitlines()[1:]:
                fields = line.split()  # proc(5): sl local_address rem_address st ... inode
                if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                    found.add(int(fields[9]))
    return found


def has_socket(pid: int, inodes: set[int]) -> bool:
    """Whether a process has one of these sockets; False if it may not be looked into."""
    with contextlib.suppress(OSError), os.scandir(f"/proc/{pid}/fd") as entries:
        for entry in entries:
            with contextlib.suppress(OSError):  # it has been closed
                link = os.readlink(entry.path)  # noqa: PTH115 - there may be thousands, and a Path takes longer
                if link.startswith("socket:[") and int(link[8:-1]) in inodes:
                    return True
    return False


def holders(port: int) -> list[Process]:
    """Return the processes that listen at a port, as far as they may be looked into."""
    inodes = listening_inodes(port)
    return [process for process in processes() if has_socket(process.pid, inodes)] if inodes else []
