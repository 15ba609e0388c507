"""The folder that Traefik watches is deleted, emptied or replaced; Traefik is restarted with an older file."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import pytest_asyncio
from support.backend import Backend, get
from support.fixtures import BackendMaker, ProxyMaker
from support.inside import live_revision, traefik_pid
from support.traefik import ForeignTraefik
from support.waiting import PATIENCE, eventually

from traefik_toml_proxy import TraefikTomlProxy
from traefik_toml_proxy import session as session_module
from traefik_toml_proxy.runtime import session as runtime

# Much sooner than a standstill is noticed.
_SOON = 10.0


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look more often."""
    monkeypatch.setattr(session_module, "_WATCH_INTERVAL", 0.2)
    monkeypatch.setattr(runtime, "_FILES_INTERVAL", 0.2)


@pytest_asyncio.fixture
async def ada(make_backend: BackendMaker) -> Backend:
    """A user's server."""
    return await make_backend("ada")


# Each of these is one or two system calls, as far as the Hub can see: it looks often here, and may write into the folder in
# the middle of it.


def delete(folder: Path) -> None:
    shutil.rmtree(folder.rename(folder.with_name("deleted")))


def move_away(folder: Path) -> None:
    folder.rename(folder.with_name("moved"))


def replace_by_a_copy(folder: Path) -> None:
    copy = folder.with_name("copy")
    shutil.copytree(folder, copy)
    copy.chmod(0o700)
    _replace(folder, copy)


def delete_and_make_again(folder: Path) -> None:
    empty = folder.with_name("empty")
    empty.mkdir(mode=0o700)
    shutil.rmtree(_replace(folder, empty))


def _replace(folder: Path, by: Path) -> Path:
    """Put another folder in its place; return where it is now."""
    moved = folder.rename(folder.with_name("moved"))
    by.rename(folder)
    return moved


async def is_served(proxy: TraefikTomlProxy, path: str, name: str) -> bool:
    """Whether that server answers."""
    try:
        return (await get(proxy.public_url, path)).by == name
    except OSError:  # Traefik is being replaced
        return False


