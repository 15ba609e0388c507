"""What the Hub and Traefik hold, so that two moments at which they have the same to do can be compared."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from support.processes import descriptors

# What a process may hold later that it did not hold before. In between there were dozens of changes.
MORE_SOCKETS = 2  # the probe's own connection, and one that is being closed
MORE_THREADS = 8  # a pool starts a thread when it first needs it
# From some 150 changes on, one object that is kept at each is more than this.
MORE_OBJECTS = 100
OBJECTS_EACH_CHANGE = 0.25


@dataclass(frozen=True)
class Held:
    """What a process holds.

    Attributes:
        files: How many descriptors it has, by what they are; sockets are not among them.
        sockets: How many sockets it has.
        threads: How many threads it has.
        kilobytes: Its memory (VmRSS and VmSwap in proc(5)).
        tasks: How many asyncio tasks it has; 0 if it is not the Hub.
        objects: How many objects Python's garbage collector knows; 0 if it is not the Hub.
    """

    files: Counter[str]
    sockets: int
    threads: int
    kilobytes: int
    tasks: int
    objects: int

    @classmethod
    def by(cls, pid: int, *, tasks: int = 0, objects: int = 0) -> Held:
        """Look at a process."""
        kinds = Counter(re.sub(r":\[\d+\]$", "", name) for name in descriptors(pid))
        sockets = kinds.pop("socket", 0)
        status = Path(f"/proc/{pid}/status").read_text()
        numbers = {name: int(value) for name, value in re.findall(r"^(\w+):\s+(\d+)", status, re.MULTILINE)}
        return cls(kinds, sockets, numbers["Threads"], numbers["VmRSS"] + numbers["VmSwap"], tasks, objects)

    def __str__(self) -> str:
        return (
            f"{sum(self.files.values())} files, {self.sockets} sockets, {self.threads} threads, "
            f"{self.kilobytes / 1024:.1f} MB, {self.tasks} tasks, {self.objects} objects"
        )

    def leaks_since(self, before: Held, *, changes: int, kilobytes: int) -> Iterator[str]:
        """Yield what has become more, in words.

        Args:
            before: What the process held then.
            changes: How many changes of routes there were in between.
            kilobytes: How much more memory it may have.
        """
        more = self.files - before.files
        if more:
            yield f"more files: {dict(more)}"
        for what, now, then, most in (
            ("sockets", self.sockets, before.sockets, MORE_SOCKETS),
            ("threads", self.threads, before.threads, MORE_THREADS),
            ("kilobytes", self.kilobytes, before.kilobytes, kilobytes),
            ("tasks", self.tasks, before.tasks, 0),
            ("objects", self.objects, before.objects, MORE_OBJECTS + OBJECTS_EACH_CHANGE * changes),
        ):
            if now - then > most:
                yield f"{now - then} more {what} ({then}, now {now}; at most {most:g} more)"
