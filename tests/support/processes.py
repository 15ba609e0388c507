"""Looking at processes through /proc."""

from __future__ import annotations

import contextlib
from pathlib import Path


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def alive(pid: int | None) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not."""
    try:
        return pid is not None and _stat(pid)[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def identity(pid: int) -> dict[str, object]:
    """Return who this process is, in the form of the record of a running Traefik."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return {"pid": pid, "boot": boot, "start_ticks": int(_stat(pid)[19])}


def command_line(pid: int | None) -> list[str]:
    """Return the program and its arguments."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode().removesuffix("\0").split("\0")


def environment(pid: int | None) -> dict[str, str]:
    """Return what the process was started with."""
    entries = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return dict(entry.split("=", 1) for entry in entries if entry)


def open_files(pid: int | None) -> set[str]:
    """Return what the process has open: paths, and ``socket:[number]`` and the like."""
    found = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            found.add(str(link.readlink()))
    return found


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
    """Read an address as the kernel writes it: words of the machine's byte order, in hexadecimal."""
    if len(text) == 8:
        return ".".join(str(byte) for byte in reversed(bytes.fromhex(text)))
    return f"[{text.lower()}]" if int(text, 16) else "[::]"
