"""RoutePublisher: batches, failures, cancellation and repairs, with a fake store and a fake Traefik."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry
from support.fakes import ADVICE, FakeTraefik, MemoryPlace, MemoryStore
from support.store_contract import table_of
from support.waiting import PATIENCE, eventually, meanwhile

from traefik_toml_proxy import waits
from traefik_toml_proxy.errors import CommitFailed, InvalidRoute, RouteNotLive, StoreError
from traefik_toml_proxy.metrics import PrometheusMetrics
from traefik_toml_proxy.publisher import RoutePublisher
from traefik_toml_proxy.routes import Route, RouteTable
from traefik_toml_proxy.seams import NO_METRICS, Metrics
from traefik_toml_proxy.watcher import RouteWatcher

FULL = OSError(errno.ENOSPC, "No space left on device")


class Desk:
    """A publisher with its store and its Traefik."""

    def __init__(self) -> None:
        self.place = MemoryPlace()
        self.store = MemoryStore(self.place)
        self.traefik = FakeTraefik(self.place)
        self.unservable: set[str] = set()
        self.publisher = self.another(live_timeout=30)

    def another(self, *, live_timeout: float, metrics: Metrics = NO_METRICS) -> RoutePublisher:
        """Return a publisher with the same store and Traefik."""
        return RoutePublisher(
            self.store,
            self.traefik,
            live_timeout=live_timeout,
            check_route=self.check_route,
            log=logging.getLogger("hub"),
            metrics=metrics,
        )

    async def impatient(self, table: RouteTable) -> RoutePublisher:
        """Return a publisher with the same store that waits 0.05 s for a change; begun with that table."""
        await self.store.close()
        publisher = self.another(live_timeout=0.05)
        await publisher.open()
        await publisher.begin(table)
        return publisher

    def check_route(self, route: Route) -> None:
        """Refuse the routespecs in ``unservable``."""
        if route.routespec in self.unservable:
            raise InvalidRoute(route.routespec, "this proxy cannot serve it")

    async def add(self, name: str, port: int = 8001, data: object = None) -> None:
        """Add ``/user/<name>/``."""
        data = {"user": name} if data is None else data
        await self.publisher.add(f"/user/{name}/", f"http://127.0.0.1:{port}", data)

    async def delete(self, name: str) -> bool:
        """Delete ``/user/<name>/``."""
        return await self.publisher.delete(f"/user/{name}/")

    def adding(self, *names: str) -> list[asyncio.Task[None]]:
        """Begin to add a route for each name, in this order."""
        return [asyncio.create_task(self.add(name)) for name in names]

    async def holding(self) -> asyncio.Task[None]:
        """Begin to add ``/user/first/``, and hold its commit until the gate is set."""
        self.store.gate.clear()
        first = asyncio.create_task(self.add("first"))
        await eventually(lambda: self.store.begun > len(self.store.commits))
        return first

    async def watched(self, times: int) -> None:
        """Wait until the watcher has asked Traefik this many times."""
        asked = self.traefik.asked
        await eventually(lambda: self.traefik.asked > asked + times)

    @property
    def names(self) -> list[str]:
        """The user names in the table, in order."""
        return sorted(route.data["user"] for route in self.publisher.table)


@pytest_asyncio.fixture
async def desk() -> AsyncIterator[Desk]:
    """A publisher with an empty table at revision 1; closed at the end."""
    desk = Desk()
    await desk.publisher.open()
    await desk.publisher.begin(RouteTable())
    yield desk
    desk.store.gate.set()
    await desk.publisher.close()


async def outcomes(tasks: list[asyncio.Task[Any]]) -> list[Any]:
    """Return what each task returned or raised."""
    return await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10 * PATIENCE)


class TestBatches:
    """Changes that come in during a commit share the next one."""

    async def test_a_change_goes_out_at_once_when_nothing_waits(self, desk: Desk) -> None:
        """An idle publisher does not wait for more changes."""
        await desk.add("ada")
        await desk.add("bob")

        assert [len(snapshot.table) for snapshot in desk.store.commits] == [0, 1, 2]

    async def test_changes_that_come_in_during_a_commit_share_the_next(self, desk: Desk) -> None:
        """Any number of adds costs only one more commit."""
        first = await desk.holding()
        others = desk.adding(*(f"user{number}" for number in range(1000)))
        await asyncio.sleep(0)
        desk.store.gate.set()
        await outcomes([first, *others])

        assert [len(snapshot.table) for snapshot in desk.store.commits] == [0, 1, 1001]

    async def test_changes_that_come_in_before_a_commit_is_live_share_the_next(self, desk: Desk) -> None:
        """The next commit waits until Traefik serves the one before, since each reload costs time."""
        desk.traefik.up = False
        first = desk.adding("ada")
        await eventually(lambda: len(desk.store.commits) == 2)
        others = desk.adding("bob", "cleo")
        await asyncio.wait(others, timeout=0.02)
        before = len(desk.store.commits)
        desk.traefik.up = True
        await outcomes([*first, *others])

        assert (before, len(desk.store.commits)) == (2, 3)

    async def test_revisions_grow_by_one(self, desk: Desk) -> None:
        """Each commit has the next number."""
        await desk.add("ada")
        await desk.delete("ada")

        assert [snapshot.revision for snapshot in desk.store.commits] == [1, 2, 3]

    async def test_adding_the_same_again_writes_nothing(self, desk: Desk) -> None:
        """The Hub adds its extra routes again at each check; that costs no reload."""
        await desk.add("ada")
        await desk.add("ada")

        assert len(desk.store.commits) == 2

    async def test_deleting_what_is_not_there_writes_nothing(self, desk: Desk) -> None:
        """It returns False instead."""
        assert await desk.delete("ada") is False
        assert len(desk.store.commits) == 1

    async def test_another_target_or_other_data_is_a_change(self, desk: Desk) -> None:
        """A route is the same only if its target and its data are."""
        await desk.add("ada", port=1)
        await desk.add("ada", port=2)
        await desk.add("ada", port=2, data={"user": "ada", "server_name": "x"})

        assert len(desk.store.commits) == 4

    async def test_a_route_added_and_deleted_in_one_batch_is_never_written(self, desk: Desk) -> None:
        """It costs no commit; both callers succeed."""
        first = await desk.holding()
        add = asyncio.create_task(desk.add("ada"))
        delete = asyncio.create_task(desk.delete("ada"))
        await asyncio.sleep(0)
        desk.store.gate.set()

        assert await outcomes([first, add, delete]) == [None, None, True]
        assert len(desk.store.commits) == 2

    async def test_a_route_deleted_and_added_in_one_batch_is_the_new_one(self, desk: Desk) -> None:
        """Within a batch, changes take effect in the order of the calls."""
        await desk.add("ada", port=1)
        first = await desk.holding()
        delete = asyncio.create_task(desk.delete("ada"))
        add = asyncio.create_task(desk.add("ada", port=2))
        await asyncio.sleep(0)
        desk.store.gate.set()
        await outcomes([first, delete, add])

        route = desk.publisher.table.get("/user/ada/")
        assert route is not None
        assert route.target == "http://127.0.0.1:2"

    async def test_the_last_of_several_adds_of_one_route_wins(self, desk: Desk) -> None:
        """All callers succeed."""
        first = await desk.holding()
        adds = [asyncio.create_task(desk.add("ada", port=port)) for port in (1, 2, 3)]
        await asyncio.sleep(0)
        desk.store.gate.set()

        assert await outcomes([first, *adds]) == [None, None, None, None]
        route = desk.publisher.table.get("/user/ada/")
        assert route is not None
        assert route.target == "http://127.0.0.1:3"

    async def test_a_second_spelling_of_a_place_is_refused_alone(self, desk: Desk) -> None:
        """Of two spellings of a place in one batch, the first is added and the second refused; other changes succeed."""
        first = await desk.holding()
        tasks = desk.adding("a@b", "a%40b", "cleo")
        await asyncio.sleep(0)
        desk.store.gate.set()
        one, two, three = await outcomes(tasks)
        await first

        assert (one, three) == (None, None)
        assert isinstance(two, InvalidRoute)
        assert "'/user/a@b/'" in str(two)
        assert desk.names == ["a@b", "cleo", "first"]

    async def test_a_route_that_cannot_be_served_is_refused_alone(self, desk: Desk) -> None:
        """The other changes in the batch succeed."""
        first = await desk.holding()
        tasks = desk.adding("..", "cleo")
        await asyncio.sleep(0)
        desk.store.gate.set()
        bad, good = await outcomes(tasks)
        await first

        assert isinstance(bad, InvalidRoute)
        assert good is None
        assert desk.names == ["cleo", "first"]

    async def test_an_argument_that_is_not_even_text_is_refused_alone(self, desk: Desk) -> None:
        """A mistake in one caller's code does not fail the others."""
        await desk.add("old")
        first = await desk.holding()
        tasks: list[asyncio.Task[Any]] = [
            asyncio.create_task(desk.publisher.add("/user/bad/", None, {})),  # type: ignore[arg-type] # the mistake
            asyncio.create_task(desk.add("good")),
            asyncio.create_task(desk.delete("old")),
        ]
        await asyncio.sleep(0)
        desk.store.gate.set()
        bad, good, old = await outcomes(tasks)
        await first

        assert isinstance(bad, TypeError)
        assert (good, old) == (None, True)
        assert desk.names == ["first", "good"]

    async def test_a_refused_route_writes_nothing(self, desk: Desk) -> None:
        """A batch without any valid change costs no commit."""
        with pytest.raises(InvalidRoute):
            await desk.add("..")

        assert len(desk.store.commits) == 1

    async def test_the_loop_is_free_while_thousands_are_added(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Other tasks get their turn after a few milliseconds; in this test, after every route."""
        monkeypatch.setattr("traefik_toml_proxy.tasks._LONGEST_TURN", 0.0)
        turns = 0

        async def take_turns() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        first = await desk.holding()
        others = desk.adding(*(f"user{number}" for number in range(3000)))
        await asyncio.sleep(0)
        async with meanwhile(take_turns()):
            desk.store.gate.set()
            await asyncio.gather(first, *others)

        # One turn for each route that is checked, and one for each caller; without pauses there are a handful.
        assert turns >= 2 * 3000


class TestFailedCommits:
    """A failed write fails exactly the calls that asked for it, and the table stays as it was."""

    async def test_the_table_stays_as_it_was(self, desk: Desk) -> None:
        """The table in memory is never ahead of the store."""
        await desk.add("ada")
        desk.store.break_next(FULL)
        with pytest.raises(CommitFailed):
            await desk.add("bob")

        assert desk.names == ["ada"]

    async def test_the_table_does_not_move_before_its_commit(self, desk: Desk) -> None:
        """While a commit is under way, the table is the old one."""
        first = await desk.holding()
        assert desk.names == []
        desk.store.gate.set()
        await first
        assert desk.names == ["first"]

    async def test_exactly_the_callers_that_asked_for_a_change_get_the_error(self, desk: Desk) -> None:
        """In a batch that fails, calls that change nothing succeed."""
        await desk.add("ada")
        await desk.add("bob")
        desk.store.break_next(FULL)
        same = asyncio.create_task(desk.add("ada"))
        moved = asyncio.create_task(desk.add("bob", port=9))
        new = asyncio.create_task(desk.add("cleo"))
        gone = asyncio.create_task(desk.delete("ada2"))
        wanted = asyncio.create_task(desk.delete("bob"))
        results = await outcomes([same, moved, new, gone, wanted])

        assert [type(outcome) for outcome in results] == [type(None), CommitFailed, CommitFailed, bool, CommitFailed]
        assert desk.names == ["ada", "bob"]

    async def test_the_next_change_works(self, desk: Desk) -> None:
        """The same add succeeds once there is space."""
        desk.store.break_next(FULL)
        with pytest.raises(CommitFailed):
            await desk.add("ada")
        await desk.add("ada")

        assert desk.names == ["ada"]

    async def test_a_revision_is_never_used_twice(self, desk: Desk) -> None:
        """A commit that failed may have been read by Traefik, so its revision is not used again."""
        desk.store.break_next(FULL)
        with pytest.raises(CommitFailed):
            await desk.add("ada")
        await desk.add("ada")

        assert [snapshot.revision for snapshot in desk.store.commits] == [1, 3]

    async def test_a_first_commit_that_fails_raises(self) -> None:
        """begin() reports it at once."""
        desk = Desk()
        await desk.publisher.open()
        desk.store.break_next(FULL)
        with pytest.raises(CommitFailed, match="No space left on device"):
            await desk.publisher.begin(RouteTable())

    async def test_an_unexpected_exception_reaches_the_callers_and_the_log(
        self, desk: Desk, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It is logged with its traceback, and the next change works."""
        desk.place.failures.append(RuntimeError("a fault of ours"))
        with pytest.raises(RuntimeError, match="a fault of ours"):
            await desk.add("ada")
        await desk.add("bob")

        assert desk.names == ["bob"]
        assert [record.exc_info is not None for record in caplog.records] == [True]


class TestServableRoutes:
    """A proxy can refuse routes that others could serve."""

    async def test_a_route_that_the_proxy_cannot_serve_is_refused(self, desk: Desk) -> None:
        """Nothing is written for it."""
        desk.unservable = {"/user/ada/"}
        with pytest.raises(InvalidRoute, match="this proxy cannot serve it"):
            await desk.add("ada")

        assert len(desk.store.commits) == 1

    async def test_stored_routes_that_the_proxy_cannot_serve_are_left_out(self, desk: Desk) -> None:
        """Settings may have changed since they were added."""
        await desk.add("ada")
        await desk.add("bob")
        await desk.store.close()
        desk.unservable = {"/user/ada/"}
        publisher = desk.another(live_timeout=30)

        assert [route.routespec for route in await publisher.open()] == ["/user/bob/"]

    async def test_other_tasks_run_while_many_stored_routes_are_checked(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A Hub that starts with thousands of routes is not blocked meanwhile."""
        monkeypatch.setattr("traefik_toml_proxy.tasks._LONGEST_TURN", 0)
        await asyncio.gather(*desk.adding("ada", "bob", "cleo"))
        await desk.store.close()
        checked: list[str] = []
        checked_at_each_turn: list[int] = []
        another = RoutePublisher(
            desk.store,
            desk.traefik,
            live_timeout=30,
            check_route=lambda route: checked.append(route.routespec),
            log=logging.getLogger("hub"),
        )

        async def take_turns() -> None:
            while True:
                checked_at_each_turn.append(len(checked))
                await asyncio.sleep(0)

        async with meanwhile(take_turns()):
            await another.open()

        assert {1, 2, 3} <= set(checked_at_each_turn)

    async def test_a_new_session_never_uses_a_revision_again(self, desk: Desk) -> None:
        """The first commit has a later revision than any that the store has seen."""
        await desk.add("ada")
        await desk.store.close()
        publisher = desk.another(live_timeout=30)
        await publisher.begin(await publisher.open())

        assert publisher.revision == 3


class TestCancelledCallers:
    """A cancelled caller does not cancel the commit that it shares with others."""

    async def test_the_others_in_the_batch_succeed(self, desk: Desk) -> None:
        """The commit contains all routes, that of the cancelled caller too."""
        first = await desk.holding()
        one, two, three = desk.adding("ada", "bob", "cleo")
        await asyncio.sleep(0)
        two.cancel()
        desk.store.gate.set()
        await outcomes([first, one, three])

        assert two.cancelled()
        assert desk.names == ["ada", "bob", "cleo", "first"]

    async def test_the_caller_that_started_the_commit_may_be_cancelled(self, desk: Desk) -> None:
        """It does not own the commit any more than the others do."""
        first = await desk.holding()
        (other,) = desk.adding("ada")
        first.cancel()
        await asyncio.wait([first])
        desk.store.gate.set()

        assert await outcomes([other]) == [None]
        assert desk.names == ["ada", "first"]

    async def test_a_caller_that_is_cancelled_before_its_route_is_live_leaves_the_route(self, desk: Desk) -> None:
        """What is written stays, and the publisher goes on."""
        desk.traefik.up = False
        (first,) = desk.adding("ada")
        await eventually(lambda: len(desk.store.commits) == 2)
        first.cancel()
        await asyncio.wait([first])
        desk.traefik.up = True
        await desk.add("bob")

        assert desk.names == ["ada", "bob"]

    async def test_all_callers_may_be_cancelled(self, desk: Desk) -> None:
        """The commit is finished even if nobody waits for it."""
        first = await desk.holding()
        others = desk.adding("ada", "bob")
        await asyncio.sleep(0)
        for task in (first, *others):
            task.cancel()
        await outcomes([first, *others])
        desk.store.gate.set()
        await eventually(lambda: len(desk.store.commits) == 3)

        assert desk.names == ["ada", "bob", "first"]

    async def test_a_writer_that_was_cancelled_is_replaced(self, desk: Desk) -> None:
        """When all tasks were cancelled, waiting callers get an error, and the next change works."""
        first = await desk.holding()
        [writer] = [task for task in asyncio.all_tasks() if task.get_name() == "traefik_toml_proxy writer"]
        writer.cancel()
        desk.store.gate.set()

        with pytest.raises(StoreError):
            await first
        await desk.add("next")

        assert "next" in desk.names

    async def test_a_failure_after_its_caller_was_cancelled_is_ignored(self, desk: Desk) -> None:
        """It is not logged as an exception that was never retrieved."""
        first = await desk.holding()
        desk.store.break_next(FULL)
        first.cancel()
        await asyncio.wait([first])
        desk.store.gate.set()
        await desk.add("ada")

        assert desk.names == ["ada"]


class TestNotLive:
    """What is written but not live in time."""

    async def test_the_add_fails_and_the_route_stays(self, desk: Desk) -> None:
        """The error names the revision, the file, the URL and the answer; the route is written, so it stays."""
        desk.traefik.listens = False
        await desk.traefik.ask()
        publisher = await desk.impatient(table_of("ada"))
        with pytest.raises(TimeoutError) as caught:
            await publisher.add("/user/bob/", "http://127.0.0.1:1", {})

        assert isinstance(caught.value, RouteNotLive)
        for part in ("Revision 3", desk.store.location, desk.traefik.url, "without our revision", ADVICE):
            assert part in str(caught.value)
        assert len(publisher.table) == 2
        assert desk.place.snapshot is not None
        assert len(desk.place.snapshot.table) == 2
        await publisher.close()

    async def test_every_caller_in_the_batch_gets_the_error(self, desk: Desk) -> None:
        """The commit that they share is not live."""
        desk.traefik.up = False
        publisher = await desk.impatient(RouteTable())
        adds = [publisher.add(f"/user/{name}/", "http://127.0.0.1:1", {}) for name in "abc"]
        results = await asyncio.gather(*adds, return_exceptions=True)

        assert [type(error) for error in results] == [RouteNotLive] * 3
        await publisher.close()

    async def test_the_next_change_works_when_traefik_is_back(self, desk: Desk) -> None:
        """A change that is live in time makes the ones before it live, too."""
        desk.traefik.up = False
        publisher = await desk.impatient(RouteTable())
        with pytest.raises(RouteNotLive):
            await publisher.add("/user/ada/", "http://127.0.0.1:1", {})
        desk.traefik.up = True
        await publisher.add("/user/bob/", "http://127.0.0.1:1", {})
        await publisher.close()

        assert len(publisher.table) == 2

    async def test_adding_again_a_route_that_is_not_live_waits_again(self, desk: Desk) -> None:
        """Even an add that changes nothing returns only when its route is live."""
        desk.traefik.up = False
        publisher = await desk.impatient(RouteTable())
        for _ in range(2):
            with pytest.raises(RouteNotLive):
                await publisher.add("/user/ada/", "http://127.0.0.1:1", {})
        await publisher.close()

        assert len(desk.store.commits) == 3

    async def test_later_changes_are_written_before_its_time_is_up(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """So they are live as soon as Traefik is back, together with the first."""
        monkeypatch.setattr(waits, "_SHORTEST_TURN_OF_A_BATCH", 0.01)
        desk.traefik.up = False
        tasks = desk.adding("ada")
        await eventually(lambda: desk.names == ["ada"])
        tasks += desk.adding("bob", "cleo")
        await eventually(lambda: len(desk.names) == 3)
        assert desk.names == ["ada", "bob", "cleo"]
        desk.traefik.up = True

        assert await outcomes(tasks) == [None, None, None]
        assert len(desk.store.commits) == 3


class TestClose:
    """close() ends all waiting calls."""

    async def test_callers_get_an_error_whatever_they_wait_for(self, desk: Desk) -> None:
        """Both those whose commit is under way and those that wait for the next one get it."""
        first = await desk.holding()
        others = desk.adding("ada", "bob")
        await asyncio.sleep(0)
        await asyncio.wait_for(desk.publisher.close(), 5 * PATIENCE)
        results = await outcomes([first, *others])

        assert [type(error) for error in results] == [StoreError] * 3
        assert "stopped" in str(results[0])

    async def test_callers_that_wait_for_traefik_get_an_error(self, desk: Desk) -> None:
        """Their change is written but not live."""
        desk.traefik.up = False
        tasks = desk.adding("ada")
        await eventually(lambda: len(desk.store.commits) == 2)
        await asyncio.wait_for(desk.publisher.close(), 5 * PATIENCE)

        assert [type(error) for error in await outcomes(tasks)] == [StoreError]

    async def test_a_closed_publisher_refuses_changes(self, desk: Desk) -> None:
        """After close(), which may be called twice, a change fails at once."""
        await desk.publisher.close()
        await desk.publisher.close()
        with pytest.raises(StoreError, match="has been stopped"):
            await desk.add("ada")


class TestMending:
    """Damage to the store, and revisions that Traefik has missed, are repaired and logged once."""

    @pytest_asyncio.fixture(autouse=True)
    async def watching(self, desk: Desk) -> AsyncIterator[None]:
        """Let the watcher run, at a high rate."""
        async with meanwhile(desk.publisher.watch(0.002)):
            yield

    async def test_damage_is_repaired(self, desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
        """The same table is committed again, with one line in the log."""
        await desk.add("ada")
        desk.place.damage = "was deleted"
        await eventually(lambda: len(desk.store.commits) == 3)

        assert [set(snapshot.table) for snapshot in desk.store.commits[1:]] == [set(table_of("ada"))] * 2
        assert desk.publisher.revision == 3
        assert [record.getMessage() for record in caplog.records] == [
            "/memory/dynamic.toml was deleted: writing it again"
        ]

    async def test_a_failed_commit_that_may_have_been_kept_is_undone(
        self, desk: Desk, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The caller gets the error, and soon the store holds the committed table again, under a new revision."""
        await desk.add("ada")
        desk.place.loses_answers = True
        with pytest.raises(CommitFailed, match="the answer got lost"):
            await desk.add("bob")
        desk.place.loses_answers = False
        await eventually(lambda: len(desk.store.commits) == 3)

        assert desk.names == ["ada"]
        ada, again = desk.store.commits[1:]
        assert set(ada.table) == set(again.table) == set(table_of("ada"))
        # 3 was bob's; the watcher may have lost an answer as well.
        assert (ada.revision, again.revision > 3) == (2, True)
        assert caplog.records[0].getMessage() == "/memory/dynamic.toml may hold a change that failed: writing it again"

    async def test_a_commit_that_was_cancelled_is_undone(self, desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
        """Its store may hold it or not: soon it holds the committed table, under a new revision."""
        first = await desk.holding()
        [writer] = [task for task in asyncio.all_tasks() if task.get_name() == "traefik_toml_proxy writer"]
        writer.cancel()
        await asyncio.wait([first, writer])
        desk.store.gate.set()
        await eventually(lambda: len(desk.store.commits) == 2)

        assert isinstance(first.exception(), StoreError)
        assert (desk.store.commits[-1].revision, desk.names) == (3, [])
        assert [record.getMessage() for record in caplog.records] == [
            "/memory/dynamic.toml may hold a change that was interrupted: writing it again"
        ]

    async def test_damage_is_repaired_while_a_caller_waits_for_traefik(self, desk: Desk) -> None:
        """A repair does not wait for a change to be live."""
        desk.traefik.up = False
        tasks = desk.adding("ada")
        await eventually(lambda: len(desk.store.commits) == 2)
        desk.place.damage = "was deleted"
        await eventually(lambda: len(desk.store.commits) == 3)
        desk.traefik.up = True

        assert await outcomes(tasks) == [None]

    async def test_new_damage_is_logged_again(self, desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
        """There is one line for each time."""
        desk.place.damage = "was deleted"
        await eventually(lambda: len(desk.store.commits) == 2)
        asked = desk.traefik.asked
        await eventually(lambda: desk.traefik.asked > asked + 2)
        desk.place.damage = "was emptied"
        await eventually(lambda: len(desk.store.commits) == 3)

        assert len(caplog.records) == 2

    async def test_a_repair_that_fails_is_retried_and_logged_once(
        self, desk: Desk, caplog: pytest.LogCaptureFixture
    ) -> None:
        """On a full disk there is one warning and one error, and the repair once there is space."""
        for _ in range(20):
            desk.store.break_next(FULL)
        desk.place.damage = "was deleted"
        await eventually(lambda: len(desk.store.commits) == 2)

        assert [record.levelname for record in caplog.records] == ["WARNING", "ERROR"]

    async def test_a_revision_that_traefik_missed_is_written_again(
        self, desk: Desk, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A file event may get lost; a new version is a new event."""
        await desk.add("ada")
        desk.traefik.listens = False
        desk.place.damage = "was edited"
        await eventually(lambda: len(desk.store.commits) > 4)
        desk.traefik.listens = True
        await eventually(lambda: desk.traefik.serving == desk.publisher.revision)

        assert any("is not live" in record.getMessage() for record in caplog.records)

    async def test_a_missed_revision_is_written_again_while_a_caller_waits(self, desk: Desk) -> None:
        """A waiting add returns then, not only when its time is over."""
        await desk.add("ada")
        desk.traefik.listens = False
        tasks = desk.adding("bob")
        await eventually(lambda: len(desk.store.commits) > 3, what="written again")
        desk.traefik.listens = True

        assert await outcomes(tasks) == [None]

    async def test_a_traefik_that_is_one_revision_behind_has_missed_nothing(
        self, desk: Desk, caplog: pytest.LogCaptureFixture
    ) -> None:
        """While changes keep coming, Traefik may always be loading the last one."""
        desk.traefik.listens = False
        watcher = RouteWatcher(desk.publisher, desk.store, desk.traefik, logging.getLogger("hub"))
        for _ in range(20):
            desk.traefik.serving = desk.publisher.revision
            await desk.publisher._commit(desk.publisher.table)
            await watcher.look()

        assert len(desk.store.commits) == 21
        assert caplog.records == []

    async def test_rewriting_becomes_less_frequent(self, desk: Desk) -> None:
        """A Traefik that notices no change at all does not cause writes at full rate."""
        await desk.add("ada")
        desk.traefik.listens = False
        await desk.traefik.ask()
        desk.place.damage = "was edited"
        await eventually(lambda: len(desk.store.commits) >= 3)
        await desk.watched(60)

        assert len(desk.store.commits) < 10

    async def test_nothing_is_rewritten_for_a_traefik_that_is_down(self, desk: Desk) -> None:
        """It would not help."""
        await desk.add("ada")
        desk.traefik.up = False
        await desk.watched(20)

        assert len(desk.store.commits) == 2

    async def test_a_healthy_route_table_is_left_alone(self, desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
        """Nothing is written and nothing is logged."""
        await desk.add("ada")
        await desk.watched(20)

        assert len(desk.store.commits) == 2
        assert not caplog.records

    async def test_a_failed_commit_is_not_a_missed_revision(self, desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
        """Traefik is not expected to serve it."""
        desk.store.break_next(FULL)
        with pytest.raises(CommitFailed):
            await desk.add("ada")
        await desk.watched(20)

        assert len(desk.store.commits) == 1
        assert not caplog.records

    async def test_an_unexpected_exception_does_not_end_the_watch(
        self, desk: Desk, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It is logged with its traceback, and the watch goes on."""
        desk.place.failures.append(RuntimeError("a fault of ours"))
        desk.place.damage = "was deleted"
        await eventually(lambda: len(desk.store.commits) == 2)

        assert any(record.exc_info for record in caplog.records)


async def test_a_traefik_that_notices_nothing_is_restarted(desk: Desk) -> None:
    """After it was written again in vain; then the watch goes on."""
    await desk.add("ada")
    await desk.traefik.ask()
    desk.traefik.listens = False
    written: list[int] = []

    async def restart(_: str, __: float) -> None:
        written.append(len(desk.store.commits))
        desk.traefik.listens = True

    async with meanwhile(desk.publisher.watch(0.002, restart)):
        desk.place.damage = "was edited"
        await eventually(lambda: written)
        await eventually(lambda: desk.traefik.serving == desk.publisher.revision)
        await desk.watched(60)

    assert len(written) == 1
    assert written[0] >= 5  # the first table, ada, the repair, and twice for nothing


async def test_a_revision_that_was_seen_live_is_not_asked_for_again(desk: Desk) -> None:
    """wait_live() returns at once."""
    await desk.add("ada")
    asked = desk.traefik.asked
    await desk.add("ada")
    await desk.publisher.wait_live(1)

    assert desk.traefik.asked == asked


class TestMetrics:
    """What goes on is counted."""

    @pytest.fixture
    def registry(self) -> CollectorRegistry:
        """A registry without anything else."""
        return CollectorRegistry()

    @pytest_asyncio.fixture(autouse=True)
    async def counting(self, desk: Desk, registry: CollectorRegistry) -> AsyncIterator[None]:
        """Let the publisher of the desk count; it waits a second for a change."""
        await desk.store.close()
        desk.publisher = desk.another(live_timeout=1 * PATIENCE, metrics=PrometheusMetrics(registry))
        await desk.publisher.open()
        await desk.publisher.begin(RouteTable())
        yield
        await desk.publisher.close()

    async def test_changes_that_share_a_commit(self, desk: Desk, registry: CollectorRegistry) -> None:
        """Each is counted; what changes nothing is not."""
        await outcomes(desk.adding("ada", "bob", "cleo"))
        await desk.add("ada")

        names = ("commits_total", "routes", "batch_changes_count", "batch_changes_sum", "change_live_seconds_count")
        assert values(registry, *names) == [2, 3, 1, 3, 3]

    async def test_a_commit_that_fails(self, desk: Desk, registry: CollectorRegistry) -> None:
        """It is no commit, and its change is in no batch."""
        desk.store.break_next(FULL)
        with pytest.raises(CommitFailed):
            await desk.add("ada")

        names = ("commits_total", "commit_failures_total", "batch_changes_count", "change_live_seconds_count")
        assert values(registry, *names) == [1, 1, 0, 0]

    async def test_a_change_that_takes_a_while(self, desk: Desk, registry: CollectorRegistry) -> None:
        """From the call on."""
        desk.traefik.up = False
        asyncio.get_running_loop().call_later(0.1, setattr, desk.traefik, "up", True)
        await desk.add("ada")

        count, seconds = values(registry, "change_live_seconds_count", "change_live_seconds_sum")
        assert count == 1
        assert 0.09 < (seconds or 0) < 1 * PATIENCE

    async def test_a_change_that_is_not_live_in_time(self, desk: Desk, registry: CollectorRegistry) -> None:
        """Its time is not counted, as it is not known."""
        desk.traefik.up = False
        with pytest.raises(RouteNotLive):
            await desk.add("ada")

        assert values(registry, "changes_not_live_total", "change_live_seconds_count") == [1, 0]

    async def test_repairs(self, desk: Desk, registry: CollectorRegistry) -> None:
        """Of damage, and of what is not live for another reason."""
        desk.place.damage = "was deleted"
        assert await desk.publisher.repair_store()
        assert values(registry, "repairs_total") == [1]
        await desk.publisher.commit_once_more()

        assert values(registry, "repairs_total") == [2]

    async def test_what_is_live_when_a_caller_has_waited_for_it(self, desk: Desk, registry: CollectorRegistry) -> None:
        """Before the watcher looks."""
        await desk.add("ada")

        assert values(registry, "live_revision") == [desk.publisher.revision]

    async def test_what_is_live_when_nobody_waits_for_it(self, desk: Desk, registry: CollectorRegistry) -> None:
        """The watcher tells."""
        assert values(registry, "revision", "live_revision") == [desk.publisher.revision, 0]
        async with meanwhile(desk.publisher.watch(0.002)):
            await eventually(lambda: values(registry, "live_revision") == [desk.publisher.revision])


def values(registry: CollectorRegistry, *names: str) -> list[float | None]:
    """Return the values of samples, or None for those that are not there."""
    return [registry.get_sample_value(f"traefik_toml_proxy_{name}") for name in names]
