"""The proxy repairs its file when somebody else changes it, while a real Traefik watches it."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from support.backend import get
from support.fixtures import BackendMaker, ProxyMaker
from support.waiting import eventually

from traefik_toml_proxy import TraefikTomlProxy
from traefik_toml_proxy import session as module
from traefik_toml_proxy.runtime.probe import EntryPointProbe
from traefik_toml_proxy.stores.toml_document import read_snapshot


def delete(path: Path) -> None:
    path.unlink()


def truncate(path: Path) -> None:
    os.truncate(path, 0)


def write_garbage(path: Path) -> None:
    path.write_bytes(b"this is = not TOML =")


def replace_by_other_routes(path: Path) -> None:
    other = path.with_name("other")
    other.write_text("[http.routers.x]\nrule = 'PathPrefix(`/`)'\nservice = 'noop@internal'\n")
    other.rename(path)


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    path.rmdir()


def open_to_all(path: Path) -> None:
    path.chmod(0o666)


def remove_temporary_folder(path: Path) -> None:
    shutil.rmtree(path.with_name(path.name + ".tmp"))
    path.unlink()


HARM = [
    delete,
    truncate,
    write_garbage,
    replace_by_other_routes,
    replace_by_folder,
    open_to_all,
    remove_temporary_folder,
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file with the routes."""
    return tmp_path / "state" / "dynamic.toml"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the proxy look at its file more often."""
    monkeypatch.setattr(module, "_WATCH_INTERVAL", 0.1)


def is_as_left(path: Path) -> bool:
    """Whether the file holds the route of these tests, and only its owner can read it."""
    try:
        snapshot = read_snapshot(path.read_text())
    except (OSError, ValueError):
        return False
    routes = [route.routespec for route in snapshot.table] if snapshot else []
    return routes == ["/user/ada/"] and path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("harm", HARM)
@pytest.mark.usefixtures("quick")
async def test_it_is_repaired_and_logged_once(
    make_proxy: ProxyMaker,
    make_backend: BackendMaker,
    path: Path,
    harm: Callable[[Path], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Without any call from the Hub, users reach their servers again; the log has one line about it."""
    proxy, ada = make_proxy(), await make_backend("ada")
    await proxy.start()
    await proxy.add_route("/user/ada/", ada.url, {})
    caplog.clear()
    harm(path)
    await eventually(lambda: "writing it again" in caplog.text)
    await eventually(lambda: is_as_left(path))

    async def is_served() -> bool:
        return (await get(proxy.public_url, "/user/ada/")).by == "ada"

    await eventually(is_served)
    # On a busy machine, Traefik may take longer to load the routes than six looks, which are 0.6 s here.
    ours = [record for record in caplog.records if not record.getMessage().startswith(("Traefik: ", "Revision "))]
    assert [record.levelno for record in ours] == [logging.WARNING]
    assert str(path) in ours[0].getMessage()


async def test_it_takes_a_few_seconds_at_most(proxy: TraefikTomlProxy, make_backend: BackendMaker, path: Path) -> None:
    """A file that was emptied in place removes all routes; they are back within seconds."""
    ada = await make_backend("ada")
    await proxy.add_route("/user/ada/", ada.url, {})
    truncate(path)
    # Whether a request sees the damage depends on how soon the proxy next looks at its file.
    assert not is_as_left(path)

    async def is_served() -> bool:
        return (await get(proxy.public_url, "/user/ada/")).by == "ada"

    await eventually(lambda: is_as_left(path), within=4)
    await eventually(is_served, within=1)


@pytest.mark.usefixtures("quick")
async def test_a_change_during_the_damage_is_served(
    make_proxy: ProxyMaker, make_backend: BackendMaker, path: Path
) -> None:
    """An add that comes before the repair repairs the file as well."""
    proxy, ada, bob = make_proxy(), await make_backend("ada"), await make_backend("bob")
    await proxy.start()
    await proxy.add_route("/user/ada/", ada.url, {})
    path.unlink()
    await proxy.add_route("/user/bob/", bob.url, {})

    assert (await get(proxy.public_url, "/user/ada/")).by == "ada"
    assert (await get(proxy.public_url, "/user/bob/")).by == "bob"


@pytest.mark.usefixtures("quick", "proxy")
async def test_nothing_is_written_while_all_is_well(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An intact file is left alone, however often it is looked at."""
    before = path.stat().st_ino
    looks = 0
    really_ask = EntryPointProbe.ask

    async def ask(probe: EntryPointProbe) -> object:
        nonlocal looks
        looks += 1
        return await really_ask(probe)

    monkeypatch.setattr(EntryPointProbe, "ask", ask)
    caplog.clear()
    await eventually(lambda: looks >= 3)

    assert path.stat().st_ino == before
    assert not caplog.records
