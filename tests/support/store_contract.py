"""What every store must do, as one function for each promise of :class:`traefik_toml_proxy.stores.Store`."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Protocol

import pytest

from traefik_toml_proxy.errors import CommitFailed, StoreLocked
from traefik_toml_proxy.routes import Route, RouteTable, Snapshot
from traefik_toml_proxy.seams import Store


class Shelf(Protocol):
    """A place where stores keep their snapshot, and what can happen to it."""

    def store(self) -> Store:
        """Return a new store for this place; not opened."""

    def full_disk(self) -> AbstractContextManager[object]:
        """Make commits fail inside the block."""

    def failures(self) -> list[AbstractContextManager[object]]:
        """Return all the ways in which a commit can fail, each for one block."""

    def harm(self) -> None:
        """Do to the kept snapshot what nobody else should do."""


def table_of(*names: str) -> RouteTable:
    """Return a table with a route ``/user/<name>/`` for each name."""
    return RouteTable(route_of(name) for name in names)


def route_of(name: str, port: int = 8001) -> Route:
    """Return the route ``/user/<name>/``."""
    return Route.checked(f"/user/{name}/", f"http://127.0.0.1:{port}", {"user": name})


def routes_of(snapshot: Snapshot) -> set[Route]:
    """Return the routes in a snapshot, to be compared."""
    return set(snapshot.table)


async def a_new_place_is_empty(shelf: Shelf) -> None:
    """A place that nobody has used holds an empty snapshot with revision 0."""
    store = shelf.store()
    snapshot = await store.open()
    await store.close()

    assert (snapshot.revision, routes_of(snapshot)) == (0, set())


async def the_next_owner_reads_the_last_commit(shelf: Shelf) -> None:
    """Whoever opens the place next gets the revision and the routes as they were committed."""
    first, second = shelf.store(), shelf.store()
    await first.open()
    await first.commit(Snapshot(7, table_of("ada", "bob")))
    await first.close()
    snapshot = await second.open()
    await second.close()

    assert (snapshot.revision, routes_of(snapshot)) == (7, set(table_of("ada", "bob")))


async def a_commit_replaces_the_one_before(shelf: Shelf) -> None:
    """Nothing remains of the snapshot that was kept before."""
    first, second = shelf.store(), shelf.store()
    await first.open()
    await first.commit(Snapshot(1, table_of("ada", "bob")))
    await first.commit(Snapshot(2, table_of("cleo")))
    await first.close()
    snapshot = await second.open()
    await second.close()

    assert (snapshot.revision, routes_of(snapshot)) == (2, set(table_of("cleo")))


async def a_place_has_one_owner(shelf: Shelf) -> None:
    """A second store is refused, with an error that names the owner."""
    first, second = shelf.store(), shelf.store()
    await first.open()
    with pytest.raises(StoreLocked, match=f"process {os.getpid()}"):
        await second.open()
    await second.close()
    await first.commit(Snapshot(1, table_of("ada")))
    await first.close()


async def closing_frees_the_place(shelf: Shelf) -> None:
    """After close, which may be called twice, another store can open it."""
    first, second = shelf.store(), shelf.store()
    await first.open()
    await first.close()
    await first.close()
    await second.open()
    await second.close()


async def closing_what_was_never_opened_is_allowed(shelf: Shelf) -> None:
    """A store that was not opened can be closed."""
    await shelf.store().close()


async def a_failed_commit_leaves_the_last_one(shelf: Shelf) -> None:
    """After a commit that failed, the snapshot before it is still there, and the next commit works."""
    first, second = shelf.store(), shelf.store()
    await first.open()
    await first.commit(Snapshot(1, table_of("ada")))
    with shelf.full_disk(), pytest.raises(CommitFailed):
        await first.commit(Snapshot(2, table_of("bob")))
    assert await first.damage() is None
    await first.close()
    snapshot = await second.open()
    assert (snapshot.revision, routes_of(snapshot)) == (1, set(table_of("ada")))
    await second.commit(Snapshot(3, table_of("cleo")))
    await second.close()


async def a_failed_commit_is_reported_if_it_may_have_been_kept(shelf: Shelf) -> None:
    """However a commit fails, the old snapshot is kept, or the new one is and damage() says so until the next commit."""
    store = shelf.store()
    await store.open()
    for number, failing in enumerate(shelf.failures()):
        old, new = Snapshot(10 * number + 1, table_of("ada")), Snapshot(10 * number + 2, table_of("bob"))
        await store.commit(old)
        assert await store.damage() is None
        with failing, pytest.raises(CommitFailed):
            await store.commit(new)
        first, second = await store.damage(), await store.damage()
        assert first == second
        await store.close()
        kept = await store.open()
        assert (kept.revision, first is None) in [(old.revision, True), (old.revision, False), (new.revision, False)]
        assert routes_of(kept) == routes_of(old if kept.revision == old.revision else new)
    await store.commit(Snapshot(1000, table_of("cleo")))
    assert await store.damage() is None
    await store.close()


async def a_cancelled_commit_is_whole_or_not_there(shelf: Shelf) -> None:
    """A commit whose caller is cancelled leaves the old snapshot or the new one, and the next commit works."""
    first, second = shelf.store(), shelf.store()
    await first.open()
    await first.commit(Snapshot(1, table_of("ada")))
    commit = asyncio.ensure_future(first.commit(Snapshot(2, table_of("bob"))))
    await asyncio.sleep(0)
    commit.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await commit
    await first.close()
    snapshot = await second.open()
    assert (snapshot.revision, routes_of(snapshot)) in [(1, set(table_of("ada"))), (2, set(table_of("bob")))]
    await second.commit(Snapshot(3, table_of("cleo")))
    await second.close()


async def an_untouched_place_is_not_damaged(shelf: Shelf) -> None:
    """There is no damage before the first commit, nor after one."""
    store = shelf.store()
    await store.open()
    assert await store.damage() is None
    await store.commit(Snapshot(1, table_of("ada")))
    assert await store.damage() is None
    await store.close()


async def damage_is_reported_until_the_next_commit(shelf: Shelf) -> None:
    """What somebody else did is reported each time it is asked for."""
    store = shelf.store()
    await store.open()
    await store.commit(Snapshot(1, table_of("ada")))
    shelf.harm()
    first, second = await store.damage(), await store.damage()
    assert first
    assert first == second
    await store.commit(Snapshot(2, table_of("ada")))
    assert await store.damage() is None
    await store.close()


CONTRACT: list[Callable[[Shelf], Awaitable[None]]] = [
    a_new_place_is_empty,
    the_next_owner_reads_the_last_commit,
    a_commit_replaces_the_one_before,
    a_place_has_one_owner,
    closing_frees_the_place,
    closing_what_was_never_opened_is_allowed,
    a_failed_commit_leaves_the_last_one,
    a_failed_commit_is_reported_if_it_may_have_been_kept,
    a_cancelled_commit_is_whole_or_not_there,
    an_untouched_place_is_not_damaged,
    damage_is_reported_until_the_next_commit,
]
