"""What all parts of the profile share: the contenders, their workers, and how they take turns. I/O: by the workers."""

from __future__ import annotations

import contextlib
import random
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from traefik_toml_proxy.conformance.ports import free_ports
from traefik_toml_proxy.conformance.stage import write_certificate

from .contenders import FLOORS, NAMES, OF_ROUTES
from .contenders.base import Settings
from .interpreter import ROOT, Interpreter, other_interpreter, this_interpreter
from .machine import describe_machine, describe_versions
from .programs import find_chp, find_traefik, traefik_version
from .remote import Backend, Remote, WorkerFailed
from .workload import Addresses, Servers


@dataclass(frozen=True)
class Common:
    """What the command line says for all parts.

    Attributes:
        contenders: Which contenders to compare.
        traefik: The Traefik binary; "" to look for it.
        chp: The configurable-http-proxy command; "" to look for it.
        before: A Python with another version of this package, to compare as well; "" for none.
    """

    contenders: tuple[str, ...] = NAMES
    traefik: str = ""
    chp: str = ""
    before: str = ""


@dataclass
class Contestant:
    """A contender with a table of some size: its worker, and its results so far."""

    name: str
    existing: int
    remote: Remote
    most_at_once: int
    result: dict[str, Any] = field(default_factory=dict)

    @property
    def is_up(self) -> bool:
        """Whether its worker still runs."""
        return "failed" not in self.result

    async def ask(self, command: str, **arguments: Any) -> dict[str, Any] | None:
        """Have the worker carry out a command; a failure is recorded and ends it."""
        try:
            return await self.remote.ask(command, **arguments)
        except WorkerFailed as error:
            self.result["failed"] = str(error)
            progress(f"FAILED {error}")
            return None

    @contextlib.contextmanager
    def failures_recorded(self) -> Iterator[None]:
        """Record any exception and go on without this contestant; the others can still be measured."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - whatever it is, it is recorded
            self.result["failed"] = f"{type(error).__name__}: {error}"
            progress(f"FAILED {self.name} with {self.existing} routes: {self.result['failed']}")

    async def start(self) -> dict[str, Any] | None:
        """Start the worker, and have it start its proxy and fill the table."""
        await self.remote.start()
        started = await self.ask("start", fill=True)
        if started is not None:
            progress(
                f"{self.existing} routes: {self.name} started in {started['start_ms']:.0f} ms, "
                f"filled in {started['fill_ms'] / 1000:.1f} s with {started['routes']} routes"
            )
        return started


class Bench:
    """A folder, the servers behind the routes, and the contenders that are installed.

    Args:
        common: What the command line says.
        folder: Where everything is written.
        addresses: The servers behind the routes.
        certificate: The files of a certificate and of its key.

    Attributes:
        described: The ``status`` and ``version`` of each contender that was asked for.
        installed: The contenders that are installed, with the most changes that each is asked for at once.
    """

    def __init__(self, common: Common, folder: Path, addresses: Addresses, certificate: tuple[str, str]) -> None:
        self.common = common
        self.folder = folder
        self.addresses = addresses
        self.certificate = certificate
        self.traefik = find_traefik(common.traefik)
        self.chp = find_chp(common.chp)
        self.described: dict[str, dict[str, str]] = {}
        self.installed: dict[str, int] = {}
        self._folders = 0
        self._interpreters = {"before": other_interpreter(common.before, folder / "before")} if common.before else {}

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(cls, common: Common) -> AsyncIterator[Bench]:
        """Start the servers and find out which contenders are installed; in the end, stop and remove everything."""
        with tempfile.TemporaryDirectory(prefix="benchmark-", ignore_cleanup_errors=True) as folder:
            certificate = write_certificate(Path(folder))
            async with Backend(*certificate) as addresses:
                bench = cls(common, Path(folder), addresses, certificate)
                await bench._describe()
                yield bench

    def new_folder(self, name: str) -> Path:
        """Return a new path for a folder."""
        self._folders += 1
        return self.folder / f"{self._folders}-{name}"

    def contestant(
        self, name: str, existing: int, servers: Servers | None = None, *, tls: bool = False, all_answer: bool = False
    ) -> Contestant:
        """Return a contestant, not started yet.

        Args:
            name: The contender.
            existing: How many routes its table has.
            servers: Where the routes lead; by default, to the quick servers.
            tls: Whether its public entry point is HTTPS.
            all_answer: Whether all routes lead to servers that answer.
        """
        servers = servers or self.addresses.quick
        public_port, api_port = free_ports(2)
        if name == "direct":
            public_port = int((self.addresses.hub_tls if tls else servers.hub).rpartition(":")[2])
        cert_file, key_file = self.certificate
        given = Settings(
            folder=str(self.new_folder(name)),
            public_port=public_port,
            api_port=api_port,
            servers=servers,
            existing=existing,
            traefik=self.traefik,
            chp=self.chp,
            cert_file=cert_file,
            key_file=key_file,
            tls=tls,
            all_answer=all_answer,
        )
        return Contestant(name, existing, Remote(name, given, self.interpreter(name)), self.installed.get(name, 0))

    def interpreter(self, name: str) -> Interpreter:
        """Return the Python that a contender runs in."""
        return self._interpreters.get(name) or this_interpreter()

    def contestants(
        self, sizes: Sequence[int], servers: Servers | None = None, *, tls: bool = False
    ) -> list[Contestant]:
        """Return all installed contenders with tables of all sizes, in which every route leads to a server that answers."""
        return [
            self.contestant(name, existing, servers, tls=tls, all_answer=True)
            for name in self.installed
            if name not in OF_ROUTES
            for existing in ((0,) if name in FLOORS else sizes)
        ]

    async def _describe(self) -> None:
        for name in [*self.common.contenders, *self._interpreters]:
            contestant = self.contestant(name, 0)
            try:
                await contestant.remote.start()
                answer = await contestant.ask("describe")
            finally:
                await contestant.remote.close()
            answer = answer or {"missing": contestant.result["failed"], "version": "", "location": ""}
            if name in self._interpreters and answer["location"] == str(ROOT / "traefik_toml_proxy"):
                answer["missing"] = f"{self.common.before} imports the version of this checkout"
            if not answer["missing"]:
                self.installed[name] = answer["most_at_once"]
            status = f"not installed: {answer['missing']}" if answer["missing"] else "installed"
            if name in self._interpreters and not answer["missing"]:
                status += f" in {answer['location']}"
            self.described[name] = {"status": status, "version": answer["version"]}
            progress(f"{name}: {status} {answer['version']}")

    def about(self) -> dict[str, Any]:
        """Return what is compared, on which machine and in which versions."""
        versions = {name: value["version"] for name, value in self.described.items() if value["version"]}
        return {
            "machine": describe_machine(),
            "versions": {
                **describe_versions(),
                "traefik": traefik_version(self.traefik) if self.traefik else "not installed",
                **versions,
            },
            "contenders": {name: value["status"] for name, value in self.described.items()},
        }


@contextlib.asynccontextmanager
async def started(contestants: Sequence[Contestant], failures: list[str]) -> AsyncIterator[list[Contestant]]:
    """Start contestants one after another, and stop them all in the end.

    Args:
        contestants: The contestants.
        failures: A line for each that failed is appended.

    Yields:
        Those that are up.
    """
    try:
        for contestant in contestants:
            await contestant.start()
        yield [contestant for contestant in contestants if contestant.is_up]
    finally:
        failures += [
            f"{each.name} with {each.existing} routes: {each.result['failed'].splitlines()[0]}"
            for each in contestants
            if not each.is_up
        ]
        for contestant in contestants:
            await contestant.remote.close()


def in_turns(contestants: Sequence[Contestant], rounds: int, what: str) -> Iterator[Contestant]:
    """Yield each contestant that is up once per round, in a random order, and report the progress."""
    order = random.Random(0)
    for turn in range(rounds):
        for contestant in order.sample(contestants, len(contestants)):
            if contestant.is_up:
                yield contestant
        progress(f"{what} {turn + 1}/{rounds}", replaces=turn > 0)


def progress(text: str, *, replaces: bool = False) -> None:
    """Print the progress to standard error; on a terminal it can replace the line before."""
    back = "\x1b[1A\x1b[K" if replaces and sys.stderr.isatty() else ""  # up one line, and clear it
    print(f"{back}{text}", file=sys.stderr, flush=True)
