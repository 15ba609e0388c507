"""A file has one writer at a time; and how a start deals with the files that it finds."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from support.backend import get
from support.fixtures import BackendMaker, ProxyMaker
from support.killed_hub import Hub
from support.waiting import PATIENCE

from traefik_toml_proxy import TraefikTomlProxy
from traefik_toml_proxy.errors import StoreLocked


async def test_a_second_hub_is_refused_and_told_which_process_is_the_first(
    make_proxy: ProxyMaker, tmp_path: Path, traits: dict[str, Any]
) -> None:
    """The error comes at once, and names the folder and what to do."""
    first = await Hub.started(traits, {})
    second = make_proxy(public_url="http://127.0.0.1:1")
    try:
        with pytest.raises(StoreLocked) as caught:
            await second.start()
        assert (await get(traits["public_url"], "/")).status == 404
    finally:
        await first.kill()

    assert caught.value.owner == f"process {first.pid}"
    for part in (f"process {first.pid}", str(tmp_path / "state"), "state_dir"):
        assert part in str(caught.value)
    await make_proxy().start()  # takes over the Traefik of the first one, so it ends with the test


async def test_the_first_does_not_notice(
    proxy: TraefikTomlProxy, make_proxy: ProxyMaker, make_backend: BackendMaker, tmp_path: Path
) -> None:
    """A second Hub that is refused and stopped changes nothing for the first."""
    ada = await make_backend("ada")
    await proxy.add_route("/user/ada/", ada.url, {})
    before = {path.name: path.read_bytes() for path in (tmp_path / "state").iterdir() if path.suffix == ".toml"}
    second = make_proxy(traefik_log_level="WARN")
    with pytest.raises(StoreLocked):
        await second.start()
    await second.stop()
    after = {path.name: path.read_bytes() for path in (tmp_path / "state").iterdir() if path.suffix == ".toml"}

    assert after == before
    assert (await get(proxy.public_url, "/user/ada/")).by == "ada"
    await proxy.delete_route("/user/ada/")


async def test_a_folder_of_its_own_is_not_enough_for_one_file(
    proxy: TraefikTomlProxy, make_proxy: ProxyMaker, tmp_path: Path
) -> None:
    """The routes file itself is locked, not only the state folder."""
    second = make_proxy(state_dir=str(tmp_path / "other"), dynamic_config_file=str(tmp_path / "state" / "dynamic.toml"))
    with pytest.raises(StoreLocked):
        await second.start()

    assert (await get(proxy.public_url, "/")).status == 404


async def test_a_hub_that_does_not_start_traefik_is_refused_as_well(
    proxy: TraefikTomlProxy, make_proxy: ProxyMaker, tmp_path: Path
) -> None:
    """It gets the error at its first change."""
    assert await proxy.get_all_routes() == {}
    second = make_proxy(should_start=False, dynamic_config_file=str(tmp_path / "state" / "dynamic.toml"))
    with pytest.raises(StoreLocked, match=f"process {os.getpid()}"):
        await second.add_route("/user/ada/", "http://127.0.0.1:1", {})


async def test_unfinished_files_are_removed_at_start(make_proxy: ProxyMaker, tmp_path: Path) -> None:
    """A killed Hub may leave unfinished versions of the routes and of the static configuration."""
    left = [tmp_path / "state" / f"{name}.tmp" / "new-1" for name in ("dynamic.toml", "traefik.toml")]
    (tmp_path / "state").mkdir(mode=0o700)
    for path in left:
        path.parent.mkdir()
        path.write_bytes(b"half")
    await make_proxy().start()

    assert [path for path in left if path.exists()] == []


async def test_a_broken_file_is_set_aside_and_the_start_goes_on(
    make_proxy: ProxyMaker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is never overwritten: the log says where it is now, and Traefik does not load it."""
    (tmp_path / "state").mkdir(mode=0o700)
    (tmp_path / "state" / "dynamic.toml").write_bytes(b"[broken")
    proxy = make_proxy()
    await proxy.start()
    (aside,) = (tmp_path / "state").glob("dynamic.toml.broken-*")

    assert aside.read_bytes() == b"[broken"
    assert str(aside) in caplog.text
    assert (await get(proxy.public_url, "/")).status == 404


async def test_a_symbolic_link_to_the_file_is_served_and_stays(
    make_proxy: ProxyMaker, make_backend: BackendMaker, tmp_path: Path
) -> None:
    """Traefik watches the file that the link points to, and sees every change."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "state").mkdir(mode=0o700)
    link = tmp_path / "state" / "dynamic.toml"
    link.symlink_to(tmp_path / "elsewhere" / "routes.toml")
    proxy, ada = make_proxy(check_route_timeout=3 * PATIENCE), await make_backend("ada")
    await proxy.start()
    for number in range(3):
        await proxy.add_route(f"/user/{number}/", ada.url, {})
        assert (await get(proxy.public_url, f"/user/{number}/")).by == "ada"

    assert link.is_symlink()


async def test_a_symbolic_link_to_the_folder_is_served_and_stays(
    make_proxy: ProxyMaker, make_backend: BackendMaker, tmp_path: Path
) -> None:
    """The state folder may be on another disk."""
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "state").symlink_to(tmp_path / "elsewhere")
    proxy, ada = make_proxy(check_route_timeout=3 * PATIENCE), await make_backend("ada")
    await proxy.start()
    for number in range(3):
        await proxy.add_route(f"/user/{number}/", ada.url, {})
        assert (await get(proxy.public_url, f"/user/{number}/")).by == "ada"

    assert (tmp_path / "elsewhere" / "dynamic.toml").exists()


async def test_two_hubs_with_two_folders_live_side_by_side(
    make_proxy: ProxyMaker, tmp_path: Path, free_port: int
) -> None:
    """On one machine, each has its own Traefik and routes, and can be stopped alone."""
    first = make_proxy()
    second = make_proxy(public_url=f"http://127.0.0.2:{free_port}", state_dir=str(tmp_path / "second"))
    await asyncio.gather(first.start(), second.start())
    await first.stop()

    assert (await get(second.public_url, "/")).status == 404
