"""What the Hub and Traefik hold, so that two moments at which they have the same to do can be compared."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any

from support.processes import descriptors


@dataclass(frozen=True)
class More:
    """What a process may hold later that it did not hold before, besides files and tasks: of these, nothing.

    Attributes:
        kilobytes: How much more memory.
        sockets: How many more sockets.
        threads: How many more threads.
        objects: How many more objects, of all types together.
        of_a_type: How many more objects of one type.
        blocks: How many more blocks of memory.
    """

    kilobytes: float
    sockets: float = 0
    threads: float = 0
    objects: float = math.inf
    of_a_type: float = math.inf
    blocks: float = math.inf

    @classmethod
    def amid_faults(cls, changes: int, *, kilobytes: float) -> More:
        """Return what may be more after so many changes, with faults and users: some code runs for the first time."""
        # The probe's own connection, and one that is being closed. A pool starts a thread when all others are busy.
        return cls(kilobytes, sockets=2, threads=8, objects=300 + 0.25 * changes)

    @classmethod
    def in_peace(cls, changes: int, *, kilobytes: float, threads: float = 0) -> More:
        """Return what may be more after so many changes, and nothing else."""
        # Numbers and texts are blocks without being objects, but also what the interpreter keeps for later.
        return cls(kilobytes, threads=threads, of_a_type=0.05 * changes, blocks=0.8 * changes)


@dataclass(frozen=True)
class Held:
    """What a process holds.

    Attributes:
        files: How many descriptors it has, by what they are; sockets are not among them.
        sockets: How many sockets it has.
        threads: How many threads it has.
        kilobytes: Its memory (VmRSS and VmSwap in proc(5)).
        tasks: How many asyncio tasks it has; 0 if it is not the Hub.
        objects: How many objects Python's garbage collector knows, by type; none if it is not the Hub.
        blocks: How many blocks of memory Python's allocator has given out; 0 if it is not the Hub.
    """

    files: Counter[str]
    sockets: int
    threads: int
    kilobytes: int
    tasks: int = 0
    objects: Counter[str] = field(default_factory=Counter)
    blocks: int = 0

    @classmethod
    def by(cls, pid: int, inside: Mapping[str, Any] | None = None) -> Held:
        """Look at a process.

        Args:
            pid: Its id.
            inside: What the Hub has said of itself, if it is the Hub.
        """
        # By the name of a file alone: its folder may have been moved, and the file deleted.
        kinds = Counter(re.sub(r":\[\d+\]$| \(deleted\)$|^/.*/", "", name) for name in descriptors(pid))
        sockets = kinds.pop("socket", 0)
        status = Path(f"/proc/{pid}/status").read_text()
        numbers = {name: int(value) for name, value in re.findall(r"^(\w+):\s+(\d+)", status, re.MULTILINE)}
        held = cls(kinds, sockets, numbers["Threads"], numbers["VmRSS"] + numbers["VmSwap"])
        if inside is None:
            return held
        return cls(
            *(held.files, held.sockets, held.threads, held.kilobytes),
            *(inside["tasks"], Counter(inside["objects"]), inside["blocks"]),
        )

    @classmethod
    def most(cls, looks: Sequence[Held]) -> Held:
        """Return the most of each that was held at one of these moments."""
        return cls(
            reduce(or_, (held.files for held in looks)),
            max(held.sockets for held in looks),
            max(held.threads for held in looks),
            max(held.kilobytes for held in looks),
            max(held.tasks for held in looks),
            reduce(or_, (held.objects for held in looks)),
            max(held.blocks for held in looks),
        )

    def __str__(self) -> str:
        return (
            f"{self.files.total()} files, {self.sockets} sockets, {self.threads} threads, "
            f"{self.kilobytes / 1024:.1f} MB, {self.tasks} tasks, {self.objects.total()} objects, {self.blocks} blocks"
        )

    def leaks_since(self, before: Held, more: More) -> Iterator[str]:
        """Yield what has become more, in words.

        Args:
            before: What the process held then.
            more: How much more it may hold.
        """
        files = self.files - before.files
        if files:
            yield f"more files: {dict(files)}"
        most_of = ", ".join(f"{n} {kind}" for kind, n in (self.objects - before.objects).most_common(5))
        kinds = [
            (f"objects of the type {kind}", now, before.objects[kind], more.of_a_type)
            for kind, now in self.objects.items()
        ]
        for what, now, then, most in (
            ("sockets", self.sockets, before.sockets, more.sockets),
            ("threads", self.threads, before.threads, more.threads),
            ("kilobytes", self.kilobytes, before.kilobytes, more.kilobytes),
            ("tasks", self.tasks, before.tasks, 0),
            (f"objects, {most_of}", self.objects.total(), before.objects.total(), more.objects),
            *kinds,
            ("blocks of memory", self.blocks, before.blocks, more.blocks),
        ):
            if now - then > most:
                yield f"{now - then} more {what} ({then}, now {now}; at most {most:g} more)"
