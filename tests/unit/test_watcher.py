"""traefik_toml_proxy.watcher: what is not well is logged once, and once more when it is; tests of mending are elsewhere."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio
from support.fakes import FakeTraefik, MemoryPlace, MemoryStore
from support.store_contract import table_of
from support.waiting import eventually, meanwhile

from traefik_toml_proxy import watcher as module
from traefik_toml_proxy.publisher import RoutePublisher


class Scene:
    """A publisher that is watched, its store and its Traefik.

    Attributes:
        restarts: The causes for which Traefik was restarted.
        served: When that was, and for how many seconds it had served the same revision then.
    """

    def __init__(self) -> None:
        place = MemoryPlace()
        self.store, self.traefik = MemoryStore(place), FakeTraefik(place)
        self.restarts: list[str] = []
        self.served: list[tuple[float, float]] = []
        log = logging.getLogger("hub")
        self.publisher = RoutePublisher(self.store, self.traefik, live_timeout=30, check_route=lambda _: None, log=log)

    async def restart(self, cause: str, served: float) -> None:
        """Restart Traefik."""
        self.restarts.append(cause)
        self.served.append((asyncio.get_running_loop().time(), served))
        self.traefik.listens = True

    async def looked(self, times: int = 10) -> None:
        """Wait until Traefik has been asked that often."""
        asked = self.traefik.asked
        await eventually(lambda: self.traefik.asked >= asked + times)


@pytest_asyncio.fixture
async def scene(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Scene]:
    """One route is live, and nothing is wrong."""
    monkeypatch.setattr(module, "_MOMENT", 0.02)
    caplog.set_level(logging.INFO, "hub")
    scene = Scene()
    await scene.publisher.open()
    await scene.publisher.begin(table_of("ada"))
    yield scene
    await scene.publisher.close()


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Return what was logged."""
    return lambda: [f"{record.levelname} {record.getMessage()}" for record in caplog.records]


async def test_a_traefik_that_does_not_answer_for_long(scene: Scene, lines: Callable[[], list[str]]) -> None:
    """One line when it is sure, and one when it answers again."""
    async with meanwhile(scene.publisher.watch(0.002)):
        for _ in range(2):
            scene.traefik.up = False
            await scene.looked(20)
            scene.traefik.up = True
            await scene.looked()

    assert (
        lines()
        == [
            "WARNING The routes in /memory/dynamic.toml are not served: no answer from http://fake:1: refused",
            "INFO Revision 1 of the routes in /memory/dynamic.toml is live",
        ]
        * 2
    )


async def test_damage_and_its_end(scene: Scene, lines: Callable[[], list[str]]) -> None:
    """One line for each."""
    async with meanwhile(scene.publisher.watch(0.002)):
        scene.store.place.damage = "was deleted"
        await eventually(lambda: len(lines()) == 2)
        await scene.looked()

    assert lines() == [
        "WARNING /memory/dynamic.toml was deleted: writing it again",
        "INFO /memory/dynamic.toml is as it should be again",
    ]


async def test_a_revision_that_was_missed_while_the_disk_is_full(scene: Scene, lines: Callable[[], list[str]]) -> None:
    """There is one line for each of the two, however often it is tried; and nothing is well before it is."""
    async with meanwhile(scene.publisher.watch(0.002)):
        await scene.looked(1)
        scene.traefik.listens = False
        await scene.publisher.commit_once_more()
        for _ in range(3):
            scene.store.break_next(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
        await eventually(lambda: not scene.store.place.failures)
        await scene.looked()
        before = [line.split()[0] for line in lines()]
        scene.traefik.listens = True
        await eventually(lambda: len(lines()) == 3)

    assert before == ["WARNING", "ERROR"]
    assert lines()[-1].startswith("INFO Revision")


async def test_a_traefik_that_stays_in_the_old_place_is_restarted(scene: Scene) -> None:
    """Soon, and the cause is said."""
    async with meanwhile(scene.publisher.watch(0.002, scene.restart)):
        await scene.looked(1)
        scene.traefik.listens = False
        await scene.publisher.commit_once_more()
        scene.store.moves += 1
        await eventually(lambda: scene.restarts)
        await scene.looked()

    assert len(scene.restarts) == 1
    assert "the folder of /memory/dynamic.toml was replaced" in scene.restarts[0]


async def test_a_new_place_that_cannot_be_written_to_yet(scene: Scene) -> None:
    """Whether Traefik follows is seen when the routes are there: until then, it serves the last ones all the same."""
    for _ in range(3):
        scene.store.break_next(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    async with meanwhile(scene.publisher.watch(0.002, scene.restart)):
        await scene.looked(1)
        scene.traefik.listens = False
        scene.store.moves += 1
        scene.store.place.damage = "was deleted"
        await eventually(lambda: scene.restarts)
        await scene.looked()

    assert len(scene.restarts) == 1
    assert "the folder of /memory/dynamic.toml was replaced" in scene.restarts[0]


@pytest.mark.parametrize("loaded", [False, True])
async def test_whoever_restarts_traefik_is_told_for_how_long_it_has_served_the_same(scene: Scene, loaded: bool) -> None:
    """What it could not load before that does not count, also if no look has found that revision before."""
    loop = asyncio.get_running_loop()
    async with meanwhile(scene.publisher.watch(0.2, scene.restart)):
        await scene.looked(1)
        found = loop.time()
        if loaded:
            await scene.publisher.add("/user/bob/", "http://127.0.0.1:1", {})
        scene.traefik.listens = False
        await scene.publisher.commit_once_more()
        scene.store.moves += 1
        await eventually(lambda: scene.restarts)

    [(restarted, served)] = scene.served
    assert (served < restarted - found) is loaded


async def test_a_traefik_that_follows_is_left_alone(scene: Scene, lines: Callable[[], list[str]]) -> None:
    """As one that was restarted meanwhile; so is one that does not answer, or that something else answers for."""
    async with meanwhile(scene.publisher.watch(0.002, scene.restart)):
        await scene.looked(1)
        scene.store.moves += 1
        await scene.looked()
        scene.traefik.refuses = True
        scene.store.moves += 1
        await scene.looked(3)
        scene.traefik.up = False
        scene.store.moves += 1
        await scene.looked(3)

    assert scene.restarts == []
    assert not any("folder" in line for line in lines())


async def test_a_traefik_of_others_is_to_be_restarted(scene: Scene, lines: Callable[[], list[str]]) -> None:
    """The log says so once."""
    async with meanwhile(scene.publisher.watch(0.002)):
        await scene.looked(1)
        scene.traefik.listens = False
        await scene.publisher.commit_once_more()
        scene.store.moves += 1
        await eventually(lambda: any("Restart Traefik" in line for line in lines()))
        await scene.looked(20)
        scene.traefik.listens = True
        await eventually(lambda: lines()[-1].endswith("is live"))

    assert sum(line.startswith(("WARNING", "ERROR")) for line in lines()) == 1


async def test_a_bug_does_not_end_it(
    scene: Scene, lines: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is logged once, and the next look comes."""
    async with meanwhile(scene.publisher.watch(0.002)):
        with monkeypatch.context() as patch:
            patch.delattr(MemoryStore, "damage")
            await eventually(lambda: len(lines()) == 1)
            asked = scene.traefik.asked
        await scene.looked()

    assert scene.traefik.asked > asked
    assert lines() == [
        "ERROR Checking the routes failed unexpectedly; will retry",
        "INFO Checking the routes works again",
    ]
