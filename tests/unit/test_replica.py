"""The file of an agent's Traefik, and what that serves of it, with a fake Traefik that loads a file when a test wants."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio
from support.servers import answering
from support.waiting import PATIENCE, eventually, meanwhile

from traefik_toml_proxy.agent import replica as module
from traefik_toml_proxy.agent.readiness import Served
from traefik_toml_proxy.agent.replica import Replica
from traefik_toml_proxy.errors import RouteNotLive, StoreError
from traefik_toml_proxy.routes import RouteTable, Snapshot
from traefik_toml_proxy.stores.etcd_table import Head
from traefik_toml_proxy.traefik.dynamic import REVISION_HEADER

HEAD = Head(7, "/secret", 0, "mark")


class Traefik:
    """Answers for one name of the revision route; also the store, whose commits it has yet to load."""

    location = "file"

    def __init__(self) -> None:
        self.name = "one"
        self.committed: Snapshot | None = None
        self.loaded: tuple[str, int] | None = None
        self.restarts = 0

    async def restart(self) -> None:
        """Load what was committed last, as a new process does."""
        self.restarts += 1
        self.load()

    def load(self) -> None:
        """Load what was committed last."""
        assert self.committed is not None
        self.loaded = (f"/secret/{self.name}", self.committed.revision)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        path = request.split()[1].decode()
        revision = self.loaded[1] if self.loaded and path == self.loaded[0] else None
        header = "" if revision is None else f"{REVISION_HEADER}: {revision}\r\n"
        status = "404 Not Found" if revision is None else "418 I'm a teapot"
        writer.write(f"HTTP/1.1 {status}\r\n{header}Content-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()

    # The store.

    async def open(self) -> Snapshot:
        return Snapshot(0, RouteTable())

    async def commit(self, snapshot: Snapshot) -> None:
        self.committed = snapshot

    async def damage(self) -> str | None:
        return None

    async def close(self) -> None:
        pass


@pytest_asyncio.fixture
async def traefik() -> Traefik:
    """One that has loaded nothing."""
    return Traefik()


@pytest_asyncio.fixture
async def replica(traefik: Traefik) -> AsyncIterator[Replica]:
    """A replica of that, which runs."""
    async with answering(traefik.answer) as url:
        replica = Replica(
            lambda _: traefik,  # type: ignore[arg-type,return-value]
            lambda _: None,  # type: ignore[arg-type,return-value]
            url,
            revision_name=lambda: traefik.name,
            server_name=lambda: None,
            changed=lambda: None,
            restart=traefik.restart,
            log=logging.getLogger("agent"),
        )
        await replica._store_for(HEAD)
        async with meanwhile(replica.run()):
            yield replica
        await replica.close()


async def test_what_is_served_is_known(traefik: Traefik, replica: Replica) -> None:
    replica.offer(HEAD, RouteTable())
    await eventually(lambda: traefik.committed)
    assert replica.serves is None
    traefik.load()
    await eventually(lambda: replica.serves == Served("/secret", 7))


async def test_another_certificate_is_known_to_be_loaded_although_the_revision_is_the_same(
    traefik: Traefik, replica: Replica
) -> None:
    """And the replica serves the routes all the time."""
    replica.offer(HEAD, RouteTable())
    await eventually(lambda: traefik.committed)
    traefik.load()
    await eventually(lambda: replica.serves)
    traefik.name, traefik.committed = "two", None
    await replica.commit_again()

    assert traefik.committed is not None
    assert not (await replica.ask_anew()).serves(replica.revision)
    with pytest.raises(RouteNotLive):
        await replica.wait_live(0.2)
    assert replica.serves == Served("/secret", 7)
    traefik.load()
    await replica.wait_live(5 * PATIENCE)
    assert (await replica.ask_anew()).serves(replica.revision)
    assert replica.serves == Served("/secret", 7)


async def test_before_the_first_table_nothing_can_be_written_again(replica: Replica) -> None:
    """A new certificate is tried again later."""
    assert replica.revision == 0
    with pytest.raises(StoreError, match="etcd has not answered yet"):
        await replica.commit_again()


async def test_a_traefik_that_has_stopped_loading_is_restarted(
    traefik: Traefik, replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As without inotify: it answers, but with what it had; the Hub would wait for this replica at each change."""
    for seconds in ("_LOAD_SECONDS", "_CHECK_SECONDS"):
        monkeypatch.setattr(module, seconds, 0.01)
    replica.offer(HEAD, RouteTable())
    await eventually(lambda: traefik.committed)
    traefik.load()
    await eventually(lambda: replica.serves)
    replica.offer(replace(HEAD, revision=8), RouteTable())

    await eventually(lambda: replica.serves == Served("/secret", 8))
    assert traefik.restarts == 1
