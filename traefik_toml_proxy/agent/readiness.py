"""Decides whether a replica may get requests. Pure.

It is computed from the clock when somebody asks: an agent that was frozen must not say what was true before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class Served(NamedTuple):
    """A table that an entry point serves: that of one Hub, at one revision."""

    secret: str
    revision: int

    def is_at_least(self, other: Served) -> bool:
        """Whether it is as new as another one. Each Hub has a secret of its own, and revisions grow under it."""
        return self.secret == other.secret and self.revision >= other.revision


class Peer(NamedTuple):
    """What another agent has answered.

    Attributes:
        asked: When.
        renewed: When it last renewed its lease, on the clock of this agent.
    """

    asked: float
    renewed: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How fresh a replica must be, in seconds.

    Attributes:
        oldest: How long ago the lease may have been renewed. After that, the Hub may soon go on without this replica. A
            replica that is older is ready only if its peers are no fresher, as when all of etcd is down.
        fresh: How long ago it is renewed while all is well, at most; and how much fresher a peer must be to count.
        offline: How long after its start an agent that has never reached etcd serves what is on its disk.
    """

    oldest: float
    fresh: float
    offline: float

    @classmethod
    def of_lease(cls, lease_seconds: float, offline: float) -> Limits:
        """Return the limits for a lease: the balancer has the rest of it to notice."""
        return cls(oldest=0.4 * lease_seconds, fresh=0.2 * lease_seconds, offline=offline)


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What an agent knows of itself and its peers. Times are seconds on one clock.

    Attributes:
        started: When the agent started.
        renewed: When it last renewed its lease, at the earliest; None if never.
        serves: What its entry point serves; None if that does not answer, or it is not known.
        has_routes: Whether there were routes on its disk when the agent started.
        required: What it must serve at least, because that was the table when the Hub began to wait for this replica; None
            if there was no table in etcd.
        is_member: Whether it has the lease, as far as it knows.
        is_replaced: Whether the Hub waits for another agent with the same name instead.
        has_withdrawn: Whether the Hub has gone on without it, so that what it serves may be out of date.
        is_leaving: Whether it is about to end.
        is_stuck: Whether it cannot write later routes that others serve.
        was_frozen: Whether the process stood still for a while, and has not renewed its lease since.
        peers: What the other agents have answered, by name; all that had a lease when it was last renewed are there, with
            None if they have not answered. Before it was, they are those from when the agent ran last.
    """

    started: float
    renewed: float | None = None
    serves: Served | None = None
    has_routes: bool = True
    required: Served | None = None
    is_member: bool = False
    is_replaced: bool = False
    has_withdrawn: bool = False
    is_leaving: bool = False
    is_stuck: bool = False
    was_frozen: bool = False
    peers: Mapping[str, Peer | None] = field(default_factory=dict)


class Verdict(NamedTuple):
    """Whether a replica may get requests, and why."""

    ready: bool
    reason: str


def judge(state: State, limits: Limits, now: float) -> Verdict:
    """Return whether a replica may get requests now."""
    if state.is_leaving:
        return Verdict(False, "the agent is about to end")
    if state.renewed is None and not state.has_routes:
        return Verdict(False, "etcd has not answered yet, and there are no routes on the disk")
    if state.renewed is None:
        left = state.started + limits.offline - now
        if left > 0:
            return Verdict(False, f"etcd has not answered yet; what is on the disk is served in {left:.0f} s")
        if any(peer is not None and now - peer.renewed <= limits.oldest for peer in state.peers.values()):
            return Verdict(
                False, "etcd has not answered yet, but it answers another agent, which may serve later routes"
            )
        return Verdict(True, "etcd has never answered; serving what was on the disk")
    if state.serves is None:
        return Verdict(False, "Traefik does not serve the routes")
    if state.is_stuck:
        return Verdict(False, "the routes cannot be written here, and other replicas serve later ones")
    if state.is_replaced:
        return Verdict(False, "another agent has the same replica_name")
    if state.has_withdrawn:
        return Verdict(False, "the Hub does not know yet that Traefik serves the routes again")
    if state.required is not None and not state.serves.is_at_least(state.required):
        return Verdict(False, f"Traefik serves revision {state.serves.revision}, not {state.required.revision} yet")
    age = now - state.renewed
    if state.is_member and age <= limits.oldest:
        return Verdict(True, f"Traefik serves revision {state.serves.revision}")
    return _judge_by_peers(state, limits, now, age)


def _judge_by_peers(state: State, limits: Limits, now: float, age: float) -> Verdict:
    """Return whether an agent may go on that has not heard from etcd for a while: if its peers have not either."""
    answers = [peer for peer in state.peers.values() if peer is not None and now - peer.asked <= limits.oldest]
    if state.was_frozen and not answers:
        # Others may have come that it does not know of.
        return Verdict(False, "the agent was frozen, and has not heard from etcd since")
    if state.peers and not answers:
        return Verdict(False, f"neither etcd nor another agent has answered for {age:.1f} s")
    freshest = min((now - peer.renewed for peer in answers), default=age)
    if freshest < age - limits.fresh:
        return Verdict(False, f"etcd has not answered for {age:.1f} s, but another agent {freshest:.1f} s ago")
    return Verdict(True, f"etcd has not answered anybody for {age:.1f} s; serving the last routes")
