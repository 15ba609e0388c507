"""RoutePublisher: batches, failures, cancellation, mending; with a store and a probe that do what they are told."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from support.fakes import ADVICE, FakeTraefik, MemoryPlace, MemoryStore
from support.store_contract import table_of
from support.waiting import eventually, meanwhile

from traefik_toml_proxy import publisher
from traefik_toml_proxy.errors import CommitFailed, InvalidRoute, RouteNotLive, StoreError
from traefik_toml_proxy.publisher import RoutePublisher
from traefik_toml_proxy.routes import Route, RouteTable

FULL = OSError(errno.ENOSPC, "No space left on device")


class Desk:
    """A publisher with its store and its Traefik; begun, with an empty table at revision 1."""

    def __init__(self) -> None:
        self.place = MemoryPlace()
        self.store = MemoryStore(self.place)
        self.traefik = FakeTraefik(self.place)
        self.unservable: set[str] = set()
        self.publisher = self.another(live_timeout=30)

    def another(self, *, live_timeout: float) -> RoutePublisher:
        """Return a publisher with the same store and Traefik."""
        log = logging.getLogger("hub")
        return RoutePublisher(
            self.store, self.traefik, live_timeout=live_timeout, check_route=self.check_route, log=log
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
        """Begin to add; they are in the order in which they were asked for."""
        return [asyncio.create_task(self.add(name)) for name in names]

    async def holding(self) -> asyncio.Task[None]:
        """Begin to add ``/user/first/``, and have it held in the store."""
        self.store.gate.clear()
        first = asyncio.create_task(self.add("first"))
        await eventually(lambda: self.store.begun > len(self.store.commits))
        return first

    @property
    def names(self) -> list[str]:
        """The user names in the table, in order."""
        return sorted(route.data["user"] for route in self.publisher.table)


@pytest_asyncio.fixture
async def desk() -> AsyncIterator[Desk]:
    """A publisher that has begun, closed at the end."""
    desk = Desk()
    await desk.publisher.open()
    await desk.publisher.begin(RouteTable())
    yield desk
    desk.store.gate.set()
    await desk.publisher.close()


async def outcomes(tasks: list[asyncio.Task[Any]]) -> list[Any]:
    """Return what each task returned or raised."""
    return await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)


class TestBatches:
    """Changes are batched: one writer, one commit for all that came in meanwhile."""

    async def test_a_change_goes_out_at_once_when_nothing_waits(self, desk: Desk) -> None:
        """An idle publisher writes a change without waiting for others to come."""
        await desk.add("ada")
        await desk.add("bob")

        assert [len(snapshot.table) for snapshot in desk.store.commits] == [0, 1, 2]

    async def test_all_that_came_in_meanwhile_share_one_commit(self, desk: Desk) -> None:
        """However many adds arrive during a commit, they cost one more."""
        first = await desk.holding()
        others = desk.adding(*(f"user{number}" for number in range(1000)))
        await asyncio.sleep(0)
        desk.store.gate.set()
        await outcomes([first, *others])

        assert [len(snapshot.table) for snapshot in desk.store.commits] == [0, 1, 1001]

    async def test_what_comes_while_a_commit_is_not_yet_live_waits_for_the_next(self, desk: Desk) -> None:
        """The next commit waits until Traefik serves the one before: each reload costs it time."""
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
        """Each commit has the next revision."""
        await desk.add("ada")
        await desk.delete("ada")

        assert [snapshot.revision for snapshot in desk.store.commits] == [1, 2, 3]

    async def test_adding_the_same_again_writes_nothing(self, desk: Desk) -> None:
        """The Hub re-adds its extra routes at each check, which costs no reload."""
        await desk.add("ada")
        await desk.add("ada")

        assert len(desk.store.commits) == 2

    async def test_deleting_what_is_not_there_writes_nothing(self, desk: Desk) -> None:
        """There is nothing to write, and the caller is told that there was no such route."""
        assert await desk.delete("ada") is False
        assert len(desk.store.commits) == 1

    async def test_another_target_or_other_data_is_a_change(self, desk: Desk) -> None:
        """A route is the same only if its target and its data are."""
        await desk.add("ada", port=1)
        await desk.add("ada", port=2)
        await desk.add("ada", port=2, data={"user": "ada", "server_name": "x"})

        assert len(desk.store.commits) == 4

    async def test_added_and_deleted_in_one_batch_is_never_written(self, desk: Desk) -> None:
        """What is gone before it was written costs nothing; both callers get what they asked for."""
        first = await desk.holding()
        add = asyncio.create_task(desk.add("ada"))
        delete = asyncio.create_task(desk.delete("ada"))
        await asyncio.sleep(0)
        desk.store.gate.set()

        assert await outcomes([first, add, delete]) == [None, None, True]
        assert len(desk.store.commits) == 2

    async def test_deleted_and_added_in_one_batch_is_the_new_one(self, desk: Desk) -> None:
        """Within a batch, changes take effect in the order in which they were asked for."""
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
        """Two callers with the same routespec get one route: that of the later one."""
        first = await desk.holding()
        adds = [asyncio.create_task(desk.add("ada", port=port)) for port in (1, 2, 3)]
        await asyncio.sleep(0)
        desk.store.gate.set()

        assert await outcomes([first, *adds]) == [None, None, None, None]
        route = desk.publisher.table.get("/user/ada/")
        assert route is not None
        assert route.target == "http://127.0.0.1:3"

    async def test_a_second_spelling_of_a_place_is_refused_alone(self, desk: Desk) -> None:
        """Two spellings of a place in one batch: the first gets it, the second is told, others do not notice."""
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
        """Others in the batch of an invalid route do not notice."""
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
        """A mistake in one caller's code is not everybody's."""
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
        """A batch in which nothing is left costs no commit."""
        with pytest.raises(InvalidRoute):
            await desk.add("..")

        assert len(desk.store.commits) == 1

    async def test_the_loop_is_free_while_thousands_are_added(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Others run in between, whenever they have waited for too long; here any time is too long."""
        monkeypatch.setattr(publisher, "_LONGEST_TURN", 0.0)
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

        # A turn for each that is checked, and for each that is told; a handful without pauses.
        assert turns >= 2 * 3000


