"""A store, a probe and an activity that do on demand what the real ones seldom do. They pass the same contract tests."""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import Mapping
from datetime import datetime

from traefik_toml_proxy.errors import CommitFailed, StoreError, StoreLocked
from traefik_toml_proxy.routes import RouteTable, Snapshot
from traefik_toml_proxy.runtime.answers import Refusals
from traefik_toml_proxy.seams import Answer


class MemoryPlace:
    """Where MemoryStores keep their snapshot, as files do on a disk.

    Attributes:
        snapshot: The last one that was committed.
        owner: The store that has opened it.
        damage: What somebody else has done to it, as ``Store.damage`` says it.
        loses_answers: Whether commits are kept but fail all the same, as when the answer of a server gets lost.
        failures: Raised by the next commits, one each.
    """

    def __init__(self) -> None:
        self.snapshot: Snapshot | None = None
        self.owner: MemoryStore | None = None
        self.damage: str | None = None
        self.failures: deque[Exception] = deque()
        self.loses_answers = False


class MemoryStore:
    """A store in memory. Its commits can be held and made to fail.

    Attributes:
        commits: All snapshots that were committed, in order.
        begun: How many commits have begun.
        gate: Commits wait while this is not set.
        location: Where it is kept, for messages.
        moves: How often its place was replaced.
    """

    def __init__(self, place: MemoryPlace | None = None) -> None:
        self.place = place or MemoryPlace()
        self.commits: list[Snapshot] = []
        self.begun = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.location = "/memory/dynamic.toml"
        self.moves = 0

    async def open(self) -> Snapshot:
        """Take the place, if nobody else has it."""
        if self.place.owner is not None:
            raise StoreLocked(self.location, f"process {os.getpid()}")
        self.place.owner = self
        return self.place.snapshot or Snapshot(0, RouteTable())

    async def commit(self, snapshot: Snapshot) -> None:
        """Keep the snapshot, once the gate is open."""
        if self.place.owner is not self:
            raise StoreError(f"{self.location} is not open")
        self.begun += 1
        await self.gate.wait()
        if self.place.failures:
            raise self.place.failures.popleft()
        self.place.snapshot = snapshot
        self.place.damage = "may hold a change that failed" if self.place.loses_answers else None
        if self.place.loses_answers:
            raise CommitFailed(self.location, "the answer got lost")
        self.commits.append(snapshot)

    async def damage(self) -> str | None:
        """Return what a test has put into ``place.damage`` since the last commit."""
        return self.place.damage if self.begun else None

    async def close(self) -> None:
        """Give up the place."""
        if self.place.owner is self:
            self.place.owner = None

    def break_next(self, error: OSError) -> None:
        """Make the next commit fail, as a full disk would."""
        self.place.failures.append(CommitFailed(self.location, f"write failed ({error.strerror})"))


ADVICE = "Look at the test."


class FakeTraefik:
    """A probe and the Traefik that it asks, in one: serves what a store has committed.

    Attributes:
        serving: The revision that it serves.
        up: Whether it answers.
        refuses: Whether something else answers in its place.
        listens: Whether it notices new commits; if not, it goes on serving the last one that it noticed.
        asked: How often it has been asked.
    """

    def __init__(self, place: MemoryPlace) -> None:
        self._place = place
        self.serving: int | None = None
        self.up = True
        self.refuses = False
        self.listens = True
        self.asked = 0
        self.url = "http://fake:1"

    async def ask(self) -> Answer:
        """Return what it serves now."""
        self.asked += 1
        if not self.up:
            return Answer(None, answered=False, description=f"no answer from {self.url}: refused", advice=ADVICE)
        if self.refuses:
            return Answer(None, answered=True, description=f"{self.url} answered 401", advice=ADVICE, refused=True)
        if self.listens and self._place.snapshot is not None:
            self.serving = self._place.snapshot.revision
        if self.serving is None:
            return Answer(
                None, answered=True, description=f"{self.url} answered 404, without our revision", advice=ADVICE
            )
        return Answer(
            self.serving, answered=True, description=f"{self.url} serves revision {self.serving}", advice=ADVICE
        )

    async def wait(self, revision: int, timeout: float, *, if_refused: float | None = None) -> Answer:
        """Ask until it serves ``revision`` or a later one, or the time is up."""
        refusals = Refusals(if_refused)
        began = time.monotonic()
        while True:
            answer = await self.ask()
            refusals.add(answer, time.monotonic())
            if refusals.certain or answer.serves(revision) or time.monotonic() - began >= timeout:
                return answer
            await asyncio.sleep(0.001)

    async def close(self) -> None:
        """Nothing is open."""


class FakeActivity:
    """An activity that knows what a test tells it.

    Attributes:
        seen: When each routespec was last seen.
    """

    def __init__(self, seen: Mapping[str, datetime] | None = None) -> None:
        self.seen = dict(seen or {})

    async def last_seen(self) -> Mapping[str, datetime]:
        """Return what it was told."""
        return dict(self.seen)
