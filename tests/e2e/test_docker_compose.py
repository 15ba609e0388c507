"""examples/docker-compose: the commands, users and files of its containers, run without Docker."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.examples import EXAMPLES, install
from support.hub import RealHub
from support.other_user import needs_root, open_folder
from support.ports import free_ports
from support.strategies import read_toml
from support.traefik import OutsideTraefik

COMPOSE: dict[str, Any] = yaml.safe_load(EXAMPLES.joinpath("docker-compose/compose.yaml").read_text())
TRAEFIK, HUB = COMPOSE["services"]["traefik"], COMPOSE["services"]["hub"]

pytestmark = pytest.mark.timeout(200)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that other users can reach, as a volume that Docker makes."""
    with open_folder() as folder:
        yield folder


def _mounts(service: dict[str, Any]) -> dict[str, str]:
    """Return where each volume or file is in the container."""
    return dict(volume.split(":")[:2] for volume in service["volumes"])


def test_each_file_is_where_the_command_looks_for_it() -> None:
    """Of both containers; and the volumes are there."""
    assert TRAEFIK["command"] == [f"--configFile={_mounts(TRAEFIK)['./traefik.toml']}"]
    assert HUB["command"] == ["jupyterhub", "-f", _mounts(HUB)["./jupyterhub_config.py"]]
    mounted = [name for service in (TRAEFIK, HUB) for name in _mounts(service)]
    files = [EXAMPLES / "docker-compose" / name for name in mounted if name not in COMPOSE["volumes"]]
    assert [file.name for file in files if not file.exists()] == []


def test_the_port_of_the_host_leads_to_the_entry_point() -> None:
    """Which is where the Hub asks, by the name of the container."""
    static = read_toml(EXAMPLES.joinpath("docker-compose/traefik.toml").read_text())
    (port,) = TRAEFIK["ports"]

    assert static["entryPoints"]["web"]["address"] == ":" + port.split(":")[1]
    assert static["providers"]["file"]["directory"] == _mounts(TRAEFIK)["routes"]


def test_the_image_has_the_package() -> None:
    """By the name that it has on PyPI."""
    name = read_toml(EXAMPLES.parent.joinpath("pyproject.toml").read_text())["project"]["name"]

    assert name in EXAMPLES.joinpath("docker-compose/Dockerfile").read_text().split()


@needs_root
async def test_traefik_serves_what_the_hub_writes(tmp_path: Path, folder: Path) -> None:
    """As the user and the group in compose.yaml; the volume is as Docker makes it, owned by root."""
    public, internal = free_ports(2)
    url = f"http://127.0.0.1:{public}"
    routes = folder / "routes"
    routes.mkdir(mode=0o755)
    static = install(
        "docker-compose/traefik.toml",
        folder,
        changes={f'"{_mounts(TRAEFIK)["routes"]}"': f'"{routes}"', '":8000"': f'"127.0.0.1:{public}"'},
    )
    config = install(
        "docker-compose/jupyterhub_config.py",
        tmp_path,
        changes={
            _mounts(HUB)["routes"]: routes,
            _mounts(HUB)["data"]: tmp_path,
            "http://traefik:8000": url,
            "http://0.0.0.0:8081": f"http://127.0.0.1:{internal}",
            "http://hub:8081": f"http://127.0.0.1:{internal}",
            '"0.0.0.0"': '"127.0.0.1"',
        },
    )
    user, group = map(int, TRAEFIK["user"].split(":"))
    (password,) = HUB["environment"]
    async with (
        OutsideTraefik(url, static, tmp_path / "traefik.log", user=user, group=group) as traefik,
        RealHub(tmp_path, config, url, environment={password: "throw-away"}) as hub,
    ):
        await hub.start_server("ada")
        assert (await hub.ask("hub/login")).status == 200
        assert traefik.complaints == []
        status = (routes / "jupyterhub.toml").stat()
        assert (status.st_gid, stat.S_IMODE(status.st_mode)) == (group, 0o640)