class TestFailedCommits:
    """A failed write fails exactly the calls that asked for it; the table moves only after its store."""

    async def test_the_table_stays_as_it_was(self, desk: Desk) -> None:
        """Memory never runs ahead of what is written."""
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

    async def test_exactly_those_who_wanted_a_change_are_told(self, desk: Desk) -> None:
        """In the batch that fails, who asked for what is so already has succeeded."""
        await desk.add("ada")
        await desk.add("bob")
        desk.store.break_next(FULL)
        same = asyncio.create_task(desk.add("ada"))
        moved = asyncio.create_task(desk.add("bob", port=9))
        new = asyncio.create_task(desk.add("cleo"))
        gone = asyncio.create_task(desk.delete("ada2"))
        wanted = asyncio.create_task(desk.delete("bob"))
        told = await outcomes([same, moved, new, gone, wanted])

        assert [type(outcome) for outcome in told] == [type(None), CommitFailed, CommitFailed, bool, CommitFailed]
        assert desk.names == ["ada", "bob"]

    async def test_the_next_change_works(self, desk: Desk) -> None:
        """One failure is not the next: the same add succeeds once there is space."""
        desk.store.break_next(FULL)
        with pytest.raises(CommitFailed):
            await desk.add("ada")
        await desk.add("ada")

        assert desk.names == ["ada"]

    async def test_a_revision_is_never_used_twice(self, desk: Desk) -> None:
        """A commit that failed half-way may have been seen: its revision is spent."""
        desk.store.break_next(FULL)
        with pytest.raises(CommitFailed):
            await desk.add("ada")
        await desk.add("ada")

        assert [snapshot.revision for snapshot in desk.store.commits] == [1, 3]

    async def test_a_first_commit_that_fails_is_an_error_of_start(self) -> None:
        """What cannot be written at all is told at once."""
        desk = Desk()
        await desk.publisher.open()
        desk.store.break_next(FULL)
        with pytest.raises(CommitFailed, match="No space left on device"):
            await desk.publisher.begin(RouteTable())

    async def test_a_fault_of_ours_reaches_the_callers_and_ends_nothing(
        self, desk: Desk, caplog: pytest.LogCaptureFixture
    ) -> None:
        """An unexpected exception in a commit is logged whole, told to the callers, and the next change works."""
        desk.place.failures.append(RuntimeError("a fault of ours"))
        with pytest.raises(RuntimeError, match="a fault of ours"):
            await desk.add("ada")
        await desk.add("bob")

        assert desk.names == ["bob"]
        assert [record.exc_info is not None for record in caplog.records] == [True]


