"""examples/etcd-ha: what its one command starts, and what users notice when parts of it die: nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from e2e.person import Person
from support.backend import get
from support.examples import install
from support.hub import RealHub
from support.ports import free_ports
from support.processes import MARK, alive
from support.traefik import TRAEFIK_COMMAND
from support.waiting import PATIENCE, eventually, meanwhile, within

# HAProxy may be where not every user looks.
_PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin"
# Of the etcd to test with.
_ETCD = {name: shutil.which(name, path=os.environ.get("TEST_ETCD", _PATH)) for name in ("etcd", "etcdctl")}
_NEEDED = _ETCD | {name: shutil.which(name, path=_PATH) for name in ("haproxy", "openssl", "supervisord")}
_MISSING = [name for name, path in _NEEDED.items() if path is None]

# What dies at the same time; a replica is an agent and its Traefik.
VICTIMS = [("traefik1",), ("etcd:etcd1",), ("agent:agent2",), ("etcd:etcd3",), ("agent:agent3", "traefik3"), ("hub",)]

pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.skipif(bool(_MISSING), reason=f"not installed: {', '.join(_MISSING)}"),
]


class Installed:
    """The example in a folder, with ports of its own. Its machines are 127.0.0.1, 127.0.0.2 and 127.0.0.3.

    Attributes:
        hub: The Hub, whose ``start`` starts everything.
        folder: Where all its files are.
    """

    def __init__(self, folder: Path) -> None:
        """Copy the files."""
        self.folder = folder
        public, traefik, self._health, client, peer = free_ports(5)
        ports = {
            ":8000": f":{public}",
            ":8001": f":{traefik}",
            ":2379": f":{client}",
            "port 8002": f"port {self._health}",
        }
        ports |= {":8002": f":{self._health}", ":2380": f":{peer}", "-f jupyterhub_config.py": "-f for_tests.py"}
        for name, changed in {
            "etcd-ha/run.sh": (),
            "etcd-ha/make-secrets.sh": (),
            "etcd-ha/etcd-users.sh": (),
            "etcd-ha/supervisord.conf": (":8001", ":8002", ":2379", ":2380", "-f jupyterhub_config.py"),
            "etcd-ha/haproxy.cfg": (":8000", ":8001", "port 8002"),
            "etcd-ha/agent_config.py": (":2379",),
            "etcd-ha/jupyterhub_config.py": (":8000", ":2379"),
        }.items():
            install(name, folder, changes={before: ports[before] for before in changed})
        self._etcd = f"https://127.0.0.1:{client}"
        programs = folder / "programs"
        programs.mkdir()
        for name, path in _ETCD.items():
            programs.joinpath(name).symlink_to(str(path))
        self._path = f"{programs}:{_PATH}"
        environment = {
            "PATH": self._path,
            "TRAEFIK_AGENT_TRAEFIK_COMMAND": json.dumps(TRAEFIK_COMMAND),
            "TRAEFIK_AGENT_TRAEFIK_ENV": json.dumps({**MARK, "TTP_TEST_HUB": str(folder)}),
        }
        self.hub = RealHub(
            folder,
            folder / "jupyterhub_config.py",
            f"http://127.0.0.1:{public}",
            environment=environment,
            command=("sh", str(folder / "run.sh")),
        )

    def supervisor(self, *arguments: str) -> str:
        """Run supervisorctl; return what it prints."""
        command = (sys.executable, "-m", "supervisor.supervisorctl", "-c", str(self.folder / "supervisord.conf"))
        done = subprocess.run(
            [*command, *arguments], capture_output=True, text=True, timeout=120, env=os.environ | MARK, check=False
        )
        return done.stdout.strip()

    def etcdctl(self, user: str, *command: str) -> bool:
        """Run etcdctl as one of the users, or as nobody; return whether it may do that."""
        password = self.folder.joinpath("secrets", user).read_text().strip() if user else ""
        variables = {
            "ETCDCTL_API": "3",
            "ETCDCTL_ENDPOINTS": self._etcd,
            "ETCDCTL_CACERT": str(self.folder / "secrets/ca.crt"),
            **({"ETCDCTL_USER": f"{user}:{password}"} if user else {}),
        }
        environment = {"PATH": self._path, **MARK, **variables}
        done = subprocess.run(
            ["etcdctl", *command], capture_output=True, text=True, timeout=30, env=environment, check=False
        )
        refused = "permission denied" in done.stderr or "user name is empty" in done.stderr
        assert refused == (done.returncode != 0), done.stderr
        return not refused

    def pid(self, name: str) -> int:
        """Return the process id of a program; 0 if it does not run."""
        answer = self.supervisor("pid", name)
        return int(answer) if answer.isdigit() else 0

    def traefik_pid(self, number: int) -> int:
        """Return the process id of the Traefik of a replica."""
        record = json.loads((self.folder / f"data/agent{number}/traefik-process.json").read_text())
        return int(record["identity"]["pid"])

    async def kill(self, *names: str) -> None:
        """Kill programs, or the Traefik of a replica (``traefik1``), all at once; return when none of them is there."""
        pids = [self.traefik_pid(int(name[-1])) if name[:-1] == "traefik" else self.pid(name) for name in names]
        assert all(pids), (names, pids)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        await eventually(lambda: not any(map(alive, pids)))

    async def ready(self) -> list[int]:
        """Return which replicas are ready."""
        found = []
        for number in (1, 2, 3):
            with contextlib.suppress(OSError):
                if (await get(f"http://127.0.0.{number}:{self._health}", "/readyz")).status == 200:
                    found.append(number)
        return found

    async def all_ready(self) -> None:
        """Return when all three are."""

        async def three() -> bool:
            return await self.ready() == [1, 2, 3]

        await eventually(three, within=40, what="three replicas being ready")

    async def is_reached(self) -> bool:
        """Whether a user gets the Hub's login page."""
        return (await self.hub.ask("hub/login")).status == 200

    def logs(self) -> str:
        """Return the end of each log."""
        logs = sorted(self.folder.joinpath("data").glob("*.log"))
        return "\n".join(f"--- {log.name}\n{log.read_text(errors='replace')[-2500:]}" for log in logs)


