"""After the Hub was killed, the next Hub takes over the Traefik that still runs, if it is certain to be its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from support.backend import Backend, get
from support.fixtures import BackendMaker, ProxyMaker
from support.inside import live_revision, traefik_pid
from support.killed_hub import Hub
from support.processes import MARK, alive, identity, listening
from support.waiting import eventually, meanwhile

from traefik_toml_proxy.errors import TraefikStartFailed
from traefik_toml_proxy.runtime import session as module
from traefik_toml_proxy.runtime import supervisor
from traefik_toml_proxy.runtime.checks import check_address


async def test_it_is_the_same_traefik_with_the_same_routes(
    make_proxy: ProxyMaker, killed_hub: Hub, ada: Backend
) -> None:
    """No new Traefik is started, and the table is the one that the killed Hub had confirmed."""
    proxy = make_proxy()
    await proxy.start()

    assert traefik_pid(proxy) == killed_hub.traefik_pid
    assert await proxy.get_all_routes() == {"/user/ada/": {"routespec": "/user/ada/", "target": ada.url, "data": {}}}
    assert (await get(proxy.public_url, "/user/ada/")).by == "ada"


@pytest.mark.usefixtures("killed_hub")
async def test_routes_can_be_changed_afterwards(make_proxy: ProxyMaker, make_backend: BackendMaker) -> None:
    """The new Hub owns it like one that it started itself."""
    proxy, bob = make_proxy(), await make_backend("bob")
    await proxy.start()
    await proxy.add_route("/user/bob/", bob.url, {})
    await proxy.delete_route("/user/ada/")

    assert (await get(proxy.public_url, "/user/bob/")).by == "bob"
    assert (await get(proxy.public_url, "/user/ada/")).status == 404


async def test_users_do_not_notice(
    make_proxy: ProxyMaker, traits: dict[str, Any], ada: Backend, make_backend: BackendMaker
) -> None:
    """Every request is answered, from the death of one Hub to the first change by the next."""
    hub = await Hub.started(traits, {"/user/ada/": ada.url})
    answers: list[str | None] = []

    async def ask() -> None:
        while True:
            answers.append((await get(traits["public_url"], "/user/ada/")).by)

    async with meanwhile(*(ask() for _ in range(4))):
        await eventually(lambda: len(answers) > 20)
        await hub.kill()
        proxy = make_proxy()
        await proxy.start()
        bob = await make_backend("bob")
        await proxy.add_route("/user/bob/", bob.url, {})
        asked = len(answers)
        await eventually(lambda: len(answers) > asked + 20)

    assert traefik_pid(proxy) == hub.traefik_pid
    assert set(answers) == {"ada"}


async def test_it_is_started_again_when_it_dies_later(make_proxy: ProxyMaker, killed_hub: Hub) -> None:
    """Its death is noticed at once, although it is not a child process."""
    proxy = make_proxy()
    await proxy.start()
    os.kill(killed_hub.traefik_pid, signal.SIGKILL)

    async def is_served() -> bool:
        with contextlib.suppress(OSError):
            return (await get(proxy.public_url, "/user/ada/")).by == "ada"
        return False

    await eventually(is_served, within=3)
    assert traefik_pid(proxy) != killed_hub.traefik_pid


async def test_it_ends_with_the_hub_that_took_it_over(make_proxy: ProxyMaker, killed_hub: Hub) -> None:
    """stop() leaves no process behind, whoever started it."""
    proxy = make_proxy()
    await proxy.start()
    await proxy.stop()

    assert not alive(killed_hub.traefik_pid)


@pytest.mark.parametrize(
    "changed",
    [{"traefik_log_level": "WARN"}, {"extra_static_config": {"accessLog": {}}}, {"traefik_env": {"X": "1"}}],
    ids=["static configuration", "the admin's own", "environment"],
)
async def test_one_with_other_settings_is_replaced_by_a_new_one_without_routes(
    make_proxy: ProxyMaker, killed_hub: Hub, changed: Mapping[str, Any]
) -> None:
    """It does not match the new settings; the new one serves only what the Hub adds again."""
    proxy = make_proxy(**{**changed, "traefik_env": MARK | changed.get("traefik_env", {})})
    await proxy.start()

    assert not alive(killed_hub.traefik_pid)
    assert await proxy.get_all_routes() == {}
    assert (await get(proxy.public_url, "/user/ada/")).status == 404


async def test_one_that_hangs_is_replaced(
    make_proxy: ProxyMaker, killed_hub: Hub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A Traefik that does not load the new file in time is not taken over, and the log says so."""
    monkeypatch.setattr(module, "_ADOPTION_TIMEOUT", 0.5)
    monkeypatch.setattr(supervisor, "_STOP_SECONDS", 0.2)
    os.kill(killed_hub.traefik_pid, signal.SIGSTOP)
    proxy = make_proxy()
    await proxy.start()

    assert not alive(killed_hub.traefik_pid)
    assert "cannot be taken over" in caplog.text
    assert await proxy.get_all_routes() == {}


