"""examples/systemd: systemd accepts the units, and the commands in them do what the README says, without systemd."""

from __future__ import annotations

import asyncio
import configparser
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.examples import EXAMPLES, install
from support.hub import RealHub
from support.inside import traefik_pid
from support.other_user import GROUP, USER, needs_root, open_folder
from support.ports import free_port
from support.traefik import OutsideTraefik
from support.waiting import within

UNITS = [
    "systemd/alone/jupyterhub.service",
    "systemd/apart/jupyterhub.service",
    "systemd/apart/traefik.service",
    "systemd/in-process/jupyterhub.service",
]
SOCKET = "systemd/in-process/jupyterhub.socket"
CONFIGS = {"jupyterhub": "/etc/jupyterhub/jupyterhub_config.py", "traefik": "/etc/traefik/traefik.toml"}
IN_PROCESS = "systemd/in-process/jupyterhub_config.py"
# What systemd does for a service with a socket: it is descriptor 3 of the process that LISTEN_PID names.
ACTIVATED = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(sys.executable, [sys.executable, "-m", "jupyterhub", "-f", "for_tests.py"])
"""
# Exposure, from 0 (best) to 100; a unit without any hardening has 96.
MOST_EXPOSURE = 25

pytestmark = pytest.mark.timeout(200)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that other users can reach."""
    with open_folder() as folder:
        yield folder


@pytest.fixture
def installed_units(tmp_path: Path) -> Path:
    """A folder with the units, in which a program that is there stands for each of /opt/jupyterhub/bin."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    for unit in UNITS:
        name = unit.removeprefix("systemd/").replace("apart/traefik", "traefik").replace("/", "-")
        # A unit beside another one is found by its name.
        changes = {_program(unit): sys.executable, "jupyterhub.socket": "in-process-jupyterhub.socket"}
        present = {old: new for old, new in changes.items() if old in EXAMPLES.joinpath(unit).read_text()}
        install(unit, tmp_path / name, changes=present)
    install(SOCKET, tmp_path / "in-process-jupyterhub.socket")
    return tmp_path


def _setting(unit: str, name: str) -> str:
    parser = configparser.ConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(EXAMPLES.joinpath(unit).read_text())
    return parser["Service"][name]


def _program(unit: str) -> str:
    return _setting(unit, "ExecStart").split()[0]


def test_systemd_accepts_the_units(installed_units: Path) -> None:
    """It knows all settings and values, and says nothing about them."""
    units = sorted(map(str, installed_units.iterdir()))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, timeout=60)
    said = [
        line
        for line in done.stderr.splitlines()
        if str(installed_units) in line or ".service:" in line or ".socket:" in line
    ]

    assert len(units) == len(UNITS) + 1
    assert (done.returncode, said) == (0, [])


def test_the_units_are_hardened(installed_units: Path) -> None:
    """Systemd finds little that they could do to the machine."""
    for unit in installed_units.glob("*.service"):
        done = subprocess.run(
            ["systemd-analyze", "security", "--offline=true", f"--threshold={MOST_EXPOSURE}", "--no-pager", str(unit)],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("unit", UNITS)
def test_traefik_may_read_how_many_connections_can_wait(unit: str) -> None:
    """Otherwise, Go takes 128 (net/sock_linux.go, maxListenerBacklog), and users wait for seconds while it is busy."""
    assert "\nProcSubset=" not in EXAMPLES.joinpath(unit).read_text()


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_starts_what_the_readme_installs(unit: str) -> None:
    """Its command has the paths to which the README copies the files."""
    path = CONFIGS[Path(unit).stem]
    folder = unit.split("/")[1]
    readme = EXAMPLES.joinpath("systemd/README.rst").read_text()

    assert path in _setting(unit, "ExecStart")
    assert f"sudo install -D {folder}/{Path(path).name} {path}" in readme


async def test_a_restart_of_the_hub_alone_interrupts_nobody(tmp_path: Path) -> None:
    """Traefik and the servers of users go on while the Hub is away, as KillMode says."""
    assert _setting("systemd/alone/jupyterhub.service", "KillMode") == "process"
    url = f"http://127.0.0.1:{free_port()}"
    changes = {"http://:80": url, "/var/lib/jupyterhub": tmp_path}
    config = install("systemd/alone/jupyterhub_config.py", tmp_path, changes=changes)
    async with RealHub(tmp_path, config, url) as hub:
        server, traefik = await hub.start_server("ada"), traefik_pid(tmp_path / "traefik")
        await hub.stop()
        assert await hub.server_of("ada") == server
        await hub.start()

        assert await hub.server_of("ada") == server
        assert traefik_pid(tmp_path / "traefik") == traefik
        assert await hub.start_server("bob") == await hub.server_of("bob")


async def test_who_comes_while_a_hub_with_its_proxy_is_restarted_waits(tmp_path: Path) -> None:
    """Systemd has opened the port that the configuration names, and keeps it open; nobody is refused.

    Who is answered before the Hub has added its routes gets a page that comes back by itself.
    """
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        unit, config = (EXAMPLES.joinpath(name).read_text() for name in (SOCKET, IN_PROCESS))
        assert ("\nListenStream=80\n" in unit, '"http://:80"' in config) == (True, True)
        url = f"http://127.0.0.1:{port}"
        installed = install(IN_PROCESS, tmp_path, changes={"http://:80": url})
        number = listening.fileno()
        command = (sys.executable, "-c", ACTIVATED, str(number))
        async with RealHub(tmp_path, installed, url, command=command, inherits=[number]) as hub:
            server = await hub.start_server("ada")
            for end in (hub.stop, hub.kill_alone):
                await end()
                early = [asyncio.ensure_future(hub.server_of("ada")) for _ in range(10)]
                # Long enough to be refused.
                await asyncio.wait(early, timeout=0.5)
                assert not any(each.done() for each in early)
                await hub.start()
                assert {server, -1} >= set(await within(60, asyncio.gather(*early)))
                assert await hub.server_of("ada") == server
            assert await hub.start_server("bob") == await hub.server_of("bob")


@needs_root
async def test_the_hub_and_traefik_are_apart(tmp_path: Path, folder: Path) -> None:
    """As different users; Traefik reads the routes through its group, and goes on while the Hub is away."""
    kind, path, mode, *owner = EXAMPLES.joinpath("systemd/apart/routes.conf").read_text().splitlines()[-1].split()
    assert (kind, path, owner[:2]) == ("d", "/var/lib/jupyterhub-routes", ["jupyterhub", "traefik"])
    routes = folder / "routes"
    routes.mkdir()
    routes.chmod(int(mode, 8))
    os.chown(routes, -1, GROUP)
    url = f"http://127.0.0.1:{free_port()}"
    static = install(
        "systemd/apart/traefik.toml", folder, changes={path: routes, '":80"': f'"{url.removeprefix("http://")}"'}
    )
    changes = {path: routes, '"traefik"': f'"{GROUP}"', "http://127.0.0.1:80": url}
    config = install("systemd/apart/jupyterhub_config.py", tmp_path, changes=changes)

    async with OutsideTraefik(url, static, tmp_path / "traefik.log", user=USER, group=GROUP) as traefik:
        async with RealHub(tmp_path, config, url) as hub:
            server = await hub.start_server("ada")
            await hub.stop()
            assert await hub.server_of("ada") == server
            await hub.start()
            assert await hub.start_server("bob") == await hub.server_of("bob")
            assert not re.search(r"^\[E ", hub.log, re.MULTILINE)
        assert traefik.complaints == []
    assert stat.S_IMODE((routes / "routes.toml").stat().st_mode) == 0o640
