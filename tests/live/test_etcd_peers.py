"""What an agent knows of the others, with a real etcd, and with real answers of others."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from support.etcd import Etcd, running_etcd
from support.ports import free_port
from support.waiting import PATIENCE, eventually, meanwhile

from traefik_toml_proxy.agent import health
from traefik_toml_proxy.agent.health import HealthServer
from traefik_toml_proxy.agent.peers import Peers
from traefik_toml_proxy.agent.readiness import Limits
from traefik_toml_proxy.stores.etcd_gateway import EtcdGateway
from traefik_toml_proxy.stores.etcd_table import Keys, Report

LEASE_SECONDS = 10


@pytest_asyncio.fixture
async def etcd(tmp_path: Path) -> AsyncIterator[Etcd]:
    """One member."""
    async with running_etcd(tmp_path) as running:
        yield running


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Table:
    """The replicas in etcd, and what the one of the name "own" knows of them."""

    def __init__(self, etcd: Etcd, root: str) -> None:
        self.etcd = etcd
        self._keys = Keys.below(root)
        self.clock = Clock()
        self.gateway = EtcdGateway(etcd.settings)
        self.peers = Peers(
            self.gateway,
            self._keys,
            "own",
            lease_seconds=LEASE_SECONDS,
            limits=Limits.of_lease(LEASE_SECONDS, offline=30),
            clock=self.clock,
            log=logging.getLogger("agent"),
        )

    def put(self, name: str, url: str = "") -> None:
        """Let a replica join."""
        self.etcd.control(
            "put", self._keys.replica(name).decode(), Report(1, "/s", url, ready=True).to_bytes().decode()
        )

    def delete(self, name: str) -> None:
        """Let a replica go."""
        self.etcd.control("del", self._keys.replica(name).decode())

    async def learn(self) -> None:
        """Do as a renewal does."""
        known = self.peers.revision
        found = await self.gateway.range(*self._keys.replicas, timeout=5)
        self.peers.learn(found.cluster, found.revision, found.found, known=known)


@pytest_asyncio.fixture
async def table(etcd: Etcd, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Table]:
    """A table with this replica and another one, as far as is known."""
    monkeypatch.setattr(health, "_ASK_SECONDS", health._ASK_SECONDS * PATIENCE)
    table = Table(etcd, f"/test/{secrets.token_hex(4)}")
    table.put("own")
    table.put("one", "http://one")
    await table.learn()
    yield table
    await table.gateway.close()


async def test_a_renewal_tells_who_there_is(table: Table) -> None:
    assert table.peers.urls == {"one": "http://one"}


async def test_a_new_one_and_a_lost_one_are_known_at_once(table: Table) -> None:
    """Without a renewal. What is not a report is not one."""
    async with meanwhile(table.peers.watch()):
        table.put("two", "http://two")
        await eventually(lambda: table.peers.urls == {"one": "http://one", "two": "http://two"}, within=2)
        table.delete("one")
        await eventually(lambda: table.peers.urls == {"two": "http://two"}, within=2)


async def test_what_was_read_before_does_not_take_back_what_was_seen(table: Table) -> None:
    """The answer to a renewal may come after a later change was seen."""
    async with meanwhile(table.peers.watch()):
        known = table.peers.revision
        before = await table.gateway.range(b"/test/", b"/test0", timeout=5)
        table.put("two", "http://two")
        await eventually(lambda: "two" in table.peers.urls)
        table.peers.learn(before.cluster, before.revision, before.found, known=known)

        assert "two" in table.peers.urls


async def test_it_goes_on_with_another_etcd_at_the_same_address(table: Table, etcd: Etcd) -> None:
    """Whose revisions are lower; and after etcd was down."""
    for number in range(20):
        table.put(f"more{number}")
    await table.learn()
    async with meanwhile(table.peers.watch()):
        etcd.empty()
        await etcd.ready()
        await table.learn()
        assert table.peers.urls == {}
        table.put("two", "http://two")
        await eventually(lambda: table.peers.urls == {"two": "http://two"})


async def test_it_goes_on_with_a_backup_that_was_put_back(table: Table, etcd: Etcd) -> None:
    """That is the same cluster by its id, at an earlier revision."""
    saved = etcd.save()
    for number in range(20):
        table.put(f"more{number}")
    await table.learn()
    async with meanwhile(table.peers.watch()):
        etcd.put_back(saved)
        await etcd.ready()
        await table.learn()
        assert table.peers.urls == {"one": "http://one"}
        table.put("two", "http://two")
        await eventually(lambda: "two" in table.peers.urls)


@asynccontextmanager
async def answering(age: float | None) -> AsyncIterator[str]:
    """Run an agent that has heard from etcd so many seconds ago; yield its URL."""
    port = free_port()
    server = HealthServer("127.0.0.1", port, lambda: {"ready": True, "age": age})
    await server.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await server.close()


async def test_after_a_silence_it_waits_until_the_others_have_heard_from_etcd_too(table: Table) -> None:
    """What they have said during the silence does not count: they may have lost etcd again."""
    async with answering(0.1) as url:
        table.put("one", url)
        await table.learn()
        table.peers.renewing(1.9)
        assert table.peers.are_heard()
        table.peers.renewing(2.1)
        assert not table.peers.are_heard()
        await table.peers.ask(2.1)
        assert not table.peers.are_heard()
        await table.peers.ask(0.0)
        assert table.peers.are_heard()


@pytest.mark.parametrize("age", [4.5, None])
async def test_one_that_has_not_heard_is_waited_for_no_longer_than_a_lease(table: Table, age: float | None) -> None:
    """By then, it has noticed that this one is fresher."""
    async with answering(age) as url:
        table.put("one", url)
        await table.learn()
        table.peers.renewing(2.1)
        await table.peers.ask(0.0)
        assert not table.peers.are_heard()
        table.clock.now += LEASE_SECONDS - 0.1
        assert not table.peers.are_heard()
        table.clock.now += 0.2
        assert table.peers.are_heard()


async def test_one_whose_lease_has_ended_meanwhile_is_waited_for(table: Table) -> None:
    """It may be ready all the same."""
    table.peers.renewing(2.1)
    table.delete("one")
    await table.learn()
    await table.peers.ask(0.0)

    assert table.peers.urls == {}
    assert not table.peers.are_heard()


async def test_those_of_the_last_run_are_asked_until_etcd_has_answered(table: Table, tmp_path: Path) -> None:
    file = tmp_path / "others.json"
    async with answering(0.1) as url:
        table.put("one", url)
        await table.learn()
        await table.peers.remember(file)
        again = Table(table.etcd, "/test/again").peers
        await asyncio.to_thread(again.recall, file)
        await again.ask(None)
        assert again.remembered == {"one": url}
        assert again.answers["one"] is not None
        await again.ask(0.1)
        assert again.urls == {}


@pytest.mark.parametrize("text", ["", "[1]", "{"])
async def test_what_is_not_a_list_of_others_is_forgotten(table: Table, tmp_path: Path, text: str) -> None:
    file = tmp_path / "others.json"
    await asyncio.to_thread(table.peers.recall, file)
    file.write_text(text)
    await asyncio.to_thread(table.peers.recall, file)
    assert table.peers.remembered == {}
    await table.peers.remember(tmp_path / "no" / "folder.json")
    await table.peers.remember(file)
    assert file.read_text() == text


async def test_nothing_is_written_before_etcd_has_answered(table: Table, tmp_path: Path) -> None:
    peers, file = Table(table.etcd, "/test/again").peers, tmp_path / "others.json"
    peers.remembered = {"one": "http://one"}
    await peers.remember(file)

    assert not file.exists()
