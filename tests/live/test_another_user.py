"""A Traefik that runs as another user than the Hub: ``dynamic_config_file_group`` lets it read the file, and nobody else."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.backend import get
from support.certificates import make_certificate
from support.fixtures import BackendMaker, ProxyMaker
from support.other_user import GROUP, USER, needs_root, open_folder
from support.traefik import ForeignTraefik

from traefik_toml_proxy.errors import ConfigurationError, RouteNotLive

pytestmark = needs_root


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that other users can reach."""
    with open_folder() as folder:
        yield folder


def _open_to(folder: Path) -> set[tuple[int, int, str]]:
    """Return the group, the permissions and the name of everything in a folder that others than its owner can read."""
    found = {(path.stat().st_gid, stat.S_IMODE(path.stat().st_mode), path.name) for path in folder.rglob("*")}
    return {(group, mode, name) for group, mode, name in found if mode & 0o077}


@pytest.mark.parametrize("there", [False, True], ids=["folder made", "folder there"])
@pytest.mark.parametrize("by", ["filename", "directory"])
async def test_it_serves_the_routes_and_the_certificate(
    tmp_path: Path, folder: Path, make_proxy: ProxyMaker, make_backend: BackendMaker, by: str, there: bool
) -> None:
    """Whichever way it watches the file; only its group can read them."""
    watched = folder / "dynamic" if there else folder / "hub" / "dynamic"
    if there:
        watched.mkdir()
        os.chown(watched, -1, GROUP)
        watched.chmod(0o750)
    pair = make_certificate(tmp_path, "hub")
    file = watched / "routes.toml"
    provider = {"filename": str(file)} if by == "filename" else {"directory": str(watched)}
    traefik = ForeignTraefik(folder, provider=provider, tls=True, user=USER, group=GROUP)
    proxy = make_proxy(
        should_start=False,
        dynamic_config_file=str(file),
        dynamic_config_file_group=str(GROUP),
        traefik_url=traefik.url,
        traefik_entrypoint="web",
        **pair.traits,
    )
    umask = os.umask(0o077)  # as with UMask= in a unit
    assert await proxy.get_all_routes() == {}  # makes the folders and the file, which Traefik needs at its start
    os.umask(umask)

    async with traefik:
        await proxy.add_route("/user/a/", (await make_backend("a")).url, {})
        assert (await get(traefik.url, "/user/a/x", tls=pair.client())).by == "a"
        await proxy.delete_route("/user/a/")
        assert (await get(traefik.url, "/user/a/x", tls=pair.client())).status == 404
        assert traefik.complaints == []

    assert stat.S_IMODE(watched.stat().st_mode) == 0o750
    readable = _open_to(watched)  # and not the folder above, which its group may only enter
    assert {group for group, _, _ in readable} == {GROUP}
    assert {mode for _, mode, _ in readable} == {0o640, 0o750}
    names = {name.rpartition("-")[2] for _, _, name in readable}
    assert names == {"routes.toml", "routes.toml.tmp", "routes.toml.certificates", "cert.pem", "key.pem"}


async def test_without_the_setting_it_cannot(folder: Path, make_proxy: ProxyMaker) -> None:
    """So the tests above show something."""
    traits: dict[str, Any] = {"should_start": False, "check_route_timeout": 1, "traefik_entrypoint": "web"}
    file = folder / "routes.toml"
    async with ForeignTraefik(folder, provider={"directory": str(folder)}, user=USER, group=GROUP) as traefik:
        proxy = make_proxy(dynamic_config_file=str(file), traefik_url=traefik.url, **traits)

        with pytest.raises(RouteNotLive):
            await proxy.add_route("/user/a/", "http://127.0.0.1:1", {})


@pytest.mark.parametrize("name", ["no such group", "4294967295", "-1", "\u0661"])
async def test_an_unknown_group_is_refused(folder: Path, make_proxy: ProxyMaker, name: str) -> None:
    """Before anything is written."""
    proxy = make_proxy(
        should_start=False, dynamic_config_file=str(folder / "routes.toml"), dynamic_config_file_group=name
    )

    with pytest.raises(ConfigurationError, match="there is no such group"):
        await proxy.get_all_routes()

    assert list(folder.iterdir()) == []
