"""A soak: changes, faults and users at the same time; then everything is compared with what it should be."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from support.inside import traefik_pid
from support.processes import alive, children, started_here
from support.waiting import eventually

from . import plan
from .certificate import Certificate
from .expected import EMPTIED, GONE, Expected
from .held import Held
from .hub import Hub, HubGone, Refused
from .plan import MOVING, PARTS, STEADY, Fault, Place
from .servers import Servers, running_servers
from .table import PLACES, Route, Table
from .users import Connection, Failed, Users

T = TypeVar("T")

# How much more memory a process may have at the end of a part.
MORE_KILOBYTES = {"Hub": 16 * 1024, "Traefik": 48 * 1024}

# All that may be in state_dir at the end.
FILES = {
    *("certificates/{hash}-cert.pem", "certificates/{hash}-key.pem"),
    *("dynamic.toml", "dynamic.toml.tmp/lock", "hub.lock", "traefik.log", "traefik.toml", "traefik.toml.tmp/lock"),
}


class Soak:
    """Everything that a soak has.

    Attributes:
        expected: What users may see, and what they have seen.
        log: What was done, with the seconds since the beginning.
    """

    def __init__(self, traits: Mapping[str, Any], folder: Path, seed: int) -> None:
        """Set what to soak; nothing is started.

        Args:
            traits: The traits of the proxy.
            folder: For certificates, and the log of the Hub.
            seed: Decides what happens.
        """
        self.expected = Expected()
        self.log: list[str] = []
        self._seed = seed
        self._state = Path(traits["state_dir"])
        self._url = traits["public_url"]
        self._hub_log = folder / "hub.log"
        self._certificate = Certificate(folder, self.expected)
        self._traits = {**traits, **self._certificate.traits}
        self._users = Users(self._url, self.expected, seed)
        self._table = Table(self.expected)
        self._changes = plan.changes(seed)
        self._change_log: list[str] = []
        self._changes_made = 0
        self._number = 0
        self._may_change = asyncio.Event()
        self._disk_is_broken = False
        self._hub_is_ending = False
        self._hub: Hub
        self._servers: Servers

    async def run(self, seconds: float) -> None:
        """Soak for about so many seconds, or longer if the faults take longer.

        Raises:
            AssertionError: If something was not as it should be.
        """
        async with running_servers() as self._servers:
            for place in STEADY:
                self._table.may_hold(place, {(place.server or "", 0)})
            self._hub = await Hub.started(self._traits, self._hub_log)
            try:
                await self._add_all()
                self._may_change.set()
                for part, (share, _) in enumerate(PARTS):
                    await self._part(part, share * seconds)
                await self._end()
            finally:
                # If it has failed. If it has not, both have ended.
                with contextlib.suppress(TimeoutError):
                    await self._hub.stop()
                await self._hub.kill()
                self._end_traefik()

    def told(self) -> str:
        """Return all that was done, what the Hub has logged last, and what may not be."""
        seen = f"{self.expected.answered} answers, {self.expected.failed} failures that may be"
        hub_log = self._hub_log.read_text(errors="replace").splitlines() if self._hub_log.exists() else []
        return "\n".join(
            [
                *self.log,
                f"-- {self._changes_made} changes, {seen}; the last changes:",
                *self._change_log[-30:],
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
        await self._use(faults, at_least=len(PARTS[part][1]), until=end)
        await self._at_rest(before, compare=("Hub", "Traefik")[:part])

    async def _use(self, faults: Iterator[Fault], *, at_least: int, until: float = 0) -> None:
        enough = asyncio.Event()
        async with self._users.about():
            changing = asyncio.create_task(self._keep_changing(enough))
            try:
                while at_least > 0 or self.expected.now < until:
                    await self._commit(next(faults))
                    assert not self.expected.problems, "something was seen that may not be"
                    at_least -= 1
            finally:
                enough.set()
                await changing
        assert not self.expected.problems, "something was seen that may not be"

    async def _at_rest(
        self, before: Mapping[str, Held] | None = None, *, compare: tuple[str, ...] = ()
    ) -> dict[str, Held]:
        """Return what the Hub and Traefik hold when there is nothing to do, and the routes are those of the beginning.

        Args:
            before: What they held before.
            compare: Which of them may not hold more.
        """
        await asyncio.gather(*(self._change(place, None) for place in MOVING if self._table.route(place)))
        changes, self._changes_made = self._changes_made, 0
        await self._compare_table()
        await self._servers.hang_up()
        held = await self._held()

        async def leaks() -> list[str]:
            held.update(await self._held())
            return [
                f"{name} has {leak}"
                for name in compare
                for leak in held[name].leaks_since(
                    (before or {})[name], changes=changes, kilobytes=MORE_KILOBYTES[name]
                )
            ]

        async def is_as_before() -> bool:
            return not await leaks()

        with contextlib.suppress(AssertionError):
            await eventually(is_as_before, within=15)
        for name, holds in held.items():
            self._note(f"after {changes} changes, {name} holds {holds}")
        self._same("leaks", set(await leaks()), set())
        return held

    async def _held(self) -> dict[str, Held]:
        """Return what they hold as soon as that stays the same for a moment."""
        held: dict[str, Held] = {}

        async def stays_the_same() -> bool:
            sockets = {name: holds.sockets for name, holds in held.items()}
            await asyncio.sleep(0.3)
            held["Hub"] = Held.by(self._hub.pid, **await self._hub.do("inside"))
            held["Traefik"] = Held.by(traefik_pid(self._state))
            return sockets == {name: holds.sockets for name, holds in held.items()}

        await eventually(stays_the_same, within=20)
        return held

    async def _end(self) -> None:
        """Compare everything with what it should be, when all is over."""
        for place in PLACES:
            await self._users.ask(place)
        assert not self.expected.problems, "something was seen that may not be"
        traefik = traefik_pid(self._state)
        self._same("processes", started_here(), {self._hub.pid, self._servers.pid, traefik})
        self._same("children of the Hub", children(self._hub.pid) - {traefik}, set())
        await self._hub.stop()
        self._same("processes after the end", started_here(), {self._servers.pid})
        files = {str(file.relative_to(self._state)) for file in self._state.rglob("*") if file.is_file()}
        self._same("files", {re.sub(r"[0-9a-f]{32}", "{hash}", name) for name in files}, FILES)
        self._same("number of files", {len(files)}, {len(FILES)})
        text = self._hub_log.read_text(errors="replace")
        bugs = {line for line in text.splitlines() if re.search("Traceback|unexpectedly|never retrieved", line)}
        self._same("bugs in the log of the Hub", bugs, set())

    def _same(self, what: str, found: set[T], wanted: set[T]) -> None:
        more, missing = found - wanted, wanted - found
        assert not more, f"{what}: {more} should not be there"
        assert not missing, f"{what}: {missing} are missing"

    # Changes.

    async def _keep_changing(self, enough: asyncio.Event) -> None:
        """Change routes, whenever there is a Hub."""
        while not enough.is_set():
            batch = next(self._changes)
            await asyncio.sleep(batch.pause)
            await self._may_change.wait()
            # A delete of nothing is none.
            changed = [(place, server) for place, server in batch.servers.items() if server or self._table.route(place)]
            await asyncio.gather(*(self._change(place, server) for place, server in changed))
            for place, _ in changed[:1]:
                await self._users.ask(place)

    async def _change(self, place: Place, server: str | None) -> None:
        """Change one route, and expect what comes of it."""
        self._number += 1
        new = None if server is None else (server, self._number)
        old = self._table.possible(place)
        self._table.may_hold(place, old | {new})
        outcome = "done"
        try:
            await self._ask_hub(place, new)
            self._table.may_hold(place, {new})
            self._changes_made += 1
        except HubGone:
            outcome = "the Hub has ended"
        except Refused as error:
            outcome = str(error)
            if outcome.startswith("CommitFailed") and self._disk_is_broken:
                self._table.may_hold(place, old)
            elif not self._hub_is_ending:
                self.expected.problem(f"{place.path} to {server}: {error}")
        self._change_log.append(f"{self.expected.now:8.3f} {place.path} to {server}: {outcome}")

    async def _ask_hub(self, place: Place, new: Route | None) -> None:
        if new is None:
            await self._hub.do("delete", place.path)
        else:
            await self._hub.do("add", place.path, self._servers.urls[new[0]], {"number": new[1]})

    async def _add_all(self) -> None:
        """Add all routes, as the Hub does when its proxy has started without any."""
        added = self._table.begin_to_fill()
        await asyncio.gather(*(self._ask_hub(place, route) for place, route in added.items()))
        self._table.is_filled(added)

    async def _compare_table(self) -> None:
        names = {url: name for name, url in self._servers.urls.items()}
        self._table.compare(await self._hub.do("routes"), names)

    # Faults: each returns when what it has done is over.

    async def _commit(self, fault: Fault) -> None:
        await asyncio.sleep(fault.pause)
        self._note(f"{fault}: begins")
        doing: Callable[[Fault], Awaitable[None]] = getattr(self, f"_{fault.name}")
        await doing(fault)
        self._note(f"{fault}: is over")

    @contextlib.asynccontextmanager
    async def _no_new_changes(self, *, hub_ends: bool = True) -> AsyncIterator[None]:
        """Let nobody ask for a change while the block runs; some may still be under way."""
        self._may_change.clear()
        self._hub_is_ending = hub_ends
        try:
            yield
        finally:
            self._hub_is_ending = False
            self._may_change.set()

    async def _kill_the_hub(self, _: Fault) -> None:
        """SIGKILL; the next Hub takes over Traefik with all routes, and nobody notices."""
        async with self._no_new_changes():
            traefik = traefik_pid(self._state)
            await self._hub.kill()
            self._hub = await Hub.started(self._traits, self._hub_log)
            if traefik_pid(self._state) != traefik:
                self.expected.problem("a new Traefik was started, although there was one")
            await self._compare_table()

    async def _stop_the_hub(self, _: Fault) -> None:
        """stop(); Traefik ends with it, and the next one is given all routes again."""
        async with self._no_new_changes():
            with self.expected.outage(GONE):
                traefik = traefik_pid(self._state)
                await self._hub.stop()
                if alive(traefik):
                    self.expected.problem("Traefik has not ended with its Hub")
                await self._start_without_routes()

    async def _kill_both(self, _: Fault) -> None:
        """SIGKILL for both, as when the machine fails."""
        async with self._no_new_changes():
            with self.expected.outage(GONE):
                traefik = traefik_pid(self._state)
                await self._hub.kill()
                os.kill(traefik, signal.SIGKILL)
                # Its threads end one after another, and the last one closes its sockets.
                await eventually(self._nobody_listens)
                await self._start_without_routes()

    async def _start_without_routes(self) -> None:
        self._hub = await Hub.started(self._traits, self._hub_log)
        table = await self._hub.do("routes")
        if table:
            self.expected.problem(f"a new Traefik has routes that the Hub has not confirmed: {table}")
        await self._add_all()

    async def _kill_traefik(self, _: Fault) -> None:
        """SIGKILL; it is started again with all routes."""
        with self.expected.outage(GONE):
            traefik = traefik_pid(self._state)
            os.kill(traefik, signal.SIGKILL)
            await eventually(lambda: traefik_pid(self._state) != traefik, within=20)
            await eventually(self._serves, within=20)

    async def _break_the_disk(self, fault: Fault) -> None:
        """No new version of the file can be written; changes fail, and nothing else."""
        self._disk_is_broken = True
        await self._hub.do("break_disk", fault.step, fault.number)
        await asyncio.sleep(fault.seconds)
        await self._hub.do("mend_disk")
        # Changes are answered one after the other, so this one waits for those that the disk has failed.
        await self._ask_hub(STEADY[0], self._table.route(STEADY[0]))
        self._disk_is_broken = False
        async with self._no_new_changes(hub_ends=False):
            await eventually(lambda: all(map(self._table.is_known, PLACES)), within=60)
            await self._compare_table()

    async def _renew_the_certificate(self, fault: Fault) -> None:
        """The old one is served until the new one is."""
        await self._certificate.replace(fault.seconds)
        await self._certificate.is_served(self._url)

    async def _renew_and_kill_the_hub(self, fault: Fault) -> None:
        """The Hub may have seen that the files have changed, but not yet that they stay so."""
        await self._certificate.replace(fault.seconds)
        await self._kill_the_hub(fault)
        await self._certificate.is_served(self._url)

    async def _delete_the_file(self, _: Fault) -> None:
        """Traefik keeps what it has read, and the proxy writes the file again."""
        file = self._state / "dynamic.toml"
        file.unlink()
        await eventually(file.exists, within=20)

    async def _empty_the_file(self, _: Fault) -> None:
        """Traefik serves nothing until the proxy has written the file again."""
        file = self._state / "dynamic.toml"
        with self.expected.outage(EMPTIED):
            os.truncate(file, 0)
            await eventually(lambda: file.stat().st_size, within=20)
            # Traefik may read the empty file only now; but once a later revision is live, never again.
            await self._change(STEADY[0], STEADY[0].server)

    def _end_traefik(self) -> None:
        """End what a Hub that was killed has left, when a soak has failed."""
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            os.kill(traefik_pid(self._state), signal.SIGKILL)

    async def _nobody_listens(self) -> bool:
        try:
            (await Connection.open(self._url)).close()
        except Failed:
            return True
        return False

    async def _serves(self) -> bool:
        """Whether there are routes at the public entry point."""
        try:
            connection = await Connection.open(self._url)
            try:
                await connection.get(STEADY[0].path)
            finally:
                connection.close()
        except Failed:
            return False
        return True
