"""CertificateWatcher with a fake Traefik: what it does when a new pair cannot be put into service."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from support.certificates import make_certificate
from support.fakes import FakeTraefik, MemoryPlace, MemoryStore
from support.waiting import eventually, meanwhile

from traefik_toml_proxy.publisher import RoutePublisher
from traefik_toml_proxy.routes import RouteTable
from traefik_toml_proxy.runtime import renewal
from traefik_toml_proxy.runtime.certificate import PairFiles, ServedCertificate, admins_pair
from traefik_toml_proxy.runtime.pairs import Pair
from traefik_toml_proxy.runtime.renewal import CertificateWatcher
from traefik_toml_proxy.seams import Answer


class Watched:
    """A watcher that runs, and all around it."""

    def __init__(self, folder: Path) -> None:
        self.made = make_certificate(folder, "hub")
        self.files = PairFiles(self.made.cert, self.made.key)
        self.first = admins_pair(self.files)
        self.served = ServedCertificate(folder / "copies")
        self.served.use(self.first)
        self.place = MemoryPlace()
        self.store = MemoryStore(self.place)
        self.traefik = FakeTraefik(self.place)
        self.publisher = RoutePublisher(
            self.store, self.traefik, live_timeout=1, check_route=bool, log=logging.getLogger("hub")
        )
        # What a new handshake gives, unless it is what Traefik serves.
        self.refusal: Answer | None = None
        self.watcher = CertificateWatcher(
            self.files, self.served, self.publisher, self.ask_anew, live_timeout=0.1, log=logging.getLogger("hub")
        )

    async def ask_anew(self) -> Answer:
        return self.refusal or await self.traefik.ask()

    async def given(self) -> Pair:
        """Return the pair that is in the admin's files now."""
        return await asyncio.to_thread(admins_pair, self.files)

    async def write(self) -> None:
        """Write the copies, as the store does in its thread."""
        await asyncio.to_thread(self.served.files.write)

    def renew(self) -> None:
        """Replace the admin's files."""
        make_certificate(self.made.cert.parent, "hub")


@pytest_asyncio.fixture
async def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Watched]:
    """A watcher of a certificate that is live."""
    monkeypatch.setattr(renewal, "_INTERVAL", 0.01)
    watched = await asyncio.to_thread(Watched, tmp_path)
    await watched.publisher.begin(await watched.publisher.open())
    async with meanwhile(watched.watcher.run()):
        yield watched
    await watched.publisher.close()


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "hub"]


async def test_a_new_pair_is_committed_with_the_same_routes(watched: Watched) -> None:
    """Under a new revision."""
    watched.renew()
    await eventually(lambda: watched.publisher.revision == 2)

    assert watched.served.pair == await watched.given() != watched.first
    assert [(commit.revision, len(commit.table)) for commit in watched.store.commits] == [(1, 0), (2, 0)]


