"""A soak: changes, faults and users at the same time; then everything is compared with what it should be."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from support.inside import traefik_pid
from support.processes import children, started_here
from support.waiting import PATIENCE, eventually

from . import plan
from .certificate import Certificate
from .changes import Changes
from .expected import Expected
from .faults import NEEDED, Faults, files_in
from .held import Held, More
from .hub import Hub
from .plan import MOVING, PARTS, STEADY, Fault
from .servers import Servers, running_servers
from .table import PLACES
from .users import Users

T = TypeVar("T")

# How much more memory a process may have at the end of a part.
MORE_KILOBYTES = {"Hub": 16 * 1024, "Traefik": 48 * 1024}
# The Go runtime starts a thread whenever all others are busy, and keeps it.
MORE_THREADS = {"Hub": 0, "Traefik": 8}

# Changes in peace: rounds of guests (see ``hub.py``), and how many looks before them are put together.
ROUNDS_BEFORE = 6
ROUNDS = 15
LOOKS_BEFORE = 3


class Soak:
    """Everything that a soak has.

    Attributes:
        expected: What users may see, and what they have seen.
        log: What was done, with the seconds since the beginning.
        left_out: The faults that cannot be made here, and why.
    """

    def __init__(self, traits: Mapping[str, Any], folder: Path, seed: int) -> None:
        """Set what to soak; nothing is started.

        Args:
            traits: The traits of the proxy.
            folder: For certificates, and the log of the Hub.
            seed: Decides what happens.
        """
        self.expected = Expected(PATIENCE)
        self.log: list[str] = []
        self.left_out = {} if Hub.prefix() is not None else {"close_the_folder": "as root, it needs setpriv"}
        self._seed = seed
        self._state = Path(traits["state_dir"])
        self._url = traits["public_url"]
        self._hub_log = folder / "hub.log"
        self._certificate = Certificate(folder, self.expected)
        self._traits = {**traits, **self._certificate.traits}
        self._users = Users(self._url, self.expected, seed)
        self._servers: Servers
        self._changes: Changes
        self._faults: Faults

    async def run(self, seconds: float) -> None:
        """Soak for about so many seconds, or longer if the faults take longer.

        Raises:
            AssertionError: If something was not as it should be.
        """
        async with running_servers() as self._servers:
            changes = self._changes = Changes(
                self._traits, self._hub_log, self._servers, self._users, self.expected, self._seed
            )
            self._faults = Faults(self._state, self._url, changes, self._certificate, self.expected)
            for place in STEADY:
                changes.table.may_hold(place, {(place.server or "", 0)})
            await changes.start_hub()
            try:
                await changes.add_all()
                for part in range(len(PARTS)):
                    await self._part(part, PARTS[part].share * seconds)
                await self._changes_in_peace()
                await self._end()
            finally:
                # If it has failed. If it has not, both have ended.
                with contextlib.suppress(TimeoutError):
                    await changes.hub.stop()
                await changes.hub.kill()
                self._end_traefik()

    def told(self) -> str:
        """Return all that was done, what the Hub has logged last, and what may not be."""
        seen = f"{self.expected.answered} answers, {self.expected.failed} failures that may be"
        hub_log = self._hub_log.read_text(errors="replace").splitlines() if self._hub_log.exists() else []
        return "\n".join(
            [
                *self.log,
                f"-- {seen}; the longest that a user has waited:",
                *(f"{seconds:8.3f} s with {fault}" for fault, seconds in sorted(self.expected.longest.items())),
                "-- The last changes:",
                *self._changes.log[-30:],
                "-- The last lines of the Hub:",
                *hub_log[-60:],
                f"-- {len(self.expected.problems)} things were seen that may not be; the first ones:",
                *self.expected.problems[:20],
            ]
        )

    def _note(self, what: object) -> None:
        self.log.append(f"{self.expected.now:8.3f} {what}")

    # The parts.

    async def _part(self, part: int, seconds: float) -> None:
        """Faults, while users are about; before and after, everybody is at rest, and what is held is compared."""
        self._note(f"part {part + 1} of {len(PARTS)}")
        faults, end = plan.faults(self._seed, part), self.expected.now + seconds
        await self._use(faults, at_least=1)  # so that what is made only once has been made
        before = await self._at_rest()
        await self._use(faults, at_least=len(PARTS[part].faults), until=end)
        await self._at_rest(before, compare=("Hub", "Traefik")[:part])

    async def _use(self, faults: Iterator[Fault], *, at_least: int, until: float = 0) -> None:
        enough = asyncio.Event()
        async with self._users.about():
            changing = asyncio.create_task(self._changes.go_on(enough))
            try:
                while at_least > 0 or self.expected.now < until:
                    await self._commit(next(faults))
                    self._check()
                    at_least -= 1
            finally:
                enough.set()
                await changing
        self._check()

    async def _commit(self, fault: Fault) -> None:
        if fault.name in self.left_out:
            self._note(f"{fault}: left out: {self.left_out[fault.name]}")
            return
        await asyncio.sleep(fault.pause)
        self._note(f"{fault}: begins")
        seconds = await self._faults.commit(fault)
        self._note(f"{fault}: is mended after {seconds:.1f} s")

    def _check(self) -> None:
        assert not self.expected.problems, f"something was seen that may not be: {self.expected.problems[0]}"

    async def _at_rest(
        self, before: Mapping[str, Held] | None = None, *, compare: tuple[str, ...] = ()
    ) -> Mapping[str, Held]:
        """Return what the Hub and Traefik hold when there is nothing to do, and the routes are those of the beginning.

        Args:
            before: What they held before.
            compare: Which of them may not hold more.
        """
        changes = self._changes
        await asyncio.gather(*(changes.change(place, None) for place in MOVING if changes.table.route(place)))
        made, changes.made = changes.made, 0
        await changes.compare()
        await self._servers.hang_up()
        return await self._compare(
            before or {},
            compare,
            lambda name: More.amid_faults(made, kilobytes=MORE_KILOBYTES[name]),
            f"after {made} changes",
        )

    async def _changes_in_peace(self) -> None:
        """Changes, and nothing else: whatever is left of each of them is counted."""
        hub = self._changes.hub
        await hub.do("fill_pools")
        await hub.do("guests", self._servers.urls["s0"], ROUNDS_BEFORE)
        looks = [await self._held() for _ in range(LOOKS_BEFORE)]
        before = {name: Held.most([look[name] for look in looks]) for name in looks[0]}
        for name, holds in before.items():
            self._note(f"before the changes in peace, {name} holds {holds}")
        made = await hub.do("guests", self._servers.urls["s0"], ROUNDS)
        await self._compare(
            before,
            tuple(before),
            lambda name: More.in_peace(made, kilobytes=MORE_KILOBYTES[name], threads=MORE_THREADS[name]),
            f"after {made} changes in peace",
        )
        await self._changes.compare()

    async def _compare(
        self, before: Mapping[str, Held], compare: tuple[str, ...], more: Callable[[str], More], when: str
    ) -> Mapping[str, Held]:
        """Return what the Hub and Traefik hold. They get a few seconds to let go of what they need no longer.

        Args:
            before: What they held before.
            compare: Which of them are compared with that.
            more: Returns what one of them may hold more.
            when: When that is, for the log.
        """
        held: dict[str, Held] = {}

        async def leaks() -> set[str]:
            held.update(await self._held())
            return {
                f"{name} has {leak}" for name in compare for leak in held[name].leaks_since(before[name], more(name))
            }

        async def is_as_before() -> bool:
            return not await leaks()

        with contextlib.suppress(AssertionError):
            await eventually(is_as_before, within=15)
        for name, holds in held.items():
            self._note(f"{when}, {name} holds {holds}")
        if compare:
            self._same("leaks", await leaks(), set())
        return held

    async def _held(self) -> dict[str, Held]:
        """Return what they hold as soon as that stays the same for a moment."""
        held: dict[str, Held] = {}
        # The proxy looks anew when users were last seen, and forgets the routes that are gone.
        await self._changes.hub.do("routes")

        async def stays_the_same() -> bool:
            sockets = {name: holds.sockets for name, holds in held.items()}
            await asyncio.sleep(0.3)
            held["Hub"] = Held.by(self._changes.hub.pid, await self._changes.hub.do("inside"))
            held["Traefik"] = Held.by(traefik_pid(self._state))
            return sockets == {name: holds.sockets for name, holds in held.items()}

        await eventually(stays_the_same, within=20)
        return held

    async def _end(self) -> None:
        """Compare everything with what it should be, when all is over."""
        for place in PLACES:
            await self._users.ask(place)
        self._check()
        hub, traefik = self._changes.hub, traefik_pid(self._state)
        self._same("processes", started_here(), {hub.pid, self._servers.pid, traefik})
        self._same("children of the Hub", children(hub.pid) - {traefik}, set())
        await hub.stop()
        self._same("processes after the end", started_here(), {self._servers.pid})
        # A folder that was emptied has no log of Traefik any more.
        files = [name for name in files_in(self._state) if name != "traefik.log"]
        self._same("files", set(files), NEEDED - {"traefik-process.json"})
        self._same("number of files", {len(files)}, {len(NEEDED) - 1})
        text = self._hub_log.read_text(errors="replace")
        bugs = {line for line in text.splitlines() if re.search("Traceback|unexpectedly|never retrieved", line)}
        self._same("bugs in the log of the Hub", bugs, set())

    def _same(self, what: str, found: set[T], wanted: set[T]) -> None:
        more, missing = found - wanted, wanted - found
        assert not more, f"{what}: {more} should not be there"
        assert not missing, f"{what}: {missing} are missing"

    def _end_traefik(self) -> None:
        """End what a Hub that was killed has left, when a soak has failed."""
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            os.kill(traefik_pid(self._state), signal.SIGKILL)