@dataclass
class Use:
    """What users get meanwhile, through HAProxy."""

    requests: int = 0
    failed: list[str] = field(default_factory=list)

    async def go_on(self, hub: RealHub, name: str, pid: int) -> None:
        """Ask the server of a user, one request after the other."""
        while True:
            self.requests += 1
            try:
                answer = await hub.ask(f"user/{name}/x")
                if answer.by != name or answer.seen["pid"] != pid:
                    self.failed.append(f"{answer.status} {answer.body[:200]!r}")
            except (OSError, ValueError) as error:
                self.failed.append(repr(error))
            await asyncio.sleep(0.01)


def _starts(hub: RealHub, said: int) -> bool:
    return "JupyterHub is now running" in hub.log[said:]


@pytest.fixture
async def installed(tmp_path: Path) -> AsyncIterator[Installed]:
    """The example, running, with three replicas that are ready."""
    installed = Installed(tmp_path)
    try:
        async with installed.hub.kept():
            await installed.hub.start()
            await installed.all_ready()
            await eventually(installed.is_reached, what="HAProxy noticing that replicas are ready")
            yield installed
    finally:
        print(installed.logs())


async def test_users_notice_nothing_when_parts_die(installed: Installed) -> None:
    """Nor does the Hub: after each of them, servers are started as before."""
    hub = installed.hub
    person = Person(hub.url, "grace")
    try:
        await person.log_in()
        await person.open("/hub/home")  # JupyterHub 5.2 gives a new cookie there
        await person.wait_for_server()
    finally:
        await person.aclose()
    pid = await hub.server_of("grace")
    assert pid > 0

    use = Use()
    async with meanwhile(*(use.go_on(hub, "grace", pid) for _ in range(2))):
        for number, victims in enumerate(VICTIMS):
            before, said = use.requests, len(hub.log)
            await installed.kill(*victims)
            if victims == ("hub",):
                await eventually(partial(_starts, hub, said), within=60, what="the next Hub")
            assert await hub.start_server(f"user{number}") > 0, victims
            await installed.all_ready()
            assert use.failed == [], victims
            assert use.requests > before
    assert use.failed == []
    assert use.requests > 100


async def test_a_new_version_of_each_replica_cuts_nobody_off(installed: Installed) -> None:
    """As its README says."""
    hub = installed.hub
    pid = await hub.start_server("ada")
    use = Use()
    async with meanwhile(*(use.go_on(hub, "ada", pid) for _ in range(2))):
        for number in (1, 2, 3):
            before = installed.traefik_pid(number)
            await asyncio.to_thread(installed.supervisor, "restart", f"agent:agent{number}")
            await installed.all_ready()
            assert installed.traefik_pid(number) != before
            assert not alive(before)
    assert use.failed == []
    assert use.requests > 100


async def test_the_hub_knows_who_its_users_are(installed: Installed) -> None:
    """Through HAProxy and a replica, whatever they say about themselves."""
    where = urlsplit(installed.hub.url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port, local_addr=("127.0.0.5", 0))
    lines = (f"Host: {where.netloc}", "X-Forwarded-For: 192.0.2.1", "X-Scheme: https", "Connection: close")
    writer.write("\r\n".join(("GET /hub/login?who HTTP/1.1", *lines, "", "")).encode())
    assert b" 200 " in (await within(20 * PATIENCE, reader.read()))[:20]
    writer.close()

    said = await eventually(lambda: re.search(r"200 GET /hub/login\?who \(@(.*?)\)", installed.hub.log))
    assert said[1] == "127.0.0.5"


async def test_etcd_is_for_those_who_have_a_password(installed: Installed) -> None:
    """An agent does not write routes; nobody else reads any, or a password."""
    secrets = installed.folder / "secrets"
    files = [*secrets.iterdir(), installed.folder / "data/supervisor.sock"]
    passwords = [secrets.joinpath(name).read_text().strip() for name in ("root", "hub", "agent")]
    logs = [installed.hub.log, *(log.read_text() for log in installed.folder.glob("data/*.log"))]
    assert len(files) == 10
    assert [file.name for file in files if file.stat().st_mode & 0o077] == []
    assert [log for log in logs if any(password in log for password in passwords)] == []

    route, report = "/jupyterhub/table/routes/x", "/jupyterhub/replicas/x"
    allowed = {
        (user, *command)
        for user in ("hub", "agent", "")
        for command in [("get", route), ("put", route, ""), ("put", report, ""), ("get", "/jupyterhub/leader")]
        if installed.etcdctl(user, *command)
    }
    assert allowed == {
        *(("hub", "get", route), ("hub", "put", route, ""), ("hub", "put", report, "")),
        *(("hub", "get", "/jupyterhub/leader"), ("agent", "get", route), ("agent", "put", report, "")),
    }