async def test_a_pair_that_traefik_cannot_use_is_taken_back(
    watched: Watched, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said once, and tried again later: it may be for another reason."""
    monkeypatch.setattr(renewal, "_RETRY", 0.1)
    watched.refusal = Answer(None, answered=True, description="https://fake refuses new TLS connections")
    watched.renew()
    await eventually(lambda: watched.publisher.revision >= 7)  # three times

    (complaint,) = said(caplog)
    assert "does not work with Traefik: https://fake refuses new TLS connections. The last certificate" in complaint

    watched.refusal = None
    new = await watched.given()
    await eventually(lambda: watched.served.pair == new)
    assert new != watched.first


async def test_a_traefik_that_is_down_is_no_reason_to_take_a_pair_back(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    """It reads the new pair when it is up again; until then the copies of the old one stay."""
    await eventually(lambda: watched.traefik.asked > 0)
    await watched.write()
    watched.traefik.up = False
    watched.renew()
    await eventually(lambda: watched.served.pair != watched.first)
    await watched.write()
    copies = watched.served.files.folder
    await eventually(lambda: "not live yet" in " ".join(said(caplog)))

    assert len(list(copies.iterdir())) == 4

    watched.traefik.up = True
    await eventually(lambda: len(list(copies.iterdir())) == 2)
    assert watched.served.pair == await watched.given()


async def test_a_pair_that_cannot_be_written_is_tried_again(
    watched: Watched, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until then the last one is named, so changes of routes are not held up."""
    monkeypatch.setattr(renewal, "_RETRY", 0.1)
    caplog.set_level(logging.INFO, "hub")
    watched.store.break_next(OSError(errno.ENOSPC, "No space left on device"))
    watched.renew()
    await eventually(lambda: said(caplog))

    assert "could not be put into service: The routes could not be written" in said(caplog)[0]
    assert watched.served.pair == watched.first

    await eventually(lambda: len(said(caplog)) == 2)
    assert "is in service" in said(caplog)[1]
    assert watched.served.pair != watched.first


async def test_a_pair_that_could_not_be_taken_back_is_tried_again(
    watched: Watched, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the disk becomes full in between."""
    monkeypatch.setattr(renewal, "_RETRY", 0.1)
    caplog.set_level(logging.INFO, "hub")

    refusals = 0

    async def refuse_once() -> Answer:
        nonlocal refusals
        if refusals or watched.publisher.revision == 1:
            return await watched.ask_anew()
        refusals += 1
        watched.store.break_next(OSError(errno.ENOSPC, "No space left on device"))
        return Answer(None, answered=True, description="https://fake refuses new TLS connections")

    monkeypatch.setattr(watched.watcher, "_ask_anew", refuse_once)
    watched.renew()
    await eventually(lambda: any("failed unexpectedly" in line for line in said(caplog)))
    new = await watched.given()
    await eventually(lambda: watched.served.pair == new)
    await eventually(lambda: any("is in service" in line for line in said(caplog)))


async def test_copies_that_cannot_be_removed_now_are_removed_later(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    """Their folder cannot be read for a while: that is no error of ours, and the keys in it are not forgotten."""
    asked = 0

    async def ask_anew() -> Answer:
        nonlocal asked
        asked += 1
        return await watched.traefik.ask()

    watched.refusal = Answer(None, answered=False, description="not yet")
    await watched.write()
    folder = watched.served.files.folder
    old = folder / f"{'0' * 32}-key.pem"
    old.touch()
    folder.rename(folder.with_name("aside"))
    folder.touch()
    watched.watcher._ask_anew = ask_anew
    watched.watcher._others_left = True
    await eventually(lambda: asked > 3)
    folder.unlink()
    folder.with_name("aside").rename(folder)
    await eventually(lambda: not old.exists())

    assert said(caplog) == []
    assert {file.name for file in folder.iterdir()} == {
        f"{watched.first.digest}-{kind}.pem" for kind in ("cert", "key")
    }


async def test_an_error_of_ours_does_not_end_the_watching(
    watched: Watched, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is logged with its traceback."""
    monkeypatch.setattr(watched.watcher, "_ask_anew", None)
    watched.renew()
    await eventually(lambda: any("failed unexpectedly" in line for line in said(caplog)))
    monkeypatch.undo()
    monkeypatch.setattr(renewal, "_INTERVAL", 0.01)
    watched.renew()
    new = await watched.given()
    await eventually(lambda: watched.served.pair == new)


async def test_a_date_is_warned_of_once_a_day(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here a day takes a tenth of a second."""
    monkeypatch.setattr(renewal, "_INTERVAL", 0.001)
    watched = await asyncio.to_thread(Watched, tmp_path)
    make_certificate(tmp_path, "hub", days=0.5)
    watched.served.use(await watched.given())
    await watched.publisher.begin(RouteTable(await watched.publisher.open()))
    async with meanwhile(watched.watcher.run()):
        await eventually(lambda: said(caplog))
        looks = watched.traefik.asked
        monkeypatch.setattr(watched.watcher, "_others_left", True)
        await eventually(lambda: watched.traefik.asked > looks)
        assert len(said(caplog)) == 1
        monkeypatch.setattr(watched.watcher, "_warn_at", 0.0)
        await eventually(lambda: len(said(caplog)) == 2)
    await watched.publisher.close()

    assert f"was read from {watched.made.cert} expires at " in said(caplog)[1]
