"""A write fails, at each step in turn: what becomes of the file, the table and the callers."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from support.backend import get
from support.disk import STEPS_BEFORE, SYNC_FOLDER, disturbed, failing
from support.fakes import FakeTraefik, MemoryPlace
from support.fixtures import BackendMaker
from support.store_contract import route_of
from support.stores import toml_store

from traefik_toml_proxy import TraefikTomlProxy
from traefik_toml_proxy.errors import CommitFailed
from traefik_toml_proxy.publisher import RoutePublisher
from traefik_toml_proxy.routes import RouteTable, Snapshot
from traefik_toml_proxy.stores.toml_document import read_snapshot


class Bench:
    """A publisher with a real file, and a fake Traefik in which every revision is live at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.store = toml_store(path)
        place = MemoryPlace()
        place.snapshot = Snapshot(2**60, RouteTable())
        log = logging.getLogger("hub")
        self.publisher = RoutePublisher(
            self.store, FakeTraefik(place), live_timeout=5, check_route=lambda _: None, log=log
        )

    async def add(self, name: str, port: int = 8001) -> None:
        """Add ``/user/<name>/``."""
        route = route_of(name, port)
        await self.publisher.add(route.routespec, route.target, route.data)

    def written(self) -> set[str]:
        """The routespecs in the file."""
        snapshot = read_snapshot(self.path.read_text())
        assert snapshot is not None
        return {route.routespec for route in snapshot.table}

    def remembered(self) -> set[str]:
        """The routespecs in memory."""
        return {route.routespec for route in self.publisher.table}


@pytest_asyncio.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """A publisher with one route, ``/user/ada/``."""
    bench = Bench(tmp_path / "dynamic.toml")
    await bench.publisher.open()
    await bench.publisher.begin(RouteTable())
    await bench.add("ada")
    yield bench
    await bench.publisher.close()
    await bench.store.close()


EVERY_FAILURE = [
    pytest.param(step, number, id=f"{step}-{errno.errorcode[number]}")
    for step in STEPS_BEFORE
    for number in (errno.ENOSPC, errno.EIO, errno.EACCES)
]


@pytest.mark.parametrize(("step", "number"), EVERY_FAILURE)
async def test_file_and_memory_stay_the_old_ones(bench: Bench, step: str, number: int) -> None:
    """After a failed write, the file is unchanged, byte for byte, and so is the table."""
    before = bench.path.read_bytes()
    with disturbed(bench.path, step, failing(number)), pytest.raises(CommitFailed):
        await bench.add("bob")

    assert bench.path.read_bytes() == before
    assert bench.remembered() == {"/user/ada/"}


@pytest.mark.parametrize(("step", "number"), EVERY_FAILURE)
async def test_exactly_the_callers_that_asked_for_a_change_get_the_error(bench: Bench, step: str, number: int) -> None:
    """In the same batch, adding a route that is already there succeeds."""
    with disturbed(bench.path, step, failing(number)):
        results = await asyncio.gather(
            bench.add("bob"),
            bench.add("ada"),
            bench.add("ada", port=9),
            bench.publisher.delete("/user/ada/"),
            bench.publisher.delete("/user/none/"),
            return_exceptions=True,
        )

    assert [type(outcome) for outcome in results] == [CommitFailed, type(None), CommitFailed, CommitFailed, bool]


@pytest.mark.parametrize(("step", "number"), EVERY_FAILURE)
async def test_the_next_change_works(bench: Bench, step: str, number: int) -> None:
    """Once the disk works again, changes do; the one that failed has left nothing."""
    with disturbed(bench.path, step, failing(number)), pytest.raises(CommitFailed):
        await bench.add("bob")
    await bench.add("cleo")

    assert bench.written() == bench.remembered() == {"/user/ada/", "/user/cleo/"}


async def test_a_folder_that_cannot_be_synced_is_no_failure(bench: Bench) -> None:
    """The new file is already in place."""
    with disturbed(bench.path, SYNC_FOLDER, failing(errno.EIO)):
        await bench.add("bob")

    assert bench.written() == bench.remembered() == {"/user/ada/", "/user/bob/"}


@pytest.mark.parametrize("step", STEPS_BEFORE)
async def test_users_do_not_notice_a_full_disk(
    proxy: TraefikTomlProxy, make_backend: BackendMaker, tmp_path: Path, step: str
) -> None:
    """While nothing can be written, existing routes are served, and new ones fail."""
    ada, bob = await make_backend("ada"), await make_backend("bob")
    await proxy.add_route("/user/ada/", ada.url, {})
    path = tmp_path / "state" / "dynamic.toml"
    with disturbed(path, step, failing(errno.ENOSPC)), pytest.raises(CommitFailed, match="No space left on device"):
        await proxy.add_route("/user/bob/", bob.url, {})

    assert (await get(proxy.public_url, "/user/ada/")).by == "ada"
    assert (await get(proxy.public_url, "/user/bob/")).status == 404
    assert set(await proxy.get_all_routes()) == {"/user/ada/"}


async def test_a_delete_that_cannot_be_written_fails(
    proxy: TraefikTomlProxy, make_backend: BackendMaker, tmp_path: Path
) -> None:
    """The route is still there, and the Hub gets an error."""
    ada = await make_backend("ada")
    await proxy.add_route("/user/ada/", ada.url, {})
    path = tmp_path / "state" / "dynamic.toml"
    with disturbed(path, "write", failing(errno.ENOSPC)), pytest.raises(CommitFailed):
        await proxy.delete_route("/user/ada/")

    assert (await get(proxy.public_url, "/user/ada/")).by == "ada"
    assert set(await proxy.get_all_routes()) == {"/user/ada/"}
