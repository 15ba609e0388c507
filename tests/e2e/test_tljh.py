"""examples/tljh: The Littlest JupyterHub's own Traefik and Hub with this proxy, switched from the one that it comes with."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from support.backend import get
from support.certificates import make_certificate
from support.examples import install
from support.hub import RealHub
from support.tljh import Tljh, TljhTraefik, download_traefik
from support.waiting import eventually

pytest.importorskip("jupyterhub_traefik_proxy", reason="jupyterhub-traefik-proxy is not installed")

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Traefik that TLJH installs."""
    try:
        return download_traefik(tmp_path_factory.mktemp("traefik"))
    except OSError as error:
        pytest.skip(f"TLJH's version of Traefik cannot be had: {error}")


@pytest_asyncio.fixture(params=["http", "https"])
async def tljh(request: pytest.FixtureRequest, tmp_path: Path) -> Tljh:
    """TLJH as it is installed, with a base_url that has special characters."""
    pair = make_certificate(tmp_path, "hub") if request.param == "https" else None
    return Tljh(tmp_path / "tljh", base_url="/jh/@x/", pair=pair)


@pytest_asyncio.fixture
async def traefik(tljh: Tljh, program: Path) -> AsyncIterator[TljhTraefik]:
    """Its running Traefik."""
    tljh.write_traefik_config()
    async with TljhTraefik(tljh, program) as traefik:
        yield traefik


@pytest_asyncio.fixture
async def hub(tmp_path: Path, tljh: Tljh, traefik: TljhTraefik) -> AsyncIterator[RealHub]:  # noqa: ARG001 - it is running
    """Its Hub, not started yet."""
    tls = tljh.pair.client() if tljh.pair else None
    hub = RealHub(tmp_path, tljh.write_hub_config(), tljh.url, base_url=tljh.base_url, tls=tls, modules=tljh.modules)
    async with hub.kept():
        yield hub


def install_example(tljh: Tljh) -> None:
    """Copy the files as the README says."""
    install("tljh/traefik_toml.py", tljh.config / "jupyterhub_config.d")
    install("tljh/https.toml" if tljh.pair else "tljh/http.toml", tljh.config / "traefik_config.d")


async def test_servers_keep_running_when_the_proxy_is_switched(tljh: Tljh, traefik: TljhTraefik, hub: RealHub) -> None:
    """Each is reached as before, with any path; new ones are live at once, and after each reload of Traefik."""
    await hub.start()
    before = {name: await hub.start_server(name) for name in ("ada", "bob")}
    await hub.stop()
    install_example(tljh)
    await traefik.reload()
    await hub.start()

    assert {name: await hub.server_of(name) for name in before} == before
    seen = (await hub.ask("user/ada/a%2Fb//c%25d/../%3B?x=1;y=%2F")).seen
    assert seen["path"] == f"{tljh.base_url}user/ada/a%2Fb//c%25d/../%3B?x=1%3By=%2F"
    assert await hub.start_server("new") == await hub.server_of("new")

    await traefik.reload()
    for name, pid in before.items():
        await eventually(functools.partial(_is, hub, name, pid), within=20, what=f"the server of {name}")
    assert await hub.start_server("newer") == await hub.server_of("newer")
    assert traefik.errors == []
    assert (await hub.api("users/newer/server", method="DELETE")).status in {202, 204}
    where = (await hub.ask("user/newer/x")).headers["location"]
    assert where.startswith(f"{tljh.base_url}hub/user/newer/x")

    assert [line.split(" has no effect")[0] for line in hub.warnings if "has no effect" in line] == [
        f"c.TraefikProxy.traefik_api_{name}" for name in ("password", "url", "username")
    ]
    assert [line for line in hub.warnings if "not recognized" in line] == []
    (mended,) = [line for line in hub.warnings if str(tljh.rules) in line]
    assert "was emptied" in mended


async def _is(hub: RealHub, name: str, pid: int) -> bool:
    with contextlib.suppress(OSError):  # Traefik is starting
        return await hub.server_of(name) == pid
    return False


@pytest.mark.parametrize("tljh", ["http"], indirect=True)
async def test_the_routes_of_the_other_proxy_are_set_aside(tljh: Tljh, hub: RealHub) -> None:
    """If only the Hub is reloaded, its file is full of them; they would come before ours."""
    await hub.start()
    before = await hub.start_server("ada")
    await hub.stop()
    assert "routers" in tljh.rules.read_text()
    install_example(tljh)
    await hub.start()

    assert await hub.server_of("ada") == before
    folder = sorted(file.name for file in tljh.rules.parent.iterdir())
    assert [name.partition("broken-")[0] for name in folder] == [
        "dynamic.toml", "rules.toml", "rules.toml.", "rules.toml.tmp"
    ]  # fmt: skip


@pytest.mark.parametrize("tljh", ["https"], indirect=True)
async def test_http_leads_to_https(tljh: Tljh, traefik: TljhTraefik, hub: RealHub) -> None:
    """TLJH's own redirection keeps the path."""
    install_example(tljh)
    await traefik.reload()
    await hub.start()
    answer = await get(f"http://127.0.0.1:{tljh.http_port}", f"{tljh.base_url}user/ada//x%2Fy?a=b")

    assert answer.status in {301, 308}
    assert answer.headers["location"].endswith(f"{tljh.base_url}user/ada//x%2Fy?a=b")
