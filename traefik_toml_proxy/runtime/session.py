"""Opens a session with Traefik: one that the Hub starts or takes over, or one that somebody else runs. Does I/O."""

from __future__ import annotations

import asyncio
import logging
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError, RouteNotLive, StoreLocked, TraefikStartFailed
from ..files import AtomicFile, LockHeld, OwnerLock, ReplaceFailed, run_to_completion
from ..publisher import RoutePublisher
from ..routes import Route, RouteTable
from ..seams import Store
from ..session import CleanupStack, Session, cleanup_on_error
from ..stores.toml_text import dumps
from ..traefik.dynamic import Certificate
from ..traefik.static import StaticSettings, static_tree
from .certificate import checked_certificate, default_certificate
from .checks import check_address_is_free
from .probe import EntryPointProbe
from .program import child_environment, find_program
from .supervisor import TraefikSupervisor

# How long an adopted Traefik may take to load the new file before it is replaced by a new process, in seconds.
_ADOPTION_TIMEOUT = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishingSettings:
    """How routes are published, whoever runs Traefik.

    Attributes:
        make_store: Makes the store, given the certificate that Traefik is to serve by default, if any.
        check_route: Raises ValueError for a route that this proxy cannot serve.
        url: Where the Hub reaches the public entry point, ``http[s]://host:port``.
        revision_path: The secret path of the revision route.
        live_timeout: Seconds to wait for a change to be live.
        ssl_cert: The admin's certificate for the public entry point, or "".
        ssl_key: Its key; "" if it is in the same file.
    """

    make_store: Callable[[Certificate | None], Store]
    check_route: Callable[[Route], object]
    url: str
    revision_path: str
    live_timeout: float
    ssl_cert: str = ""
    ssl_key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TraefikSettings:
    """The Traefik that the Hub starts.

    Attributes:
        command: The program and its first arguments; empty to look for it.
        environment: The variables that the admin has set.
        state_dir: Where its output, its process record and its default certificate are kept.
        static_file: Where to write its static configuration.
        static: What is in it.
        dynamic_file: The file that it watches.
        start_timeout: Seconds until a Traefik that does not serve is given up.
        ends_with_hub: Whether it is stopped when the Hub exits without stopping its proxy; called then.
    """

    command: Sequence[str]
    environment: Mapping[str, str]
    state_dir: Path
    static_file: Path
    static: StaticSettings
    dynamic_file: Path
    start_timeout: float
    ends_with_hub: Callable[[], bool]


async def open_with_external_traefik(publishing: PublishingSettings, log: logging.Logger) -> Session:
    """Publish to a Traefik that somebody else runs; it still serves the routes of the last session.

    Raises:
        ProxyError: With what happened and what to do.
    """
    async with cleanup_on_error(log) as cleanup:
        certificate = None
        if publishing.ssl_cert:
            certificate = await asyncio.to_thread(checked_certificate, publishing.ssl_cert, publishing.ssl_key)
        publisher, table = await _open_publisher(publishing, certificate, cleanup, log)
        await publisher.begin(table)
        return Session(publisher, cleanup)


async def open_with_own_traefik(
    publishing: PublishingSettings, traefik: TraefikSettings, log: logging.Logger
) -> Session:
    """Start Traefik, or take over the one that an earlier Hub has started; returns when it serves.

    Raises:
        ProxyError: With what happened and what to do; whatever was started has been stopped.
    """
    async with cleanup_on_error(log) as cleanup:
        return await _Start(publishing, traefik, cleanup, log).open()


async def _open_publisher(
    publishing: PublishingSettings, certificate: Certificate | None, cleanup: CleanupStack, log: logging.Logger
) -> tuple[RoutePublisher, RouteTable]:
    """Open the store; return the publisher and the routes of the last session."""
    store = publishing.make_store(certificate)
    cleanup.add("the store", store.close)
    probe = EntryPointProbe(publishing.url, publishing.revision_path)
    cleanup.add("the probe", probe.close)
    publisher = RoutePublisher(
        store, probe, live_timeout=publishing.live_timeout, check_route=publishing.check_route, log=log
    )
    return publisher, await publisher.open()


