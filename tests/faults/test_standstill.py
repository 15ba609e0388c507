"""A Traefik that runs but loads no routes any more is replaced, and the log says why; inotify is really used up."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import stat
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from support.backend import Backend, get
from support.fixtures import BackendMaker, ProxyMaker
from support.inside import traefik_pid
from support.traefik import TRAEFIK_COMMAND
from support.waiting import PATIENCE, eventually

from traefik_toml_proxy import TraefikTomlProxy, standstill
from traefik_toml_proxy import session as module
from traefik_toml_proxy.errors import RouteNotLive, TraefikStartFailed
from traefik_toml_proxy.routes import Snapshot
from traefik_toml_proxy.runtime.program import find_program
from traefik_toml_proxy.stores.toml_document import TomlRenderer

_NO_INOTIFY = "echo 0 >/proc/sys/user/max_inotify_instances"
_KNOBS = ("fs.inotify.max_user_instances", "fs.inotify.max_user_watches")


@pytest.fixture
def used_up(tmp_path: Path) -> Path:
    """A file; while it exists, a Traefik that is started has no inotify left (user_namespaces(7))."""
    trial = subprocess.run(["unshare", "--user", "--map-root-user", "sh", "-c", _NO_INOTIFY], capture_output=True)
    if trial.returncode:
        pytest.skip(f"user namespaces are not permitted here: {trial.stderr.decode().strip()}")
    return tmp_path / "used-up"


@pytest_asyncio.fixture
async def limited(used_up: Path, tmp_path: Path) -> dict[str, Any]:
    """The trait for a real Traefik that starts with no inotify left while that file exists."""
    traefik = (await find_program(TRAEFIK_COMMAND, {})).command[0]
    script = tmp_path / "traefik"
    script.write_text(
        f"""#!/bin/sh
        [ -e {used_up} ] || exec {traefik} "$@"
        exec unshare --user --map-root-user sh -c '{_NO_INOTIFY}; exec {traefik} "$@"' traefik "$@"
        """
    )
    script.chmod(stat.S_IRWXU)
    return {"traefik_command": [str(script)]}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check more often, and be less patient."""
    monkeypatch.setattr(module, "_WATCH_INTERVAL", 0.05)


@pytest_asyncio.fixture
async def ada(make_backend: BackendMaker) -> Backend:
    """A user's server."""
    return await make_backend("ada")


async def test_a_start_without_inotify_fails_at_once_and_says_so(
    make_proxy: ProxyMaker, used_up: Path, limited: dict[str, Any]
) -> None:
    """The kernel settings are named, and Traefik's own words are there."""
    used_up.touch()
    began = time.monotonic()
    with pytest.raises(TraefikStartFailed, match=r"error creating file watcher: .*too many open files") as caught:
        await make_proxy(**limited).start()

    assert time.monotonic() - began < 5 * PATIENCE
    assert [knob for knob in _KNOBS if knob not in str(caught.value)] == []


@pytest.mark.usefixtures("quick")
async def test_a_traefik_that_was_restarted_without_inotify_is_replaced_until_it_watches(
    make_proxy: ProxyMaker, ada: Backend, used_up: Path, limited: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """It would answer 404 to everybody for ever. When inotify is free again, all routes are back, without the Hub's help."""
    proxy = make_proxy(**limited)
    await proxy.start()
    await proxy.add_route("/user/ada/", ada.url, {})
    used_up.touch()
    os.kill(traefik_pid(proxy), signal.SIGKILL)
    await eventually(lambda: caplog.text.count("replacing it") >= 2, within=20)
    assert not await _is_served(proxy, "/user/ada/", "ada")
    used_up.unlink()
    await eventually(lambda: _is_served(proxy, "/user/ada/", "ada"), within=20)

    messages = [record.getMessage() for record in caplog.records if "replacing it" in record.getMessage()]
    assert [knob for knob in _KNOBS if knob not in messages[0]] == []
    assert "too many open files" in messages[0]


@pytest.mark.usefixtures("quick")
async def test_a_traefik_that_watches_a_folder_which_was_replaced_is_replaced_too(
    make_proxy: ProxyMaker, make_backend: BackendMaker, ada: Backend, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The new one serves the last table of the Hub, not the one that the old one was left with."""
    proxy, bob = make_proxy(), await make_backend("bob")
    await proxy.start()
    await proxy.add_route("/user/ada/", ada.url, {})
    old = traefik_pid(proxy)
    folder, moved = tmp_path / "state", tmp_path / "moved"
    folder.rename(moved)
    shutil.copytree(moved, folder)
    folder.chmod(0o700)
    adding = asyncio.create_task(proxy.add_route("/user/bob/", bob.url, {}))
    await asyncio.wait_for(adding, 20 * PATIENCE)

    assert traefik_pid(proxy) != old
    assert await _is_served(proxy, "/user/ada/", "ada")
    assert await _is_served(proxy, "/user/bob/", "bob")
    assert f"Traefik (process {old}) answers, but does not load the routes any more" in caplog.text


@pytest.mark.usefixtures("quick")
async def test_a_traefik_that_rejects_the_routes_is_left_alone(
    make_proxy: ProxyMaker, ada: Backend, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It serves the last routes that it could load, but a new one would serve none. No route is known that leads to this."""
    really_render = TomlRenderer.render

    def render(renderer: TomlRenderer, snapshot: Snapshot) -> bytes:
        bad = any(route.routespec == "/user/bad/" for route in snapshot.table)
        return really_render(renderer, snapshot) + b"\n[http.bogus]\na = 1\n" * bad

    monkeypatch.setattr(TomlRenderer, "render", render)
    proxy = make_proxy(check_route_timeout=1 * PATIENCE)
    await proxy.start()
    await proxy.add_route("/user/ada/", ada.url, {})
    pid = traefik_pid(proxy)
    with pytest.raises(RouteNotLive):
        await proxy.add_route("/user/bad/", ada.url, {})
    await eventually(lambda: "keeps the last routes that it could load" in caplog.text, within=20)

    assert traefik_pid(proxy) == pid
    assert "bogus" in caplog.text
    assert await _is_served(proxy, "/user/ada/", "ada")


@pytest.mark.usefixtures("quick")
async def test_a_traefik_that_is_well_is_left_alone(
    make_proxy: ProxyMaker, ada: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often it is looked at, and however many changes there are: its users' websockets stay."""
    monkeypatch.setattr(standstill, "_FIRST_LIMIT", 1)
    proxy = make_proxy()
    await proxy.start()
    pid = traefik_pid(proxy)
    for number in range(100):
        await proxy.add_route(f"/user/{number % 7}/", f"{ada.url}/{number}", {})

    assert traefik_pid(proxy) == pid


async def _is_served(proxy: TraefikTomlProxy, path: str, name: str) -> bool:
    try:
        return (await get(proxy.public_url, path)).by == name
    except OSError:  # it is being replaced
        return False
