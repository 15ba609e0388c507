"""The changes of a soak: what the Hub is asked for, and what comes of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from . import plan
from .expected import Expected
from .hub import Hub, HubGone, Refused
from .plan import Place
from .servers import Servers
from .table import PLACES, Route, Table
from .users import Users


class Changes:
    """Whoever changes routes.

    Attributes:
        hub: The Hub that is asked, after :meth:`start_hub`.
        table: What its table may hold.
        made: How many changes were made.
        writing_may_fail: Whether a change may fail because the file cannot be written.
        log: What was asked for, with the seconds since the beginning.
    """

    def __init__(
        self, traits: Mapping[str, Any], hub_log: Path, servers: Servers, users: Users, expected: Expected, seed: int
    ) -> None:
        """Change nothing yet.

        Args:
            traits: The traits of the Hub's proxy.
            hub_log: The file for the log of the Hub.
            servers: Where the routes lead to.
            users: Look at a place after it was changed.
            expected: Is told what may answer.
            seed: Decides what is changed.
        """
        self.table = Table(expected)
        self.made = 0
        self.writing_may_fail = False
        self.log: list[str] = []
        self.hub: Hub
        self._traits = traits
        self._hub_log = hub_log
        self._servers = servers
        self._users = users
        self._expected = expected
        self._planned = plan.changes(seed)
        self._number = 0
        self._may_change = asyncio.Event()
        self._may_change.set()
        self._hub_is_ending = False

    async def start_hub(self) -> None:
        """Start a Hub, or the next one."""
        self.hub = await Hub.started(self._traits, self._hub_log)
        # Twice: on a busy machine, the rest of a start and of a stop takes longer, too, but less than the imports.
        self._expected.excuse(2 * self.hub.python_seconds)

    async def go_on(self, enough: asyncio.Event) -> None:
        """Change routes, whenever there is a Hub, until it is enough."""
        while not enough.is_set():
            batch = next(self._planned)
            await asyncio.sleep(batch.pause)
            await self._may_change.wait()
            # A delete of nothing is none.
            changed = [(place, server) for place, server in batch.servers.items() if server or self.table.route(place)]
            await asyncio.gather(*(self.change(place, server) for place, server in changed))
            for place, _ in changed[:1]:
                await self._users.ask(place)

    async def change(self, place: Place, server: str | None) -> None:
        """Change one route, and expect what comes of it."""
        self._number += 1
        new = None if server is None else (server, self._number)
        old = self.table.possible(place)
        self.table.may_hold(place, old | {new})
        outcome = "done"
        try:
            await self.ask_hub(place, new)
            self.table.may_hold(place, {new})
            self.made += 1
        except HubGone:
            outcome = "the Hub has ended"
        except Refused as error:
            outcome = str(error)
            if outcome.startswith("CommitFailed") and self.writing_may_fail:
                self.table.may_hold(place, old)
            elif not self._hub_is_ending:
                self._expected.problem(f"{place.path} to {server}: {error}")
        self.log.append(f"{self._expected.now:8.3f} {place.path} to {server}: {outcome}")

    async def ask_hub(self, place: Place, new: Route | None) -> None:
        """Have one route changed, and expect nothing."""
        if new is None:
            await self.hub.do("delete", place.path)
        else:
            await self.hub.do("add", place.path, self._servers.urls[new[0]], {"number": new[1]})

    async def add_all(self) -> None:
        """Add all routes, as the Hub does when its proxy has started without any."""
        added = self.table.begin_to_fill()
        await asyncio.gather(*(self.ask_hub(place, route) for place, route in added.items()))
        self.table.is_filled(added)

    async def compare(self) -> None:
        """Compare the Hub's table with what it may hold."""
        names = {url: name for name, url in self._servers.urls.items()}
        self.table.compare(await self.hub.do("routes"), names)

    @contextlib.asynccontextmanager
    async def no_new_ones(self, *, hub_ends: bool = True) -> AsyncIterator[None]:
        """Let nobody ask for a change while the block runs; some may still be under way."""
        is_outermost = self._may_change.is_set()
        self._may_change.clear()
        self._hub_is_ending = hub_ends
        try:
            yield
        finally:
            self._hub_is_ending = False
            if is_outermost:
                self._may_change.set()

    def all_known(self) -> bool:
        """Whether it is known what each place has: no change is under way."""
        return all(map(self.table.is_known, PLACES))