class _Start:
    """One start of Traefik: what has been opened so far, for the steps that follow."""

    def __init__(
        self, publishing: PublishingSettings, traefik: TraefikSettings, cleanup: CleanupStack, log: logging.Logger
    ) -> None:
        self._publishing = publishing
        self._traefik = traefik
        self._cleanup = cleanup
        self._log = log

    async def open(self) -> Session:
        """Take the steps, in an order in which each finds what it needs."""
        traefik, log = self._traefik, self._log
        environment = child_environment(traefik.environment)
        program = await find_program(traefik.command, environment)
        await self._lock_state_dir()
        certificate = await self._certificate()
        publisher, previous = await _open_publisher(self._publishing, certificate, self._cleanup, log)
        static = static_tree(traefik.static, program.version)
        static_text = _static_text(static)
        static_file = await self._write_static(static_text)
        supervisor = TraefikSupervisor(
            program,
            traefik.static_file,
            static_text,
            folder=traefik.state_dir,
            environment=environment,
            configured_environment=traefik.environment,
            ends_with_hub=traefik.ends_with_hub,
            log=log,
        )
        self._cleanup.add("Traefik", supervisor.stop)
        if not await self._take_over(supervisor, publisher, previous):
            await self._start_new(supervisor, publisher, static["entryPoints"][traefik.static.entry_point]["address"])

        async def prepare_restart() -> None:
            await asyncio.to_thread(_make_state_dir, traefik.state_dir)
            await publisher.repair_store()
            await self._repair_static(static_file, static_text)
            if not self._publishing.ssl_cert:
                await asyncio.to_thread(default_certificate, traefik.state_dir)

        supervisor.watch(prepare_restart)
        log.info(
            "Traefik %d.%d.%d (process %d) serves %s; routes: %d",
            *program.version,
            supervisor.pid,
            traefik.static.address,
            len(publisher.table),
        )
        return Session(publisher, self._cleanup)

    async def _lock_state_dir(self) -> None:
        folder = self._traefik.state_dir
        await asyncio.to_thread(_make_state_dir, folder)
        lock = OwnerLock(folder / "hub.lock")
        self._cleanup.add("the lock of state_dir", lambda: asyncio.to_thread(lock.release))
        await run_to_completion(_lock, lock.acquire, folder, "state_dir")

    async def _certificate(self) -> Certificate:
        """Return the certificate to serve by default; makes one where the admin has none."""
        publishing = self._publishing
        if publishing.ssl_cert:
            return await asyncio.to_thread(checked_certificate, publishing.ssl_cert, publishing.ssl_key)
        return await asyncio.to_thread(default_certificate, self._traefik.state_dir)

    async def _write_static(self, text: bytes) -> AtomicFile:
        file = AtomicFile(self._traefik.static_file, 0o600)
        self._cleanup.add("the static configuration", lambda: asyncio.to_thread(file.unlock))
        await run_to_completion(_lock, file.lock, file.path, "static_config_file")
        try:
            await file.replace(text)
        except ReplaceFailed as error:
            raise ConfigurationError(f"{error}. c.TraefikProxy.static_config_file says where it is.") from error
        return file

    async def _repair_static(self, file: AtomicFile, text: bytes) -> None:
        """Write the static configuration again, if somebody else has changed it."""
        damage = await asyncio.to_thread(file.damage)
        if damage is not None:
            self._log.warning("%s %s by somebody else: writing it again", file.path, damage)
            try:
                await file.replace(text)
            except OSError as error:
                self._log.warning(
                    "Traefik cannot be started without its static configuration; will try again: %s", error
                )

    async def _take_over(self, supervisor: TraefikSupervisor, publisher: RoutePublisher, previous: RouteTable) -> bool:
        """Go on with the Traefik of an earlier Hub and its routes, so that nobody is cut off; returns whether that works."""
        if not await supervisor.adopt():
            return False
        await publisher.begin(previous)
        try:
            await supervisor.while_running(publisher.wait_live(_ADOPTION_TIMEOUT))
        except (RouteNotLive, TraefikStartFailed) as error:
            # Only some versions of Traefik name the file.
            refused = [line for line in supervisor.last_lines if " ERR " in line and "providerName=file" in line]
            if refused and isinstance(error, RouteNotLive):
                # A new Traefik would refuse the file as well; the running one keeps the routes that it has.
                await supervisor.leave()
                raise TraefikStartFailed(
                    f"the Traefik that is running refuses {self._traefik.dynamic_file}; look at "
                    "c.TraefikProxy.extra_dynamic_config. Users still reach their servers through it.",
                    refused,
                ) from error
            self._log.warning("The running Traefik cannot be taken over; starting a new one: %s", error)
            await supervisor.stop()
            return False
        return True

    async def _start_new(self, supervisor: TraefikSupervisor, publisher: RoutePublisher, address: str) -> None:
        await asyncio.to_thread(check_address_is_free, address)
        # Ports are reused: a new Traefik serves only what the Hub has confirmed.
        await publisher.begin(RouteTable())
        await supervisor.start()
        try:
            await supervisor.while_running(publisher.wait_live(self._traefik.start_timeout))
        except RouteNotLive as error:
            raise TraefikStartFailed(str(error), supervisor.last_lines) from error


def _make_state_dir(folder: Path) -> None:
    """Make the folder, for the Hub's user alone. Blocks.

    Raises:
        ConfigurationError: If it cannot be made, or others may write to it.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = stat.S_IMODE(folder.stat().st_mode)
    except OSError as error:
        raise ConfigurationError(
            f"The folder {folder} cannot be made: {error.strerror}. c.TraefikProxy.state_dir says where it is."
        ) from error
    if mode & 0o022:
        raise ConfigurationError(
            f"Others than its owner may write to {folder} (mode {mode:o}), and so could change where users are sent. "
            "Run `chmod 700` on it, or choose another one with c.TraefikProxy.state_dir."
        )


def _static_text(static: Mapping[str, Any]) -> bytes:
    try:
        return dumps(static).encode()
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"extra_static_config cannot be written as TOML: {error}") from error


def _lock(acquire: Callable[[], None], what: Path, trait: str) -> None:
    """Lock a file or folder for this Hub. Blocks."""
    try:
        acquire()
    except LockHeld as error:
        raise StoreLocked(str(what), error.owner, f"give this Hub its own {trait}") from None
    except OSError as error:
        raise ConfigurationError(f"{what} cannot be used: {error}. c.TraefikProxy.{trait} says where it is.") from error
