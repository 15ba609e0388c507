"""When Traefik dies, it is started again at once, with all routes."""

from __future__ import annotations

import asyncio
import functools
import os
import shutil
import signal
import time
from pathlib import Path

import pytest
from support.backend import get
from support.fixtures import BackendMaker
from support.inside import traefik_pid
from support.processes import alive
from support.waiting import PATIENCE, eventually

from traefik_toml_proxy import TraefikTomlProxy
from traefik_toml_proxy.stores.toml_document import read_snapshot


def signal_traefik(proxy: TraefikTomlProxy, number: signal.Signals) -> int:
    """Send Traefik a signal; return its process id."""
    pid = traefik_pid(proxy)
    os.kill(pid, number)
    return pid


def has_another(proxy: TraefikTomlProxy, pid: int) -> bool:
    """Whether the running Traefik is another process than ``pid``."""
    return traefik_pid(proxy) != pid


async def served(proxy: TraefikTomlProxy, path: str) -> str | None:
    """Return the name of the backend that answers, or None."""
    try:
        return (await get(proxy.public_url, path)).by
    except OSError:  # refused, or hung up without an answer
        return None


async def test_it_is_back_at_once_with_all_routes(
    proxy: TraefikTomlProxy, make_backend: BackendMaker, caplog: pytest.LogCaptureFixture
) -> None:
    """Users reach their servers well within two seconds after a SIGKILL, and the log says what happened."""
    ada = await make_backend("ada")
    await asyncio.gather(*(proxy.add_route(f"/user/{number}/", ada.url, {}) for number in range(200)))
    pid = signal_traefik(proxy, signal.SIGKILL)
    began = time.monotonic()
    await eventually(lambda: served(proxy, "/user/199/"))

    assert time.monotonic() - began < 2 * PATIENCE
    assert traefik_pid(proxy) != pid
    assert [await served(proxy, f"/user/{number}/") for number in (0, 100, 199)] == ["ada"] * 3
    assert f"Traefik (process {pid}) has exited (killed by SIGKILL); starting it again at once" in caplog.text


async def test_routes_can_be_changed_afterwards(proxy: TraefikTomlProxy, make_backend: BackendMaker) -> None:
    """An add while the new one is starting waits for it."""
    ada = await make_backend("ada")
    signal_traefik(proxy, signal.SIGKILL)
    await proxy.add_route("/user/ada/", ada.url, {})

    assert await served(proxy, "/user/ada/") == "ada"


async def test_adds_that_wait_are_live_when_they_return(
    proxy: TraefikTomlProxy, make_backend: BackendMaker, tmp_path: Path
) -> None:
    """Fifty adds wait while Traefik hangs and then dies: none fails, and each is live in the new one."""
    ada = await make_backend("ada")
    pid = signal_traefik(proxy, signal.SIGSTOP)
    adds = [asyncio.create_task(proxy.add_route(f"/user/{number}/", ada.url, {})) for number in range(50)]
    file = tmp_path / "state" / "dynamic.toml"
    await eventually(lambda: b"/user/0/" in file.read_bytes())
    os.kill(pid, signal.SIGKILL)
    await asyncio.wait_for(asyncio.gather(*adds), 10 * PATIENCE)

    assert [await served(proxy, f"/user/{number}/") for number in range(50)] == ["ada"] * 50


@pytest.mark.parametrize("waiting", [False, True], ids=["idle", "while an add waits"])
async def test_its_file_is_there_before_it_starts(
    proxy: TraefikTomlProxy, make_backend: BackendMaker, tmp_path: Path, waiting: bool
) -> None:
    """If the file is missing when Traefik dies, it is written before the restart: Traefik would never look for it again."""
    ada = await make_backend("ada")
    await proxy.add_route("/user/ada/", ada.url, {})
    pid = signal_traefik(proxy, signal.SIGSTOP)
    adds = [asyncio.create_task(proxy.add_route("/user/bob/", ada.url, {}))] * waiting
    file = tmp_path / "state" / "dynamic.toml"
    await eventually(lambda: file.read_bytes().count(b"routespec") == 1 + waiting)
    file.unlink()
    os.kill(pid, signal.SIGKILL)
    await eventually(lambda: served(proxy, "/user/ada/"), within=3)
    await asyncio.gather(*adds)
    await proxy.add_route("/user/cleo/", ada.url, {})

    assert await served(proxy, "/user/cleo/") == "ada"


async def test_it_may_die_again_and_again(
    proxy: TraefikTomlProxy, make_backend: BackendMaker, caplog: pytest.LogCaptureFixture
) -> None:
    """All routes come back each time, after growing pauses."""
    ada = await make_backend("ada")
    await proxy.add_route("/user/ada/", ada.url, {})
    for _ in range(3):
        pid = signal_traefik(proxy, signal.SIGKILL)
        await eventually(functools.partial(has_another, proxy, pid))
        await eventually(lambda: served(proxy, "/user/ada/"))

    ends = [record.getMessage() for record in caplog.records if "has exited" in record.getMessage()]
    assert [end.rpartition(" again ")[2] for end in ends] == ["at once", "in 0.5 s", "in 1 s"]


@pytest.mark.parametrize("damage", ["deleted", "edited", "folder"])
async def test_its_static_configuration_is_there_before_it_starts(
    proxy: TraefikTomlProxy, make_backend: BackendMaker, tmp_path: Path, damage: str
) -> None:
    """It is put back first: without it, Traefik would listen on port 80 of every address."""
    backend = await make_backend("ada")
    await proxy.add_route("/user/ada/", backend.url, {})
    file = tmp_path / "state" / "traefik.toml"
    wanted = file.read_bytes()
    pid = traefik_pid(proxy)
    if damage == "folder":
        shutil.rmtree(tmp_path / "state")
    elif damage == "edited":
        file.write_text("[api]\n")
    else:
        file.unlink()
    os.kill(pid, signal.SIGKILL)

    await eventually(lambda: served(proxy, "/user/ada/"), within=20)

    assert file.read_bytes() == wanted
    assert file.stat().st_mode & 0o777 == 0o600


async def test_stopping_during_a_restart_leaves_no_process(proxy: TraefikTomlProxy) -> None:
    """stop() is called right after Traefik has died, while a new one is being started."""
    pid = signal_traefik(proxy, signal.SIGKILL)
    await eventually(lambda: not alive(pid))
    await asyncio.wait_for(proxy.stop(), 10 * PATIENCE)


async def test_the_table_is_not_changed_by_a_death(
    proxy: TraefikTomlProxy, make_backend: BackendMaker, tmp_path: Path
) -> None:
    """The routes stay as the Hub added them, in memory and in the file."""
    ada = await make_backend("ada")
    await proxy.add_route("/user/ada/", ada.url, {"user": "ada"})
    before = await proxy.get_all_routes()
    pid = signal_traefik(proxy, signal.SIGKILL)
    await eventually(lambda: traefik_pid(proxy) != pid)
    snapshot = read_snapshot((tmp_path / "state" / "dynamic.toml").read_text())

    assert await proxy.get_all_routes() == before
    assert snapshot is not None
    assert {route.routespec: route.as_dict() for route in snapshot.table} == before
