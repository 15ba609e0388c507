"""How an agent renews its lease and reports what it serves, with a real etcd and a clock that the test sets."""

from __future__ import annotations

import logging
import secrets
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from support.etcd import Etcd
from support.waiting import eventually, meanwhile

from traefik_toml_proxy.agent.membership import Membership
from traefik_toml_proxy.agent.peers import Peers
from traefik_toml_proxy.agent.readiness import Limits, Served
from traefik_toml_proxy.stores.etcd_gateway import EtcdGateway
from traefik_toml_proxy.stores.etcd_table import Keys, Report, read_report

LEASE_SECONDS = 60


class Agent:
    """The membership of one agent; counts how often it renews its lease."""

    def __init__(self, etcd: Etcd, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.revision = 1
        self.renewals = 0
        self.gateway = EtcdGateway(etcd.settings)
        log, keys = logging.getLogger("agent"), Keys.below(f"/{secrets.token_hex(4)}")
        self.key = keys.replica("own")
        self.peers = Peers(
            self.gateway,
            keys,
            "own",
            lease_seconds=LEASE_SECONDS,
            limits=Limits.of_lease(LEASE_SECONDS, offline=30),
            clock=lambda: self.now,
            log=log,
        )
        self.membership = Membership(
            self.gateway,
            self.key,
            keys,
            lease_seconds=LEASE_SECONDS,
            clock=lambda: self.now,
            report=lambda served: Report(served.revision if served else None, "/s", "", ready=True),
            serves=lambda: Served("/s", self.revision),
            compare=lambda _cluster, _head_at: None,
            withdraws=lambda: False,
            peers=self.peers,
            log=log,
        )
        keep_alive = EtcdGateway.keep_alive

        async def counted(gateway: EtcdGateway, lease: int, *, timeout: float) -> bool:
            self.renewals += 1
            return await keep_alive(gateway, lease, timeout=timeout)

        monkeypatch.setattr(EtcdGateway, "keep_alive", counted)

    async def reported(self) -> int | None:
        """Return the revision in etcd."""
        found = await self.gateway.range(self.key, b"", timeout=5)
        return read_report(found.found[0].value).revision if found.found else None

    async def serve(self, revision: int) -> None:
        """Serve another revision, and wait until that is reported."""
        self.revision = revision
        self.membership.changed()

        async def is_reported() -> bool:
            return await self.reported() == revision

        await eventually(is_reported)


@pytest_asyncio.fixture
async def agent(etcd: Etcd, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Agent]:
    """An agent that has joined."""
    one = Agent(etcd, monkeypatch)
    async with meanwhile(one.membership.run()):
        await one.serve(1)
        await eventually(lambda: one.membership.is_member)
        yield one
    await one.gateway.close()


async def test_a_report_does_not_wait_for_a_lease_that_has_just_been_renewed(agent: Agent) -> None:
    """The Hub waits for it. How fresh the replica is counts from the last renewal."""
    renewed, renewals = agent.membership.renewed, agent.renewals
    for revision in (2, 3):
        agent.now += LEASE_SECONDS / 30
        await agent.serve(revision)

    assert (agent.renewals, agent.membership.renewed) == (renewals, renewed)
    assert agent.membership.is_member


async def test_changes_without_end_do_not_keep_the_lease_from_being_renewed(agent: Agent) -> None:
    """It is never older than a sixth of what it lasts, and a moment."""
    renewals = agent.renewals
    for revision in range(2, 22):
        agent.now += LEASE_SECONDS / 30
        await agent.serve(revision)
        assert agent.membership.renewed is not None
        await eventually(lambda: agent.now - (agent.membership.renewed or 0) <= LEASE_SECONDS / 6)

    # Over twenty thirtieths of the lease, once in a twelfth to a sixth of it.
    assert 4 <= agent.renewals - renewals <= 8


async def test_a_lease_that_etcd_has_ended_is_noticed_by_a_report(agent: Agent) -> None:
    """Also if it is not renewed with it: the replica joins again."""
    lease = agent.membership._lease
    await agent.gateway.revoke(lease, timeout=5)
    await agent.serve(2)
    await eventually(lambda: agent.membership.is_member)

    assert agent.membership._lease != lease