async def test_another_environment_of_the_hub_changes_nothing(
    make_proxy: ProxyMaker, killed_hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Hub started from another shell has other variables; only those in traefik_env are settings."""
    monkeypatch.setenv("LANG", "de_DE.UTF-8")
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}:/another")
    proxy = make_proxy()
    await proxy.start()

    assert traefik_pid(proxy) == killed_hub.traefik_pid


async def test_one_that_refuses_the_new_file_keeps_running(make_proxy: ProxyMaker, killed_hub: Hub) -> None:
    """A mistake in extra_dynamic_config fails the Hub's start with Traefik's own message, and cuts off no user."""
    mistake = {"tls": {"options": {"default": {"minVersionn": "VersionTLS13"}}}}
    proxy = make_proxy(extra_dynamic_config=mistake)

    with pytest.raises(TraefikStartFailed, match=r"extra_dynamic_config[\s\S]*minVersionn"):
        await proxy.start()

    assert alive(killed_hub.traefik_pid)
    assert (await get(proxy.public_url, "/user/ada/")).by == "ada"

    corrected = make_proxy()
    await corrected.start()

    assert traefik_pid(corrected) == killed_hub.traefik_pid
    assert list(await corrected.get_all_routes()) == ["/user/ada/"]


async def is_free(url: str) -> bool:
    """Whether Traefik could listen there."""
    try:
        await asyncio.to_thread(check_address, url.removeprefix("http://"))
    except TraefikStartFailed:
        return False
    return True


async def test_one_that_has_died_is_replaced(make_proxy: ProxyMaker, killed_hub: Hub) -> None:
    """Out of memory, the machine may kill both."""
    os.kill(killed_hub.traefik_pid, signal.SIGKILL)
    proxy = make_proxy()
    # Its threads end one after another, and the last one closes its sockets.
    await eventually(lambda: not alive(killed_hub.traefik_pid))
    await eventually(lambda: is_free(proxy.public_url))
    await proxy.start()

    assert alive(traefik_pid(proxy))
    assert await proxy.get_all_routes() == {}


@pytest.mark.usefixtures("killed_hub")
async def test_revisions_grow_over_restarts(make_proxy: ProxyMaker, tmp_path: Path) -> None:
    """A revision never stands for two tables, so an old table is never mistaken for a new one."""
    file = tmp_path / "state" / "dynamic.toml"
    revisions = []
    for _ in range(3):
        proxy = make_proxy()
        await proxy.start()
        revisions.append(await live_revision(proxy))
        await proxy.stop()
        assert f"revision = {revisions[-1]}" in file.read_text()

    assert revisions == sorted(set(revisions))
    assert revisions[0] > 1


async def test_a_record_of_a_foreign_process_hurts_nobody(
    make_proxy: ProxyMaker, tmp_path: Path, traits: dict[str, Any]
) -> None:
    """Another process has the recorded id: it is never signalled, and a new Traefik is started."""
    foreign = await asyncio.create_subprocess_exec("tail", "-f", "/dev/null")
    record = {
        "identity": identity(foreign.pid),
        "command": ["traefik", f"--configFile={traits['state_dir']}/traefik.toml"],
        "static_sha256": "0" * 64,
    }
    (tmp_path / "state").mkdir(mode=0o700)
    (tmp_path / "state" / "traefik-process.json").write_text(json.dumps(record))
    proxy = make_proxy()
    await proxy.start()
    here = alive(foreign.pid), traefik_pid(proxy) != foreign.pid
    foreign.kill()
    await foreign.wait()

    assert here == (True, True)


@pytest.mark.parametrize("record", [b"", b"{", b"\xff", b'{"identity": 1}', b"[]"])
async def test_an_invalid_record_is_ignored(
    make_proxy: ProxyMaker, tmp_path: Path, free_port: int, record: bytes
) -> None:
    """A new Traefik is started, and its record is written."""
    file = tmp_path / "state" / "traefik-process.json"
    file.parent.mkdir(mode=0o700)
    file.write_bytes(record)
    proxy = make_proxy()
    await proxy.start()

    assert listening(traefik_pid(proxy)) == {f"127.0.0.1:{free_port}"}


async def test_without_its_record_the_start_fails_and_says_that_the_port_is_taken(
    make_proxy: ProxyMaker, killed_hub: Hub, tmp_path: Path
) -> None:
    """Somebody has removed the record: no process is signalled."""
    (tmp_path / "state" / "traefik-process.json").unlink()
    with pytest.raises(TraefikStartFailed, match="address is taken"):
        await make_proxy().start()

    assert alive(killed_hub.traefik_pid)


async def test_a_file_that_was_broken_meanwhile_is_set_aside(
    make_proxy: ProxyMaker, killed_hub: Hub, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its routes are lost, and the log says so; the Hub adds them again to the Traefik that it has taken over."""
    (tmp_path / "state" / "dynamic.toml").write_bytes(b"broken =")
    proxy = make_proxy()
    await proxy.start()

    assert traefik_pid(proxy) == killed_hub.traefik_pid
    assert await proxy.get_all_routes() == {}
    assert "starting without its routes" in caplog.text
