"""Clients of a drill: a balancer's knowledge of who is ready, users, and who changes the routes. I/O: requests."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from collections.abc import Mapping, Sequence
from typing import Any

from traefik_toml_proxy.conformance.client import Connection
from traefik_toml_proxy.conformance.wire import BrokenMessage

from ..waiting import eventually, within
from ..workload import SERVER_HEADER
from .agents import AgentProcess
from .hub import HubGone, HubProcess
from .record import Record, lost_routes

# Seconds between two looks at who is ready, and for which one may take: a balancer would be as fast.
_LOOK_PAUSE = 0.05
_LOOK_SECONDS = 0.5
# Seconds that a user waits for an answer before the next replica is asked, and in all.
_ASK_SECONDS = 2.0
_IN_ALL_SECONDS = 20.0
# Seconds that a user thinks between two requests.
_THINKS = 0.02
# How many routes of users there are before some are deleted again.
_MOST_USERS = 40

_NO_ANSWER = (OSError, asyncio.TimeoutError, BrokenMessage, IndexError, ValueError)


class Clients:
    """Who asks the replicas.

    Args:
        agents: The replicas.
        record: Takes down what happens.
        targets: The URL of each server behind the routes, by the name that it answers with.
        patience: Multiplies the time for an answer.
    """

    def __init__(
        self, agents: Sequence[AgentProcess], record: Record, targets: Mapping[str, str], patience: float
    ) -> None:
        self._agents = agents
        self._record = record
        self._patience = patience
        self.targets = targets
        self._ready: set[str] = set()
        self._turn = itertools.count()
        # The path of each route that no change is about at the moment, with the server that must answer, and a number that
        # is another one after each change.
        self.steady: dict[str, tuple[str, int]] = {}

    # Who is ready.

    async def look(self, agent: AgentProcess) -> None:
        """Ask one agent whether it is ready, for ever."""
        while True:
            is_ready = False
            with contextlib.suppress(*_NO_ANSWER):
                is_ready = (
                    await within(_LOOK_SECONDS * self._patience, self._status(agent.health_url, "/readyz")) == 200
                )
            (self._ready.add if is_ready else self._ready.discard)(agent.name)
            await asyncio.sleep(_LOOK_PAUSE)

    async def _status(self, url: str, path: str) -> int:
        async with Connection(url) as connection:
            return (await connection.request("GET", path)).status

    @property
    def ready(self) -> list[AgentProcess]:
        """Those that are ready."""
        return [agent for agent in self._agents if agent.name in self._ready]

    # Requests.

    async def ask(self, agent: AgentProcess, path: str) -> str | None:
        """Return who answers on one replica, or a status; None if it does not answer."""
        begun = self._record.now
        try:
            answer = await within(_ASK_SECONDS * self._patience, self._answer(agent.url, path))
        except _NO_ANSWER as error:
            self._record.has_failed(agent.name, begun, f"{path}: {error!r}")
            return None
        self._record.has_answered(agent.name)
        return answer

    async def _answer(self, url: str, path: str) -> str:
        async with Connection(url) as connection:
            response = await connection.request("GET", path)
        return response.head.get(SERVER_HEADER) or f"status {response.status}"

    async def ask_any(self, path: str) -> tuple[str, str] | None:
        """Ask a ready replica, and the next one if it does not answer; return its name, and who answered."""
        deadline = self._record.now + _IN_ALL_SECONDS * self._patience
        while self._record.now < deadline:
            ready = self.ready
            if ready:
                agent = ready[next(self._turn) % len(ready)]
                answer = await self.ask(agent, path)
                if answer is not None:
                    return agent.name, answer
            else:
                await asyncio.sleep(_LOOK_PAUSE)
        return None

    async def use(self, seed: int) -> None:
        """Ask for one route after another, for ever."""
        chance = random.Random(seed)
        while True:
            path = chance.choice(list(self.steady))
            expected = self.steady[path]
            server, _ = expected
            found = await self.ask_any(path)
            if found is None:
                self._record.problem("unanswered", path)
            elif found[1] != server and self.steady.get(path) == expected:  # or it was changed meanwhile
                self._record.problem("wrong", f"{found[0]}: {path} is answered by {found[1]}, not {server}")
            await asyncio.sleep(_THINKS)


class Changes:
    """Who changes the routes, and knows what must be in the table.

    Args:
        hub: Makes the changes.
        clients: Ask at once what is live.
        record: Takes down what happens.

    Attributes:
        hub: May be replaced by another one while it is not told anything.
        quiet: Held during each change, so whoever holds it knows that there is none.
        done: How many were made.
    """

    def __init__(self, hub: HubProcess, clients: Clients, record: Record) -> None:
        self.hub = hub
        self.quiet = asyncio.Lock()
        self.done = 0
        self._clients = clients
        self._record = record
        self._expected: dict[str, tuple[str, dict[str, Any]]] = {}
        self._either: dict[str, tuple[str, dict[str, Any]] | None] = {}
        self._users: list[str] = []

    async def begin(self) -> None:
        """Add the routes that are there from the beginning."""
        for number, (routespec, server) in enumerate((("/", "hub"), ("/user/always/", "one"), ("/user/moves/", "two"))):
            await self._add(routespec, server, number)

    async def run(self) -> None:
        """Change routes for ever: one goes from server to server, others come and go."""
        for number in itertools.count(10):
            async with self.quiet:
                await self._step(number)

    async def _step(self, number: int) -> None:
        if number % 3:
            await self._add("/user/moves/", ("one", "two")[number % 2], number)
        elif len(self._users) < _MOST_USERS:
            self._users.append(f"/user/new-{number}/")
            await self._add(self._users[-1], ("one", "two")[number % 2], number)
        else:
            await self._delete(self._users.pop(0))

    async def _add(self, routespec: str, server: str, number: int) -> None:
        route = (self._clients.targets[server], {"number": number})
        self._clients.steady.pop(routespec, None)
        await self._make(routespec, route, "add", target=route[0], data=route[1])
        await self._check(routespec, server)
        self._clients.steady[routespec] = (server, number)

    async def _delete(self, routespec: str) -> None:
        self._clients.steady.pop(routespec, None)
        await self._make(routespec, None, "delete")
        await self._check(routespec, "hub")

    async def _make(self, routespec: str, route: tuple[str, dict[str, Any]] | None, do: str, **arguments: Any) -> None:
        """Have the Hub make a change; if it is killed, have the next one make it."""
        self._either[routespec] = route
        while True:
            hub, begun = self.hub, self._record.now
            try:
                answer = await hub.ask(do, routespec=routespec, **arguments)
            except HubGone:
                await eventually(lambda: self.hub is not hub, 600, "there is no other Hub")  # noqa: B023 - awaited here
                continue
            if "error" not in answer:
                break
            self._record.problem("errors", f"{do} {routespec}: {answer['error']}")
        self._record.changes.append((begun, answer["seconds"], do == "add"))
        self.done += 1
        if route is None:
            self._expected.pop(routespec, None)
        else:
            self._expected[routespec] = route
        self._either.clear()

    async def _check(self, routespec: str, server: str) -> None:
        """Ask all replicas that are ready, right after a change."""
        ready = self._clients.ready
        answers = await asyncio.gather(*(self._clients.ask(agent, routespec) for agent in ready))
        for agent, answer in zip(ready, answers, strict=True):
            if answer is not None:
                self._record.checks += 1
                if answer != server:
                    self._record.problem("stale", f"{agent.name}: {routespec} is answered by {answer}, not {server}")

    async def compare(self, hub: HubProcess) -> None:
        """Compare the routes of a Hub, which is told nothing else, with those that were confirmed."""
        answer = await hub.ask("routes")
        for text in lost_routes(answer["routes"], self._expected, self._either):
            self._record.problem("lost", text)

    async def compare_served(self) -> None:
        """Ask all ready replicas for all routes."""
        for routespec, (target, _) in self._expected.items():
            (server,) = (name for name, url in self._clients.targets.items() if url == target)
            await self._check(routespec, server)