@pytest.mark.parametrize("harm", [delete, move_away, replace_by_a_copy, delete_and_make_again])
@pytest.mark.usefixtures("quick")
async def test_traefik_is_restarted_in_the_new_folder(
    make_proxy: ProxyMaker, ada: Backend, tmp_path: Path, harm: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    """Within seconds, with all routes. The log says why, once; and all files that the next start needs are there."""
    caplog.set_level(logging.INFO, "hub")
    proxy, folder = make_proxy(), tmp_path / "state"
    await proxy.start()
    await proxy.add_route("/user/ada/", ada.url, {})
    old = traefik_pid(proxy)
    harm(folder)
    await eventually(lambda: "replacing it" in caplog.text, within=_SOON)
    await eventually(lambda: is_served(proxy, "/user/ada/", "ada"), within=_SOON)
    await proxy.add_route("/user/bob/", ada.url, {})

    assert await is_served(proxy, "/user/bob/", "ada")
    assert traefik_pid(proxy) != old
    messages = [record.getMessage() for record in caplog.records]
    assert sum("was replaced, and Traefik goes on watching the old one" in message for message in messages) == 1
    assert any("started again" in message for message in messages)
    await eventually(lambda: {"hub.lock", "traefik.toml", "dynamic.toml"} <= {file.name for file in folder.iterdir()})
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.usefixtures("quick")
async def test_traefik_is_restarted_although_it_has_rejected_a_file_of_somebody_else_before(
    make_proxy: ProxyMaker, ada: Backend, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It has loaded one of ours since. Only a Traefik that rejects those is left alone."""
    caplog.set_level(logging.INFO, "hub")
    proxy, folder = make_proxy(), tmp_path / "state"
    await proxy.start()
    await proxy.add_route("/user/ada/", ada.url, {})

    def is_rejected() -> bool:
        # Again and again, as it is put right within moments, which may be before Traefik has read it.
        (folder / "dynamic.toml").write_bytes(b"this is = not TOML =")
        return "Error occurred during watcher callback" in caplog.text

    await eventually(is_rejected)
    await eventually(lambda: "is as it should be again" in caplog.text)
    await proxy.add_route("/user/bob/", ada.url, {})
    replace_by_a_copy(folder)
    await eventually(lambda: "replacing it" in caplog.text, within=_SOON)
    await eventually(lambda: is_served(proxy, "/user/bob/", "ada"), within=_SOON)

    assert "keeps the last routes" not in caplog.text


@pytest.mark.usefixtures("quick")
async def test_a_folder_that_was_emptied_is_filled_again(
    make_proxy: ProxyMaker, ada: Backend, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With all that the next Hub needs to take over Traefik, which goes on, and with its users' WebSockets."""
    caplog.set_level(logging.INFO, "hub")
    proxy, folder = make_proxy(), tmp_path / "state"
    await proxy.start()
    await proxy.add_route("/user/ada/", ada.url, {})
    old = traefik_pid(proxy)
    # The Hub makes its default certificate at its start, and Traefik uses a copy.
    needed = {file.name for file in folder.iterdir()} - {"traefik.log", "default-cert.pem", "default-key.pem"}
    for file in list(folder.iterdir()):
        delete(file) if file.is_dir() else file.unlink()
    await eventually(lambda: needed <= {file.name for file in folder.iterdir()}, within=_SOON)
    await eventually(lambda: is_served(proxy, "/user/ada/", "ada"), within=_SOON)
    await proxy.add_route("/user/bob/", ada.url, {})

    assert traefik_pid(proxy) == old
    await eventually(lambda: "as it should be again" in caplog.text)
    await eventually(lambda: "as they should be again" in caplog.text)


@pytest_asyncio.fixture
async def foreign(tmp_path: Path) -> ForeignTraefik:
    """A Traefik that others run; not started."""
    folder = tmp_path / "rules"
    folder.mkdir()
    (folder / "dynamic.toml").touch()
    return ForeignTraefik(tmp_path, provider={"filename": str(folder / "dynamic.toml")})


@pytest.fixture
def outside(make_proxy: ProxyMaker, foreign: ForeignTraefik, tmp_path: Path) -> TraefikTomlProxy:
    """A proxy that uses it."""
    return make_proxy(
        should_start=False,
        public_url=foreign.url,
        traefik_entrypoint="web",
        dynamic_config_file=str(tmp_path / "rules" / "dynamic.toml"),
        check_route_timeout=2 * PATIENCE,
    )


@pytest.mark.usefixtures("quick")
async def test_the_log_says_that_a_traefik_of_others_must_be_restarted(
    outside: TraefikTomlProxy,
    foreign: ForeignTraefik,
    ada: Backend,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Once; and once more when it has been."""
    caplog.set_level(logging.INFO, "hub")
    async with foreign:
        await outside.add_route("/user/ada/", ada.url, {})
        replace_by_a_copy(tmp_path / "rules")
        await eventually(lambda: "Restart Traefik" in caplog.text, within=_SOON)
    async with foreign:
        await eventually(lambda: is_served(outside, "/user/ada/", "ada"), within=_SOON)
        await eventually(lambda: "is live" in caplog.text, within=_SOON)

    messages = [record.getMessage() for record in caplog.records]
    assert sum("Restart Traefik" in message for message in messages) == 1


@pytest.mark.usefixtures("quick")
async def test_an_older_file_is_not_served_for_long(
    outside: TraefikTomlProxy, foreign: ForeignTraefik, ada: Backend, tmp_path: Path, make_backend: BackendMaker
) -> None:
    """As when a manager restores a backup of it before it starts Traefik."""
    file, bob = tmp_path / "rules" / "dynamic.toml", await make_backend("bob")
    async with foreign:
        await outside.add_route("/user/ada/", ada.url, {})
        older = file.read_bytes()
        await outside.add_route("/user/ada/", bob.url, {})
    file.write_bytes(older)
    async with foreign:
        await eventually(lambda: is_served(outside, "/user/ada/", "bob"), within=_SOON)

        assert await live_revision_of(outside, file) > 3


async def live_revision_of(proxy: TraefikTomlProxy, file: Path) -> int:
    """Return the revision that is served, for a file with another name than in a state folder."""
    proxy.state_dir = str(file.parent)
    return await live_revision(proxy)
