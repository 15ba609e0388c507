"""What can be done to the parts of a cluster, and undone. I/O: signals, processes.

Each fault is a function that does it, yields as long as it lasts, and undoes it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from ..waiting import eventually
from .agents import AgentProcess
from .clients import Changes
from .cluster import LEASE_SECONDS, Cluster
from .etcd import Member
from .record import Record

# Seconds for which a Hub is frozen: its lease ends.
_LONGER_THAN_A_LEASE = 1.25 * LEASE_SECONDS


@dataclass(frozen=True)
class Stage:
    """What the faults need to know.

    Attributes:
        cluster: What runs.
        changes: Who tells the Hub what to do.
        record: Takes down what should not be.
        patience: Multiplies the time that something may take.
    """

    cluster: Cluster
    changes: Changes
    record: Record
    patience: float

    async def leader(self) -> Member:
        """Return the member of etcd that leads, once one does."""
        found: Member = await eventually(
            lambda: asyncio.to_thread(self.cluster.etcd.leader), 20 * self.patience, "no leader"
        )
        return found


@dataclass(frozen=True)
class Planned:
    """A fault that will be made.

    Attributes:
        what: What it is.
        kind: What it is an example of.
        seconds: How long it lasts.
        make: Makes it, and undoes it.
        victims: The replicas whose requests may fail.
    """

    what: str
    kind: str
    seconds: float
    make: Callable[[], AbstractAsyncContextManager[None]]
    victims: tuple[str, ...] = ()


def plan(stage: Stage, number: int, *, quick: bool) -> list[Planned]:
    """Return the faults of a round: in order in the first one, else in a random order, and each time of other parts.

    Args:
        stage: What they are done to.
        number: Which round, from 0.
        quick: Whether one member of etcd is enough, and everything is short.
    """
    etcd, agents = stage.cluster.etcd, stage.cluster.agents
    short, long = (1.5, 3.0) if quick else (2.5, 6.0)
    members = [etcd.members[number % 3]] if quick else etcd.members
    two = [etcd.members[number % 3], etcd.members[(number + 1) % 3]]
    one, other, third = (agents[(number + offset) % 3] for offset in range(3))
    faults = [
        *(_of_member(stage, member, short) for member in members),
        *(_frozen_member(member, short) for member in members),
        Planned("the leader of etcd is killed", "leader killed", short, lambda: _leader_killed(stage)),
        Planned("the leader of etcd is frozen", "leader frozen", short, lambda: _leader_frozen(stage)),
        Planned("two members of etcd are killed", "majority", long, lambda: _killed(stage, two)),
        Planned("two members of etcd are frozen", "majority", long, lambda: _frozen(two)),
        Planned(f"the agent of {one.name} is killed", "agent", short, lambda: _agent_killed(one), (one.name,)),
        Planned(f"the agent of {other.name} is frozen", "agent", _LONGER_THAN_A_LEASE, lambda: _agent_frozen(other)),
        Planned(f"Traefik of {third.name} is killed", "Traefik", short, lambda: _traefik_killed(third), (third.name,)),
        Planned(f"Traefik of {one.name} is frozen", "Traefik", short, lambda: _traefik_frozen(one), (one.name,)),
        Planned("the Hub is killed", "Hub", 0.5, lambda: _hub_killed(stage)),
        Planned("the Hub is frozen", "Hub", _LONGER_THAN_A_LEASE, lambda: _hub_frozen(stage)),
        Planned("the Hub is frozen, and another one takes over", "Hub", 0, lambda: _hub_replaced(stage)),
        Planned("replica3 is cut off from etcd", "cut off", _LONGER_THAN_A_LEASE, lambda: _cut_off(stage)),
        Planned("a rolling update, onto empty disks", "update", 0, lambda: _updated(stage)),
    ]
    if number:
        random.Random(number).shuffle(faults)
    return faults


# etcd


def _of_member(stage: Stage, member: Member, seconds: float) -> Planned:
    return Planned(f"{member.name} of etcd is killed", "member", seconds, lambda: _killed(stage, [member]))


def _frozen_member(member: Member, seconds: float) -> Planned:
    return Planned(f"{member.name} of etcd is frozen", "member", seconds, lambda: _frozen([member]))


@contextlib.asynccontextmanager
async def _killed(stage: Stage, members: list[Member]) -> AsyncIterator[None]:
    for member in members:
        member.kill()
    try:
        yield
    finally:
        for member in members:
            stage.cluster.etcd.restart(member)


@contextlib.asynccontextmanager
async def _frozen(members: list[Member]) -> AsyncIterator[None]:
    with contextlib.ExitStack() as stack:
        for member in members:
            stack.enter_context(member.frozen())
        yield


@contextlib.asynccontextmanager
async def _leader_killed(stage: Stage) -> AsyncIterator[None]:
    async with _killed(stage, [await stage.leader()]):
        yield


@contextlib.asynccontextmanager
async def _leader_frozen(stage: Stage) -> AsyncIterator[None]:
    async with _frozen([await stage.leader()]):
        yield


@contextlib.asynccontextmanager
async def _cut_off(stage: Stage) -> AsyncIterator[None]:
    for relay in stage.cluster.relays:
        relay.is_silent = True
    try:
        yield
    finally:
        for relay in stage.cluster.relays:
            relay.is_silent = False
            relay.cut()


# replicas


@contextlib.asynccontextmanager
async def _agent_killed(agent: AgentProcess) -> AsyncIterator[None]:
    await agent.end(signal.SIGKILL)
    try:
        yield
    finally:
        await agent.start()


@contextlib.asynccontextmanager
async def _agent_frozen(agent: AgentProcess) -> AsyncIterator[None]:
    with _stopped(agent.pid):
        yield


@contextlib.asynccontextmanager
async def _traefik_killed(agent: AgentProcess) -> AsyncIterator[None]:
    os.kill(agent.traefik_pid, signal.SIGKILL)  # its agent starts it again
    yield


@contextlib.asynccontextmanager
async def _traefik_frozen(agent: AgentProcess) -> AsyncIterator[None]:
    with _stopped(agent.traefik_pid):
        yield


@contextlib.contextmanager
def _stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):  # somebody may have replaced it
            os.kill(pid, signal.SIGCONT)


@contextlib.asynccontextmanager
async def _updated(stage: Stage) -> AsyncIterator[None]:
    """No request may fail: each replica ends in order."""
    for agent in stage.cluster.agents:
        await agent.stop()
        await asyncio.to_thread(shutil.rmtree, agent.state_dir)
        await agent.start()
        await agent.wait_until_ready(30 * stage.patience)
    yield


# the Hub


@contextlib.asynccontextmanager
async def _hub_killed(stage: Stage) -> AsyncIterator[None]:
    """The next one has all routes."""
    await stage.changes.hub.kill()
    yield
    hub = await stage.cluster.new_hub()
    await stage.changes.compare(hub)
    stage.changes.hub = hub


@contextlib.asynccontextmanager
async def _hub_frozen(stage: Stage) -> AsyncIterator[None]:
    hub = stage.changes.hub
    hub.send(signal.SIGSTOP)
    try:
        yield
    finally:
        hub.send(signal.SIGCONT)


@contextlib.asynccontextmanager
async def _hub_replaced(stage: Stage) -> AsyncIterator[None]:
    """The old one, which thaws when the new one leads, must not be able to write any more."""
    async with stage.changes.quiet:
        old = stage.changes.hub
        old.send(signal.SIGSTOP)
        try:
            new = await stage.cluster.new_hub()
            stage.changes.hub = new
            old.send(signal.SIGCONT)
            target = stage.cluster.targets["two"]
            answer = await old.ask("add", routespec="/user/always/", target=target, data={"from": "the old Hub"})
            if "error" not in answer:
                stage.record.problem("fenced", "an add of the old one has returned without an error")
            await stage.changes.compare(new)
        finally:
            await old.kill()
    yield