class TestCancelledCallers:
    """A cancelled caller does not cancel the shared write, and nobody else notices."""

    async def test_others_in_the_batch_do_not_notice(self, desk: Desk) -> None:
        """The commit that a cancelled caller shares is made for all."""
        first = await desk.holding()
        one, two, three = desk.adding("ada", "bob", "cleo")
        await asyncio.sleep(0)
        two.cancel()
        desk.store.gate.set()
        await outcomes([first, one, three])

        assert two.cancelled()
        assert desk.names == ["ada", "bob", "cleo", "first"]

    async def test_the_one_that_began_the_write_may_go(self, desk: Desk) -> None:
        """The caller for whom a commit was begun is no more its owner than the others."""
        first = await desk.holding()
        (other,) = desk.adding("ada")
        first.cancel()
        await asyncio.wait([first])
        desk.store.gate.set()

        assert await outcomes([other]) == [None]
        assert desk.names == ["ada", "first"]

    async def test_a_caller_that_goes_while_it_is_not_live_leaves_the_route(self, desk: Desk) -> None:
        """What is written stays written, and the publisher goes on."""
        desk.traefik.up = False
        (first,) = desk.adding("ada")
        await eventually(lambda: len(desk.store.commits) == 2)
        first.cancel()
        await asyncio.wait([first])
        desk.traefik.up = True
        await desk.add("bob")

        assert desk.names == ["ada", "bob"]

    async def test_all_callers_may_go(self, desk: Desk) -> None:
        """When nobody waits any more, the write is finished all the same."""
        first = await desk.holding()
        others = desk.adding("ada", "bob")
        await asyncio.sleep(0)
        for task in (first, *others):
            task.cancel()
        await outcomes([first, *others])
        desk.store.gate.set()
        await eventually(lambda: len(desk.store.commits) == 3)

        assert desk.names == ["ada", "bob", "first"]

    async def test_a_writer_that_was_cancelled_has_a_successor(self, desk: Desk) -> None:
        """Somebody has cancelled all tasks: who waits is told, and the next change is made."""
        first = await desk.holding()
        assert desk.publisher._writer is not None
        desk.publisher._writer.cancel()
        desk.store.gate.set()

        with pytest.raises(StoreError):
            await first
        await desk.add("next")

        assert "next" in desk.names

    async def test_a_caller_that_went_before_a_failure_is_no_problem(self, desk: Desk) -> None:
        """A failure that nobody waits for is nobody's exception."""
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
        """The caller is told which revision, file, URL and answer; the route is written, so it stays."""
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

    async def test_everybody_in_the_batch_is_told(self, desk: Desk) -> None:
        """None of those who share the commit is told that it is live."""
        desk.traefik.up = False
        publisher = await desk.impatient(RouteTable())
        adds = [publisher.add(f"/user/{name}/", "http://127.0.0.1:1", {}) for name in "abc"]
        told = await asyncio.gather(*adds, return_exceptions=True)

        assert [type(error) for error in told] == [RouteNotLive] * 3
        await publisher.close()

    async def test_the_next_change_works_when_traefik_is_back(self, desk: Desk) -> None:
        """A time without Traefik is over when it is over."""
        desk.traefik.up = False
        publisher = await desk.impatient(RouteTable())
        with pytest.raises(RouteNotLive):
            await publisher.add("/user/ada/", "http://127.0.0.1:1", {})
        desk.traefik.up = True
        await publisher.add("/user/bob/", "http://127.0.0.1:1", {})
        await publisher.close()

        assert len(publisher.table) == 2

    async def test_adding_again_what_was_not_live_waits_again(self, desk: Desk) -> None:
        """An add that changes nothing still does not return before its route is live."""
        desk.traefik.up = False
        publisher = await desk.impatient(RouteTable())
        for _ in range(2):
            with pytest.raises(RouteNotLive):
                await publisher.add("/user/ada/", "http://127.0.0.1:1", {})
        await publisher.close()

        assert len(desk.store.commits) == 3


