"""The drill: three members of etcd, three replicas, a Hub that changes routes all the time, and clients that ask meanwhile.

Everything is killed and frozen in turn. Clients do as a balancer does: they ask a replica that is ready, and the next one if
that does not answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.agents import LEASE_SECONDS, AgentProcess
from support.backend import get
from support.etcd import Etcd, Member, running_etcd
from support.fixtures import BackendMaker
from support.waiting import PATIENCE, eventually, within

from traefik_toml_proxy import TraefikEtcdProxy
from traefik_toml_proxy.errors import ProxyError

# Seconds between two events.
CALM = 1.5


class Drill:
    """What runs, and what is counted.

    Attributes:
        asked: How many requests were answered.
        wrong: Requests that were answered by the wrong backend.
        failed: Requests that no replica has answered.
        stale: Answers, right after a change, that did not know it.
        errors: Changes that failed.
        longest: The longest time that a change took, by the last event.
    """

    def __init__(self, proxy: TraefikEtcdProxy, agents: list[AgentProcess], targets: dict[str, str]) -> None:
        self._proxy = proxy
        self._agents = agents
        self._targets = targets
        self._ready: list[AgentProcess] = []
        self._turn = itertools.count()
        self.event = "start"
        self.asked = 0
        self.wrong: list[str] = []
        self.failed: list[str] = []
        self.stale: list[str] = []
        self.errors: list[str] = []
        self.longest: dict[str, float] = {}

    async def balance(self) -> None:
        """Find out who is ready, all the time."""
        while True:
            answers = await asyncio.gather(*(agent.is_ready() for agent in self._agents))
            self._ready = [agent for agent, ready in zip(self._agents, answers, strict=True) if ready]
            await asyncio.sleep(0.05)

    async def _ask(self, path: str) -> str | None:
        """Ask a ready replica, and the next one if it does not answer; None if none does."""
        for _ in range(20):
            for _ in list(self._ready):
                with contextlib.suppress(OSError, EOFError, TimeoutError, ZeroDivisionError):
                    agent = self._ready[next(self._turn) % len(self._ready)]
                    response = await within(2 * PATIENCE, get(agent.url, path))
                    return response.by or str(response.status)
            await asyncio.sleep(0.05)
        return None

    async def use(self) -> None:
        """Ask for a route that is always there."""
        while True:
            found = await self._ask("/user/always/")
            self.asked += 1
            if found is None:
                self.failed.append(self.event)
            elif found != "one":
                self.wrong.append(f"{self.event}: {found}")
            await asyncio.sleep(0.01)

    async def change(self) -> None:
        """Let a route go from one backend to the other, and ask at once on all replicas that are ready."""
        for number in itertools.count():
            name = ("one", "two")[number % 2]
            event, began = self.event, time.monotonic()
            try:
                await self._proxy.add_route("/user/moves/", self._targets[name], {"n": number})
            except ProxyError as error:
                self.errors.append(f"{event}: {error}")
                continue
            self.longest[event] = max(self.longest.get(event, 0.0), time.monotonic() - began)
            found = await self._ask("/user/moves/")
            if found != name:
                self.stale.append(f"{event}: {found} instead of {name}")

    async def during(self, event: str) -> None:
        """Let the clients and the Hub go on for a while."""
        self.event = event
        await asyncio.sleep(CALM)


@contextlib.asynccontextmanager
async def in_background(*work: object) -> AsyncIterator[None]:
    tasks = [asyncio.ensure_future(each) for each in work]  # type: ignore[call-overload]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert [task.exception() for task in tasks if not task.cancelled()] == []


def leader_of(etcd: Etcd) -> Member:
    """Return the member that leads."""
    for member in etcd.members:
        status = etcd.control("endpoint", "status", "--endpoints", member.url, "--write-out", "fields")
        fields = dict(line.split(" : ", 1) for line in status.replace('"', "").splitlines() if " : " in line)
        if fields["MemberID"] == fields["Leader"]:
            return member
    raise AssertionError("there is no leader")


async def all_ready(agents: list[AgentProcess]) -> None:
    for agent in agents:
        await agent.ready(within=20)


@pytest.mark.timeout(400)
async def test_whatever_dies_users_go_on_and_changes_are_live(tmp_path: Path, make_backend: BackendMaker) -> None:
    """No request fails, no answer is wrong or stale, no change is lost."""
    one, two = await make_backend("one"), await make_backend("two")
    async with running_etcd(tmp_path, 3) as etcd, contextlib.AsyncExitStack() as stack:
        agents = [AgentProcess(tmp_path, f"agent{number}", etcd.settings, "/drill") for number in range(3)]
        for agent in agents:
            await stack.enter_async_context(agent)
        proxy = TraefikEtcdProxy(
            etcd_endpoints=list(etcd.settings.endpoints),
            etcd_root="/drill",
            lease_seconds=LEASE_SECONDS,
            check_route_timeout=20 * PATIENCE,
            log=logging.getLogger("hub"),
        )
        stack.push_async_callback(proxy.stop)
        await proxy.start()
        await proxy.add_route("/user/always/", one.url, {})
        await proxy.add_route("/user/moves/", two.url, {})
        await all_ready(agents)
        drill = Drill(proxy, agents, {"one": one.url, "two": two.url})
        async with in_background(drill.balance(), drill.use(), drill.change()):
            await drill.during("calm")
            for member in list(etcd.members):
                member.kill()
                await drill.during(f"etcd {member.name} killed")
                etcd.restart(member)
                await etcd.ready()
            leader = leader_of(etcd)
            leader.kill()
            await drill.during("the leader of etcd killed")
            etcd.restart(leader)
            await etcd.ready()
            leader = leader_of(etcd)
            with leader.frozen():
                await drill.during("the leader of etcd frozen")
            for member in etcd.members[:2]:
                member.kill()
            await drill.during("most of etcd killed")
            for member in etcd.members[:2]:
                etcd.restart(member)
            await etcd.ready()
            for agent in agents:
                os.kill(agent.traefik_pid, signal.SIGKILL)
                await drill.during(f"Traefik of {agent.name} killed")
                await all_ready(agents)
            agents[0].send(signal.SIGSTOP)
            await drill.during("an agent frozen")
            agents[0].send(signal.SIGCONT)
            await all_ready(agents)
            await agents[1].end(signal.SIGKILL)
            await drill.during("an agent killed")
            await agents[1].start()
            await all_ready(agents)
            await drill.during("calm again")
            changes = drill.longest
            await eventually(lambda: "calm again" in changes)
            last = await proxy.get_all_routes()
    print(drill.asked, {event: round(seconds, 2) for event, seconds in drill.longest.items()})
    assert (drill.failed, drill.wrong, drill.stale, drill.errors) == ([], [], [], [])
    assert set(last) == {"/user/always/", "/user/moves/"}
    assert drill.longest["the leader of etcd killed"] < 4 * PATIENCE
