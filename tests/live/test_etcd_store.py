"""The store in etcd, with a real etcd: the contract of all stores, two Hubs, lost answers, and what others do to it."""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from base64 import b64decode
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from support.etcd import Etcd, running_etcd
from support.etcd_stores import EtcdShelf, etcd_store
from support.hostile import RULE_INJECTIONS, TOML_INJECTIONS
from support.ports import free_port
from support.relay import Relay
from support.store_contract import CONTRACT, Shelf, route_of, routes_of, table_of
from support.waiting import PATIENCE, eventually

from traefik_toml_proxy.errors import CommitFailed, EtcdUnreachable, StoreError, StoreLocked
from traefik_toml_proxy.routes import Change, Route, RouteTable, Snapshot
from traefik_toml_proxy.stores.etcd_edits import EditWatch
from traefik_toml_proxy.stores.etcd_gateway import EtcdGateway
from traefik_toml_proxy.stores.etcd_messages import Event, Outcome, Transaction
from traefik_toml_proxy.stores.etcd_settings import EtcdSettings
from traefik_toml_proxy.stores.etcd_store import EtcdStore


@pytest.fixture
def root() -> str:
    """Keys that no other test has."""
    return f"/test/{secrets.token_hex(4)}"


@pytest_asyncio.fixture
async def relay(etcd: Etcd) -> AsyncIterator[Relay]:
    async with Relay(urlsplit(etcd.members[0].url).port or 0) as running:
        yield running


@pytest_asyncio.fixture
async def make_store(etcd: Etcd, root: str) -> AsyncIterator[Callable[..., EtcdStore]]:
    """Make stores of one table; each is closed at the end."""
    made: list[EtcdStore] = []

    def make(settings: EtcdSettings | None = None, **more: float) -> EtcdStore:
        made.append(etcd_store(settings or etcd.settings, root, **more))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for store in made:
        await store.close()


@pytest.mark.parametrize("keeps", CONTRACT, ids=lambda check: check.__name__)
async def test_the_store_keeps_the_contract(
    etcd: Etcd, relay: Relay, root: str, keeps: Callable[[Shelf], Awaitable[None]]
) -> None:
    """See support/store_contract.py for what RoutePublisher relies on."""
    await keeps(EtcdShelf(etcd, relay, root))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("size", [1_000, 50_000])
async def test_a_change_writes_at_most_a_kilobyte_and_its_data(
    etcd: Etcd, make_store: Callable[..., EtcdStore], root: str, size: int
) -> None:
    """However many routes there are."""

    def last(count: int) -> list[dict[str, Any]]:
        """Return the keys that were written last."""
        order = ("--sort-by", "MODIFY", "--order", "DESCEND", "--limit", str(count))
        found: list[dict[str, Any]] = json.loads(etcd.control("get", "--prefix", root, *order, "-w", "json"))["kvs"]
        return found

    def written_since(revision: int) -> tuple[int, int]:
        """Return the bytes of all keys and values that were written after a revision of etcd, and how many they are."""
        later = [item for item in last(20) if item["mod_revision"] > revision]
        return sum(len(b64decode(item["key"])) + len(b64decode(item["value"])) for item in later), len(later)

    store = make_store(lease_seconds=60, timeout=200)
    first = await store.open()
    table = RouteTable(
        Route.checked(f"/user/{number}/", f"http://10.0.0.1:{number % 60_000 + 1}", {"user": f"{number}"})
        for number in range(size)
    )
    await store.commit(Snapshot(first.revision + 1, table))
    data = {"text": "x" * 3000}
    before = last(1)[0]["mod_revision"]
    table, _ = table.with_changes([Change("/user/new/", Route.checked("/user/new/", "http://10.0.0.2:8888", data))])
    await store.commit(Snapshot(first.revision + 2, table))
    of_add, keys = written_since(before)
    before = last(1)[0]["mod_revision"]
    table, _ = table.with_changes([Change("/user/new/", None)])
    await store.commit(Snapshot(first.revision + 3, table))
    of_delete, _ = written_since(before)

    print(f"{size} routes: {of_add - len(json.dumps(data))} bytes and the data for an add, {of_delete} for a delete")
    assert keys == 2
    assert len(json.dumps(data)) < of_add <= len(json.dumps(data)) + 1024
    assert 0 < of_delete <= 1024


async def test_hostile_names_come_back_exactly(make_store: Callable[..., EtcdStore]) -> None:
    table = RouteTable(
        Route.checked(
            f"/services/{number}{text.replace('/', '').replace('%', '')}/", "http://127.0.0.1:1", {text: text}
        )
        for number, text in enumerate([*RULE_INJECTIONS, *TOML_INJECTIONS])
    )
    first, second = make_store(), make_store()
    await first.open()
    await first.commit(Snapshot(1, table))
    await first.close()

    assert routes_of(await second.open()) == set(table)