class TestClose:
    """close() while callers wait: all are told, nothing hangs."""

    async def test_callers_are_told_whatever_they_wait_for(self, desk: Desk) -> None:
        """Who waits for a commit and who waits for its turn both get an error."""
        first = await desk.holding()
        others = desk.adding("ada", "bob")
        await asyncio.sleep(0)
        await asyncio.wait_for(desk.publisher.close(), 5)
        told = await outcomes([first, *others])

        assert [type(error) for error in told] == [StoreError] * 3
        assert "stopped" in str(told[0])

    async def test_callers_that_wait_for_traefik_are_told(self, desk: Desk) -> None:
        """Who waits for a written change to be live gets an error."""
        desk.traefik.up = False
        tasks = desk.adding("ada")
        await eventually(lambda: len(desk.store.commits) == 2)
        await asyncio.wait_for(desk.publisher.close(), 5)

        assert [type(error) for error in await outcomes(tasks)] == [StoreError]

    async def test_a_closed_publisher_takes_no_changes(self, desk: Desk) -> None:
        """After close, which may be called twice, a change is refused at once."""
        await desk.publisher.close()
        await desk.publisher.close()
        with pytest.raises(StoreError, match="has been stopped"):
            await desk.add("ada")


class TestMending:
    """It mends itself, and says so once."""

    @pytest_asyncio.fixture(autouse=True)
    async def watching(self, desk: Desk) -> AsyncIterator[None]:
        """The watcher is on, and in a hurry."""
        async with meanwhile(desk.publisher.watch(0.002)):
            yield

    async def test_damage_is_put_right(self, desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
        """What somebody else did is undone by a new commit of the same table, with one line in the log."""
        await desk.add("ada")
        desk.place.damage = "was deleted"
        await eventually(lambda: len(desk.store.commits) == 3)

        assert [set(snapshot.table) for snapshot in desk.store.commits[1:]] == [set(table_of("ada"))] * 2
        assert desk.publisher.revision == 3
        assert [record.getMessage() for record in caplog.records] == [
            "/memory/dynamic.toml was deleted: writing it again"
        ]

    async def test_damage_is_put_right_while_a_caller_waits_for_traefik(self, desk: Desk) -> None:
        """Somebody waiting for a change to be live does not keep the store from being mended."""
        desk.traefik.up = False
        tasks = desk.adding("ada")
        await eventually(lambda: len(desk.store.commits) == 2)
        desk.place.damage = "was deleted"
        await eventually(lambda: len(desk.store.commits) == 3)
        desk.traefik.up = True

        assert await outcomes(tasks) == [None]

    async def test_new_damage_is_told_anew(self, desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
        """Each time somebody does something, there is one line."""
        desk.place.damage = "was deleted"
        await eventually(lambda: len(desk.store.commits) == 2)
        asked = desk.traefik.asked
        await eventually(lambda: desk.traefik.asked > asked + 2)
        desk.place.damage = "was emptied"
        await eventually(lambda: len(desk.store.commits) == 3)

        assert len(caplog.records) == 2

    async def test_what_cannot_be_put_right_is_tried_again_and_told_once(
        self, desk: Desk, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A full disk while mending: one warning, one error, and it is mended when there is space."""
        for _ in range(20):
            desk.store.break_next(FULL)
        desk.place.damage = "was deleted"
        await eventually(lambda: len(desk.store.commits) == 2)

        assert [record.levelname for record in caplog.records] == ["WARNING", "ERROR"]

    async def test_a_traefik_that_was_not_told_is_told_again(
        self, desk: Desk, caplog: pytest.LogCaptureFixture
    ) -> None:
        """When Traefik has missed a version (a lost event), a new one is written."""
        await desk.add("ada")
        desk.traefik.listens = False
        desk.place.damage = "was edited"
        await eventually(lambda: len(desk.store.commits) > 4)
        desk.traefik.listens = True
        await eventually(lambda: desk.traefik.serving == desk.publisher.revision)

        assert any("is not live" in record.getMessage() for record in caplog.records)

    async def test_a_traefik_that_was_not_told_is_told_again_while_a_caller_waits(self, desk: Desk) -> None:
        """A lost event does not cost a waiting add its whole time: it is live as soon as Traefik is told again."""
        await desk.add("ada")
        desk.traefik.listens = False
        tasks = desk.adding("bob")
        await eventually(lambda: len(desk.store.commits) > 3, what="written again")
        desk.traefik.listens = True

        assert await outcomes(tasks) == [None]

    async def test_changes_that_follow_each_other_are_on_their_way_and_not_missed(
        self, desk: Desk, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A Traefik that is always one revision behind, while changes go on, is busy and not deaf."""
        desk.traefik.listens = False
        missed = 0
        for _ in range(20):
            desk.traefik.serving = desk.publisher.revision
            await desk.publisher._commit(desk.publisher.table)
            missed = await desk.publisher._count_missed(missed, patience=3)

        assert missed == 1
        assert caplog.records == []

    async def test_it_is_told_again_ever_less_often(self, desk: Desk) -> None:
        """A Traefik that does not listen at all does not make us write for ever at full speed."""
        await desk.add("ada")
        desk.traefik.listens = False
        await desk.traefik.ask()
        desk.place.damage = "was edited"
        await eventually(lambda: len(desk.store.commits) >= 3)
        asked = desk.traefik.asked
        await eventually(lambda: desk.traefik.asked > asked + 60)

        assert len(desk.store.commits) < 10

    async def test_a_traefik_that_is_down_is_left_to_others(self, desk: Desk) -> None:
        """Writing again does not help a Traefik that does not answer."""
        await desk.add("ada")
        desk.traefik.up = False
        asked = desk.traefik.asked
        await eventually(lambda: desk.traefik.asked > asked + 20)

        assert len(desk.store.commits) == 2

    async def test_a_healthy_route_table_is_left_alone(self, desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
        """Nothing is written and nothing is said while all is well."""
        await desk.add("ada")
        asked = desk.traefik.asked
        await eventually(lambda: desk.traefik.asked > asked + 20)

        assert len(desk.store.commits) == 2
        assert not caplog.records

    async def test_a_failed_change_is_not_a_missed_one(self, desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
        """The revision of a commit that failed is not expected of Traefik."""
        desk.store.break_next(FULL)
        with pytest.raises(CommitFailed):
            await desk.add("ada")
        asked = desk.traefik.asked
        await eventually(lambda: desk.traefik.asked > asked + 20)

        assert len(desk.store.commits) == 1
        assert not caplog.records

    async def test_a_fault_of_ours_does_not_end_the_watch(self, desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
        """After an unexpected exception, which is logged whole, it goes on looking."""
        desk.place.failures.append(RuntimeError("a fault of ours"))
        desk.place.damage = "was deleted"
        await eventually(lambda: len(desk.store.commits) == 2)

        assert any(record.exc_info for record in caplog.records)


async def test_waiting_for_what_is_live_already_asks_nobody(desk: Desk) -> None:
    """Once a revision has been seen live, nobody is asked for it again."""
    await desk.add("ada")
    asked = desk.traefik.asked
    await desk.add("ada")
    await desk.publisher.wait_live(1)

    assert desk.traefik.asked == asked
