"""What the results depend on: the machine and the versions. I/O: /proc, a few commands, a temporary file."""

from __future__ import annotations

import datetime
import os
import platform
import re
import statistics
import subprocess
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Any


def describe_machine() -> dict[str, Any]:
    """Return the processor, the memory, the kernel, the load, and how long an fsync takes."""
    return {
        "cpu": _field("/proc/cpuinfo", r"model name\s*:\s*(.+)") or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_mib": int(_field("/proc/meminfo", r"MemTotal:\s*(\d+)") or 0) // 1024,
        "kernel": f"{platform.system()} {platform.release()}",
        "load_1min": os.getloadavg()[0],
        "fsync_ms": _fsync_ms(),
    }


def describe_versions() -> dict[str, str]:
    """Return the versions of what the contenders depend on; their own come from their workers."""
    return {
        "python": platform.python_version(),
        "jupyterhub": package_version("jupyterhub"),
        "node": _node_version(),
    }


def package_version(name: str) -> str:
    """Return an installed package's version, or ``not installed``."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def now() -> str:
    """Return the current time in UTC, as text."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def _node_version() -> str:
    try:
        done = subprocess.run(["node", "--version"], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return "not installed"
    return done.stdout.strip()


def _field(path: str, pattern: str) -> str:
    try:
        found = re.search(pattern, Path(path).read_text(encoding="utf-8"))
    except OSError:
        return ""
    return found[1].strip() if found else ""


def _fsync_ms() -> float:
    """Return the median time for a small write to reach the disk: ours waits for that, the floor does not."""
    times = []
    with tempfile.TemporaryFile() as file:
        for _ in range(15):
            file.write(b"x" * 4096)
            file.flush()
            begin = time.perf_counter()
            os.fsync(file.fileno())
            times.append((time.perf_counter() - begin) * 1000)
    return statistics.median(times)