async def test_one_change_writes_at_most_a_kilobyte_and_its_data(
    make_store: Callable[..., EtcdStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many routes there are."""
    written: list[int] = []
    transact = EtcdGateway.transact

    async def counting(self: EtcdGateway, transaction: Transaction, *, timeout: float) -> Outcome:
        written.append(len(repr(transaction.request())))
        return await transact(self, transaction, timeout=timeout)

    store = make_store()
    await store.open()
    table = table_of(*(f"user{number}" for number in range(1000)))
    await store.commit(Snapshot(1, table))
    more, _ = table.with_changes([Change("/user/ada/", route_of("ada"))])
    monkeypatch.setattr(EtcdGateway, "transact", counting)
    await store.commit(Snapshot(2, more))

    assert len(written) == 1
    assert written[0] < 1500  # with base64 and the names of fields


# Two Hubs.


async def test_a_dead_hub_leads_no_longer_than_its_lease(make_store: Callable[..., EtcdStore]) -> None:
    """The next one waits that long, and has its routes."""
    first, second = make_store(), make_store()
    await first.open()
    await first.commit(Snapshot(1, table_of("ada")))
    _stop_renewing(first)
    snapshot = await second.open()

    assert routes_of(snapshot) == set(table_of("ada"))
    with pytest.raises(StoreLocked):
        await first.commit(Snapshot(2, table_of("bob")))
    await second.close()
    assert routes_of(await make_store().open()) == set(table_of("ada"))


def _stop_renewing(store: EtcdStore) -> None:
    """As if its Hub were dead."""
    assert store._keeper is not None
    store._keeper.cancel()


async def test_a_hub_that_has_lost_its_lease_leads_again_if_nobody_does(
    etcd: Etcd, make_store: Callable[..., EtcdStore]
) -> None:
    """As after it was frozen. It says so, and the next commit is written."""
    store = make_store()
    await store.open()
    await store.commit(Snapshot(1, table_of("ada")))
    etcd.control("lease", "revoke", f"{store._lease:x}")
    assert await store.damage() == "has lost the lock of this Hub"
    await store.commit(Snapshot(2, table_of("ada", "bob")))
    assert await store.damage() is None
    await store.close()

    assert routes_of(await make_store().open()) == set(table_of("ada", "bob"))


async def test_a_hub_that_was_passed_over_while_another_one_came_and_went_knows_nothing(
    etcd: Etcd, make_store: Callable[..., EtcdStore]
) -> None:
    """It leads again, and writes its own table over that of the other one."""
    first, second = make_store(), make_store()
    await first.open()
    await first.commit(Snapshot(1, table_of("ada")))
    etcd.control("lease", "revoke", f"{first._lease:x}")
    await second.open()
    await second.commit(Snapshot(2, table_of("bob")))
    await second.close()
    await first.commit(Snapshot(3, table_of("ada", "cleo")))
    await first.close()

    assert routes_of(await make_store().open()) == set(table_of("ada", "cleo"))


# Lost answers, and changes of many routes.


async def test_a_lost_answer_is_neither_a_lost_change_nor_a_doubled_one(
    relay: Relay, etcd: Etcd, root: str, make_store: Callable[..., EtcdStore]
) -> None:
    """The transaction is sent again, and its mark shows that it was carried out."""
    store = make_store(EtcdSettings(endpoints=(relay.url, *etcd.settings.endpoints)))
    await store.open()
    relay.loses_answers = True
    answered = relay.answered
    await store.commit(Snapshot(1, table_of("ada")))
    assert relay.answered > answered
    assert '"Version" : 1\n' in etcd.control("get", f"{root}/table/head", "--write-out", "fields")
    assert await store.damage() is None
    await store.commit(Snapshot(2, table_of("ada", "bob")))
    await store.close()

    snapshot = await make_store().open()
    assert (snapshot.revision, routes_of(snapshot)) == (2, set(table_of("ada", "bob")))


@contextlib.contextmanager
def failing_after(monkeypatch: pytest.MonkeyPatch, transactions: int) -> Iterator[None]:
    """Let no transaction that changes something reach etcd after so many."""
    transact, count = EtcdGateway.transact, 0

    async def failing(self: EtcdGateway, transaction: Transaction, *, timeout: float) -> Outcome:
        nonlocal count
        if len(transaction.compare) == 2:
            count += 1
            if count > transactions:
                raise EtcdUnreachable(self.location, "the test does not want that")
        return await transact(self, transaction, timeout=timeout)

    with monkeypatch.context() as patch:
        patch.setattr(EtcdGateway, "transact", failing)
        yield


MANY = table_of(*(f"user{number}" for number in range(300)))


async def test_a_change_of_many_routes_is_whole_or_not_there(
    make_store: Callable[..., EtcdStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes three transactions. Whoever reads between them gets the table before it; the same Hub puts it right."""
    first, second = make_store(), make_store()
    await first.open()
    await first.commit(Snapshot(1, table_of("ada", "bob")))
    with failing_after(monkeypatch, 2), pytest.raises(CommitFailed):
        await first.commit(Snapshot(2, MANY))
    assert await first.damage() == "may hold a change that failed"
    await first.close()
    snapshot = await second.open()
    assert (snapshot.revision, routes_of(snapshot)) == (1, set(table_of("ada", "bob")))
    assert await second.damage() == "may hold a change that failed"
    await second.commit(Snapshot(2, table_of("ada", "bob")))
    assert await second.damage() is None
    await second.commit(Snapshot(3, MANY))
    await second.close()

    assert routes_of(await make_store().open()) == set(MANY)


async def test_the_very_first_change_is_whole_or_not_there(
    make_store: Callable[..., EtcdStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it there is nothing, not even a head."""
    first, second = make_store(), make_store()
    await first.open()
    with failing_after(monkeypatch, 1), pytest.raises(CommitFailed):
        await first.commit(Snapshot(1, MANY))
    await first.close()
    snapshot = await second.open()

    assert (snapshot.revision, routes_of(snapshot)) == (0, set())


async def test_if_etcd_forgets_the_table_before_it_all_that_there_is_is_used(
    etcd: Etcd, make_store: Callable[..., EtcdStore], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Each route of it is whole."""
    first, second = make_store(), make_store()
    await first.open()
    await first.commit(Snapshot(1, table_of("ada")))
    with failing_after(monkeypatch, 1), pytest.raises(CommitFailed):
        await first.commit(Snapshot(2, MANY))
    await first.close()
    etcd.control("compaction", str(_revision(etcd)))
    snapshot = await second.open()

    assert set(table_of("ada")) < routes_of(snapshot) or routes_of(snapshot) < set(MANY)
    assert "was interrupted" in caplog.text


def _revision(etcd: Etcd) -> int:
    return int(etcd.control("endpoint", "status", "--write-out", "fields").partition('"Revision" :')[2].split()[0])


# What others do.


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["del", "--prefix", "{}/table/"], "was emptied"),
        (["put", "{}/table/head", "{{}}"], "was changed by somebody else"),
        (["del", "{}/table/routes//user/ada/"], "has other routes than were written"),
        (["put", "{}/table/routes//user/eve/", "{{}}"], "has other routes than were written"),
    ],
)
async def test_what_others_do_is_noticed_and_put_right(
    etcd: Etcd, root: str, make_store: Callable[..., EtcdStore], command: list[str], says: str
) -> None:
    store = make_store()
    await store.open()
    await store.commit(Snapshot(1, table_of("ada", "bob")))
    etcd.control(*(word.format(root) for word in command))
    assert await store.damage() == says
    await store.commit(Snapshot(2, table_of("ada", "bob")))
    assert await store.damage() is None
    await store.close()

    assert routes_of(await make_store().open()) == set(table_of("ada", "bob"))


EDITED = '{"target": "http://127.0.0.1:9", "data": {}}'


async def test_a_route_with_another_value_is_noticed_and_put_right(
    etcd: Etcd, root: str, make_store: Callable[..., EtcdStore]
) -> None:
    """There are as many routes as before, and the head is the same. Also if another route is changed meanwhile."""
    store = make_store()
    await store.open()
    for revision in range(1, 4):
        await store.commit(Snapshot(revision, table_of("ada", "bob")))
        etcd.control("put", f"{root}/table/routes//user/ada/", EDITED)
        await store.commit(Snapshot(10 + revision, table_of("ada", "bob", f"{revision}")))
        assert await eventually(store.damage) == "has other routes than were written"
        assert await store.damage() == "has other routes than were written"
        await store.commit(Snapshot(20 + revision, table_of("ada", "bob")))
        assert await store.damage() is None
    await store.close()

    assert routes_of(await make_store().open()) == set(table_of("ada", "bob"))


async def test_what_a_hub_writes_is_no_edit(
    etcd: Etcd, root: str, make_store: Callable[..., EtcdStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor what was there before. The edit after that is seen."""
    first, store = make_store(), make_store()
    await first.open()
    await first.commit(Snapshot(1, MANY))
    etcd.control("put", f"{root}/table/routes//user/ada/", EDITED)
    await first.close()
    seen: list[frozenset[bytes]] = []
    look = EditWatch._look_at

    def noting(self: EditWatch, events: Sequence[Event]) -> None:
        seen.append(frozenset(event.key for event in events))
        look(self, events)

    monkeypatch.setattr(EditWatch, "_look_at", noting)
    await store.open()
    for revision in range(2, 22):
        await store.commit(Snapshot(revision, table_of(*map(str, range(revision)))))
    await eventually(lambda: any(f"{root}/table/routes//user/20/".encode() in keys for keys in seen))

    assert await store.damage() is None
    etcd.control("put", f"{root}/table/routes//user/0/", EDITED)
    assert await eventually(store.damage)


async def test_an_edit_is_seen_although_the_watch_was_cut_and_its_revisions_are_compacted(
    etcd: Etcd, relay: Relay, root: str, make_store: Callable[..., EtcdStore]
) -> None:
    store = make_store(EtcdSettings(endpoints=(relay.url,)))
    await store.open()
    await store.commit(Snapshot(1, table_of("ada", "bob")))
    relay.is_silent = True
    relay.cut()
    etcd.control("put", f"{root}/table/routes//user/ada/", EDITED)
    etcd.control("put", "/elsewhere", "")
    etcd.control("compaction", str(_revision(etcd)))
    relay.is_silent = False
    relay.cut()

    assert await eventually(store.damage) == "has other routes than were written"


async def test_what_others_do_just_before_a_commit_is_put_right_by_it(
    etcd: Etcd, root: str, make_store: Callable[..., EtcdStore]
) -> None:
    """It finds that the head is not the one that it knows."""
    store = make_store()
    await store.open()
    await store.commit(Snapshot(1, table_of("ada", "bob")))
    etcd.control("del", "--prefix", f"{root}/table/")
    await store.commit(Snapshot(2, table_of("ada", "cleo")))
    await store.close()

    assert routes_of(await make_store().open()) == set(table_of("ada", "cleo"))


async def test_what_is_no_route_is_left_out_and_removed(
    etcd: Etcd, root: str, make_store: Callable[..., EtcdStore]
) -> None:
    for number, value in enumerate(["", "{", '{"target": "x", "data": {}}']):
        etcd.control("put", "--", f"{root}/table/routes//bad/{number}/", value)
    store = make_store()
    snapshot = await store.open()
    await store.commit(Snapshot(1, table_of("ada")))

    assert routes_of(snapshot) == set()
    keys = etcd.control("get", "--prefix", f"{root}/table/routes/", "--keys-only").split()
    assert keys == [f"{root}/table/routes//user/ada/"]


async def test_another_etcd_gets_the_whole_table(tmp_path: Path) -> None:
    """One that is new, with the same address."""
    async with running_etcd(tmp_path) as etcd:
        store = etcd_store(etcd.settings, "/test")
        await store.open()
        await store.commit(Snapshot(1, table_of("ada", "bob")))
        etcd.empty()
        assert await eventually(store.damage, within=20) == "was replaced by another etcd"
        await store.commit(Snapshot(2, table_of("ada", "cleo")))
        assert await store.damage() is None
        await store.close()
        other = etcd_store(etcd.settings, "/test")
        snapshot = await other.open()
        await other.close()

    assert (snapshot.revision, routes_of(snapshot)) == (2, set(table_of("ada", "cleo")))


async def test_an_etcd_that_is_down_is_no_damage_and_fails_a_commit_in_time(tmp_path: Path) -> None:
    """When it is back, the table is put right."""
    async with running_etcd(tmp_path) as etcd:
        store = etcd_store(etcd.settings, "/test", timeout=1 * PATIENCE)
        await store.open()
        await store.commit(Snapshot(1, table_of("ada")))
        etcd.members[0].kill()
        assert await store.damage() is None
        began = time.monotonic()
        with pytest.raises(CommitFailed, match="put right as soon as etcd answers"):
            await store.commit(Snapshot(2, table_of("bob")))
        assert time.monotonic() - began < 3 * PATIENCE
        etcd.restart(etcd.members[0])
        await etcd.ready()
        assert await store.damage() == "may hold a change that failed"
        await store.commit(Snapshot(3, table_of("ada")))
        assert await store.damage() is None
        await store.close()


async def test_an_etcd_that_cannot_be_used_is_told_with_its_settings(make_store: Callable[..., EtcdStore]) -> None:
    store = make_store(EtcdSettings(endpoints=(f"http://127.0.0.1:{free_port()}",)), timeout=0.5)
    with pytest.raises(StoreError, match="etcd_endpoints"):
        await store.open()


async def test_a_store_that_is_not_open_writes_nothing(make_store: Callable[..., EtcdStore]) -> None:
    store = make_store()
    assert await store.damage() is None
    with pytest.raises(StoreError, match="not open"):
        await store.commit(Snapshot(1, table_of("ada")))
