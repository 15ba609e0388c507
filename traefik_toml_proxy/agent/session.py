"""Runs an agent: its Traefik, its table, its lease and its health. Does I/O, never blocking the event loop."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError
from ..files import run_in_thread, write_private
from ..locks import LockHeld, OwnerLock
from ..runtime.certificate import PairFiles, ServedCertificate, admins_pair, name_to_ask_for, write_served
from ..runtime.program import child_environment, find_program
from ..runtime.renewal import CertificateWatcher
from ..runtime.supervisor import TraefikSupervisor
from ..session import CleanupStack, cleanup_on_error
from ..stores.etcd_gateway import EtcdGateway
from ..stores.etcd_settings import EtcdSettings, tls_context
from ..stores.etcd_table import Head, Keys, Report
from ..stores.toml_document import TomlRenderer
from ..stores.toml_file import TomlFileStore
from ..stores.toml_text import dumps
from ..threads import hold_all, in_thread
from ..traefik.dynamic import DynamicSettings
from ..traefik.static import StaticSettings, most_output, static_tree
from .certificates import default_pair_in_child
from .following import Follower
from .health import HealthServer
from .membership import Membership
from .peers import Peers
from .readiness import Limits, Served, State, Verdict, judge
from .replica import Replica

# Seconds between two rounds of asking the other agents, while etcd does not answer.
_PEERS_SECONDS = 0.3

# Seconds in which a table must have been written, which takes some with many routes.
_WRITE_SECONDS = 15.0

# Seconds to wait until Traefik serves a new certificate.
_LIVE_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """The settings of an agent.

    Attributes:
        etcd: How to reach etcd.
        keys: The keys of the table.
        name: What this replica is called in etcd.
        lease_seconds: How long the Hub waits for this replica after it was last heard of.
        offline_seconds: How long after its start an agent that has not reached etcd serves what is on its disk.
        leave_seconds: How long an agent that is told to end goes on, so that the balancer notices.
        state_dir: The folder for Traefik's files.
        command: The program of Traefik and its first arguments; if empty, it is searched for.
        environment: The environment variables for Traefik that the admin has set.
        static: The settings in Traefik's static configuration.
        url: The URL where this agent reaches the entry point of its Traefik.
        certificate: The admin's certificate, if there is one.
        dynamic: Returns the settings of the dynamic configuration for the tables of one Hub.
        health_host: The address where the agent answers.
        health_port: The port.
        health_url: The URL where other agents reach that; "" if they do not.
    """

    etcd: EtcdSettings
    keys: Keys
    name: str
    lease_seconds: int
    offline_seconds: float
    leave_seconds: float
    state_dir: Path
    command: Sequence[str]
    environment: Mapping[str, str]
    static: StaticSettings
    url: str
    certificate: PairFiles | None
    dynamic: Callable[[Head, ServedCertificate], DynamicSettings]
    health_host: str
    health_port: int
    health_url: str


def revision_name(served: ServedCertificate) -> str:
    """Return what the revision route is called: another certificate gives another name, so that it is known to be loaded."""
    return f"revision-{served.pair.digest}" if served.pair else "revision"


def boot_clock() -> float:
    """Return the seconds since the machine was started, also those for which it was suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Agent:
    """Everything that runs beside one Traefik."""

    def __init__(self, settings: AgentSettings, log: logging.Logger) -> None:
        """Start nothing yet."""
        self._settings = settings
        self._log = log
        self._limits = Limits.of_lease(settings.lease_seconds, settings.offline_seconds)
        self._started = boot_clock()
        self._is_leaving = False
        # When this process was last seen to run, and when it last ran again after it was frozen.
        self._ran = self._started
        self._thawed = self._started
        self._cleanup = CleanupStack(log)
        self._supervisor: TraefikSupervisor | None = None
        gateway = self._gateway = EtcdGateway(settings.etcd)
        served = self._served = ServedCertificate(settings.state_dir / "certificates", 0o600)
        self._replica = Replica(
            lambda renderer: TomlFileStore(
                Path(settings.static.dynamic_file), renderer, mode=0o600, log=log, needs=served.files
            ),
            lambda head: TomlRenderer(settings.dynamic(head, served), writer="the traefik_toml_proxy agent"),
            settings.url,
            revision_name=lambda: revision_name(served),
            server_name=lambda: name_to_ask_for(settings.url, served.current()),
            changed=lambda: self._membership.changed(),
            restart=self._replace_traefik,
            log=log,
        )
        self._peers = Peers(
            gateway,
            settings.keys,
            settings.name,
            lease_seconds=settings.lease_seconds,
            limits=self._limits,
            clock=boot_clock,
            log=log,
        )
        self._follower = Follower(gateway, settings.keys, self._replica.offer, log)
        self._membership = Membership(
            gateway,
            settings.keys.replica(settings.name),
            settings.keys,
            lease_seconds=settings.lease_seconds,
            clock=boot_clock,
            report=self._report,
            serves=lambda: self._replica.serves,
            compare=self._follower.compare,
            withdraws=self._serves_nobody,
            peers=self._peers,
            log=log,
        )

    def verdict(self) -> Verdict:
        """Return whether this replica may get requests, and why."""
        return judge(self._state(), self._limits, boot_clock())

    def _state(self) -> State:
        membership, renewed = self._membership, self._membership.renewed
        is_frozen = boot_clock() - self._ran > self._limits.oldest
        return State(
            started=self._started,
            renewed=renewed,
            serves=self._replica.serves,
            has_routes=self._replica.has_routes,
            required=membership.required,
            is_member=membership.is_member,
            is_replaced=membership.is_replaced,
            has_withdrawn=membership.has_withdrawn,
            is_leaving=self._is_leaving,
            is_stuck=self._stuck_since is not None,
            was_frozen=is_frozen or (renewed is not None and self._thawed > renewed),
            peers={name: self._peers.answers.get(name) for name in self._known_peers},
        )

    @property
    def _known_peers(self) -> Mapping[str, str]:
        return self._peers.remembered if self._membership.renewed is None else self._peers.urls

    @property
    def _peers_file(self) -> Path:
        return self._settings.state_dir / "other-agents.json"

    @property
    def _stuck_since(self) -> float | None:
        """Since when this replica has had nothing but old routes, as with a full disk, while others serve later ones."""
        unwritten, behind = self._replica.unwritten_since, self._membership.behind_since
        if unwritten is None or behind is None:
            return None
        since = max(unwritten + _WRITE_SECONDS, behind)
        return since if time.monotonic() >= since else None

    def _serves_nobody(self) -> bool:
        """Whether others serve, and the balancer has had the time to notice that this one does not serve the routes."""
        stuck, silent = self._stuck_since, self._replica.silent_since
        since = silent if silent is not None and self._peers.urls else stuck
        return since is not None and time.monotonic() - since > self._settings.leave_seconds

    def _report(self, serves: Served | None) -> Report:
        return Report(
            serves.revision if serves else None,
            serves.secret if serves else "",
            self._settings.health_url,
            self.verdict().ready,
        )

    def _health(self) -> Mapping[str, Any]:
        verdict, serves, renewed = self.verdict(), self._replica.serves, self._membership.renewed
        return {
            "ready": verdict.ready,
            "reason": verdict.reason,
            "revision": serves.revision if serves else None,
            "age": None if renewed is None else boot_clock() - renewed,
        }

    async def start(self) -> None:
        """Start everything; return when Traefik runs, which is before it is ready.

        Raises:
            ProxyError: If it cannot; everything started has been stopped again.
        """
        async with cleanup_on_error(self._log) as cleanup:
            self._cleanup = cleanup
            await self._start(cleanup)

    async def _start(self, cleanup: CleanupStack) -> None:
        settings = self._settings
        cleanup.add("the threads", hold_all())
        environment = child_environment(settings.environment)
        program = await find_program(settings.command, environment)
        lock = OwnerLock(settings.state_dir / "agent.lock")
        cleanup.add("the lock of state_dir", lambda: in_thread(lock.release))
        await run_in_thread(self._prepare, lock)
        cleanup.add("the client of etcd", self._gateway.close)
        cleanup.add("the file with the routes", self._replica.close)
        await self._replica.open(Head(0, f"/{secrets.token_hex(16)}", 0, ""))
        static = static_tree(settings.static, program.version)
        static_file, text = settings.state_dir / "traefik.toml", dumps(static).encode()
        await run_in_thread(write_private, static_file, text)
        supervisor = self._supervisor = TraefikSupervisor(
            program,
            static_file,
            text,
            folder=settings.state_dir,
            environment=environment,
            configured_environment=settings.environment,
            ends_with_hub=lambda: True,
            log=self._log,
            most_output=most_output(static),
        )
        health = HealthServer(settings.health_host, settings.health_port, self._health)
        cleanup.add("the health server", health.close)
        await health.start()
        cleanup.add("Traefik", supervisor.stop)
        await self._start_traefik(supervisor)

        async def prepare_restart() -> None:
            await self._let_others_take_over()
            await run_in_thread(write_private, static_file, text)

        supervisor.watch(prepare_restart)
        cleanup.add("the lease", self._membership.leave)
        for name, work in (
            ("replica", self._replica.run()),
            ("follower", self._follower.run()),
            ("lease", self._membership.run()),
            ("watch of peers", self._peers.watch()),
            ("peers", self._ask_peers()),
            ("certificate", self._certificates()),
        ):
            cleanup.add_task(asyncio.create_task(work, name=f"traefik_toml_proxy {name}"))

    async def _start_traefik(self, supervisor: TraefikSupervisor) -> None:
        """Take over the Traefik of an earlier agent, or start one: not at once where one has just died with its agent."""
        was_left = await supervisor.was_left()
        if await supervisor.adopt():
            return
        if was_left:
            await self._peers.ask(None)
            if any(self._peers.answers.values()):
                await self._let_the_balancer_notice()
        await supervisor.start()

    def _prepare(self, lock: OwnerLock) -> None:
        """Make and lock the folder, and write the certificate. Blocks."""
        settings, served = self._settings, self._served
        try:
            settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock.acquire()
        except LockHeld as error:
            raise ConfigurationError(f"{settings.state_dir} is used by another agent ({error.owner}).") from None
        except OSError as error:
            raise ConfigurationError(f"{settings.state_dir} cannot be used: {error}. state_dir sets it.") from error
        certificate = settings.certificate
        self._peers.recall(self._peers_file)
        tls_context(settings.etcd)  # here, a file that cannot be used ends the agent
        served.use(admins_pair(certificate) if certificate else default_pair_in_child(settings.state_dir))
        write_served(served)

    async def _certificates(self) -> None:
        """Serve the admin's certificate anew whenever its files have changed, as the Hub does with one Traefik."""
        await CertificateWatcher(
            self._settings.certificate,
            self._served,
            self._replica,
            self._replica.ask_anew,
            live_timeout=_LIVE_SECONDS,
            log=self._log,
        ).run()

    async def _ask_peers(self) -> None:
        """While etcd does not answer, find out whether it answers others; also notice that this process was frozen."""
        while True:
            await asyncio.sleep(min(_PEERS_SECONDS, self._limits.fresh / 4))
            now, renewed = boot_clock(), self._membership.renewed
            if now - self._ran > self._limits.oldest:
                self._thawed = now
            self._ran = now
            were_heard = self._peers.are_heard()
            await self._peers.ask(None if renewed is None else now - renewed)
            await self._peers.remember(self._peers_file)
            if not were_heard and self._peers.are_heard():
                self._membership.changed()

    async def _let_others_take_over(self) -> None:
        """Say that Traefik has ended, and give the balancer time to notice if others serve."""
        self._replica.has_ended()
        if self._peers.urls:
            await self._let_the_balancer_notice()

    async def _let_the_balancer_notice(self) -> None:
        """Give it time: a new Traefik answers 404 until it has loaded its file."""
        self._log.info("Others serve the routes: Traefik is started in %g s", self._settings.leave_seconds)
        await asyncio.sleep(self._settings.leave_seconds)

    async def _replace_traefik(self) -> None:
        """Have a Traefik replaced that has stopped loading routes, once nobody is sent to it any more."""
        await self._let_others_take_over()
        if self._supervisor is not None:
            await self._supervisor.replace("")

    async def leave(self) -> None:
        """Be ready no longer, and go on serving until the balancer has noticed."""
        self._is_leaving = True
        self._membership.changed()
        await asyncio.sleep(self._settings.leave_seconds)

    async def close(self) -> None:
        """Stop everything. May be called twice."""
        await self._cleanup.run()
