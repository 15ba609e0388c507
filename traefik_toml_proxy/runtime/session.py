"""Opens a session with Traefik, which the Hub starts or takes over, or which runs independently of it. Does I/O."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError, RouteNotLive, TraefikStartFailed
from ..files import make_private
from ..publisher import RoutePublisher
from ..routes import Route, RouteTable
from ..seams import NO_METRICS, Activity, LiveCheck, Metrics, Store
from ..session import CleanupStack, Session, cleanup_on_error
from ..stores.toml_text import dumps
from ..tasks import LoggedOnce
from ..threads import hold_all, in_thread
from ..traefik.failures import logs_failures
from ..traefik.static import StaticSettings, most_output, static_tree
from ..watcher import Restart
from .activity import ConnectionActivity
from .certificate import PairFiles, ServedCertificate, admins_pair, default_pair, name_to_ask_for, write_served
from .checks import check_address, disabled_routers, explain_output, listens_on_ipv6_too, rejections
from .diagnosis import DiagnosingCheck, Watched
from .failures import FailureLog
from .probe import EntryPointProbe, ask_anew
from .program import child_environment, find_program
from .renewal import CertificateWatcher
from .state_folder import StateFolder
from .supervisor import TraefikSupervisor
from .transport_files import WatchedTransports

# Seconds to wait for an adopted Traefik to load the new file before starting a new process instead.
_ADOPTION_TIMEOUT = 10.0
# Seconds between two looks at the files that the next start of Traefik, or of the Hub, needs.
_FILES_INTERVAL = 2.0
# For how many seconds a new Traefik may answer nothing but, for example, 401, before the start fails.
_REFUSED_SECONDS = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishingSettings:
    """How routes are published, whether or not the Hub starts Traefik.

    Attributes:
        make_store: Makes the store, given what Traefik serves by default: each commit names it, after its files are written.
        check_route: Raises ValueError for a route that this proxy cannot serve.
        url: The URL where the Hub reaches the public entry point, ``http[s]://host:port``.
        revision_path: The secret path of the revision route.
        live_timeout: Seconds to wait for a change to become live.
        activity_interval: Seconds between two looks at when users were last seen; None not to look.
        transports: How Traefik connects to https targets, which the store writes; not read yet.
        certificate: The admin's certificate for the public entry point, if there is one.
        copies: The folder for the copies of certificates, which Traefik reads.
        copies_mode: The permissions of these copies.
        copies_group: The id of their group; None for the one that the system gives them.
        metrics: Is told what goes on.
        watched: What a Traefik that others run is to do; None if the Hub runs it.
    """

    make_store: Callable[[ServedCertificate], Store]
    check_route: Callable[[Route], object]
    url: str
    revision_path: str
    live_timeout: float
    activity_interval: float | None
    transports: WatchedTransports
    certificate: PairFiles | None
    copies: Path
    copies_mode: int
    copies_group: int | None = None
    metrics: Metrics = NO_METRICS
    watched: Watched | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TraefikSettings:
    """The settings of a Traefik that the Hub starts.

    Attributes:
        command: The program and its first arguments; if empty, the program is searched for.
        environment: The environment variables that the admin has set.
        state_dir: The folder for the output, the process record and the default certificate.
        static_file: The file to which the static configuration is written.
        static: The settings in the static configuration.
        error_path: The secret path that begins the paths of all error pages.
        front_router: What the names of the front routers begin with.
        dynamic_file: The dynamic configuration file that Traefik watches.
        start_timeout: Seconds to wait until Traefik serves requests.
        ends_with_hub: Called when the Hub exits without stopping its proxy; returns whether to stop Traefik.
    """

    command: Sequence[str]
    environment: Mapping[str, str]
    state_dir: Path
    static_file: Path
    static: StaticSettings
    error_path: str
    front_router: str
    dynamic_file: Path
    start_timeout: float
    ends_with_hub: Callable[[], bool]


async def open_with_external_traefik(publishing: PublishingSettings, log: logging.Logger) -> Session:
    """Open a session with a Traefik that the Hub does not start, and publish the routes of the last session.

    Raises:
        ProxyError: If that fails; the message says what to do.
    """
    async with cleanup_on_error(log) as cleanup:
        cleanup.add("the threads", hold_all())
        served = await in_thread(_serve_certificate, publishing, None)
        publisher, table = await _open_publisher(publishing, served, cleanup, log)
        await publisher.begin(table)
        log.info("A Traefik that others run is to serve %s; routes: %d", publishing.url, len(table))
        return _begin_session(publishing, served, publisher, cleanup, log)


async def open_with_managed_traefik(
    publishing: PublishingSettings, traefik: TraefikSettings, log: logging.Logger
) -> Session:
    """Start Traefik, or take over the one that an earlier Hub started; return when it serves requests.

    Raises:
        ProxyError: If that fails; everything started has been stopped again. The message says what to do.
    """
    async with cleanup_on_error(log) as cleanup:
        cleanup.add("the threads", hold_all())
        return await _Start(publishing, traefik, cleanup, log).open()


async def _open_publisher(
    publishing: PublishingSettings, served: ServedCertificate, cleanup: CleanupStack, log: logging.Logger
) -> tuple[RoutePublisher, RouteTable]:
    """Open the store; return the publisher and the routes of the last session."""
    await in_thread(publishing.transports.read)
    store = publishing.make_store(served)
    cleanup.add("the store", store.close)
    name = _server_name(publishing, served)
    probe: LiveCheck = EntryPointProbe(publishing.url, publishing.revision_path, server_name=name)
    if publishing.watched is not None:
        probe = DiagnosingCheck(probe, publishing.url, publishing.watched, server_name=name)
    cleanup.add("the probe", probe.close)
    publisher = RoutePublisher(
        store,
        probe,
        live_timeout=publishing.live_timeout,
        check_route=publishing.check_route,
        log=log,
        metrics=publishing.metrics,
    )
    return publisher, await publisher.open()


def _server_name(publishing: PublishingSettings, served: ServedCertificate) -> Callable[[], str | None]:
    return lambda: name_to_ask_for(publishing.url, served.current())


def _serve_certificate(publishing: PublishingSettings, default_folder: Path | None) -> ServedCertificate:
    """Return the certificate to serve by default: the admin's, or a self-signed one, or none; its files are written. Blocks.

    Args:
        publishing: Has the admin's.
        default_folder: Where the self-signed one is kept; None if there is to be none.

    Raises:
        ConfigurationError: If it cannot be used.
    """
    served = ServedCertificate(publishing.copies, publishing.copies_mode, publishing.copies_group)
    if publishing.certificate is not None:
        served.use(admins_pair(publishing.certificate))
    elif default_folder is not None:
        served.use(default_pair(default_folder))
    write_served(served)
    return served


def _begin_session(
    publishing: PublishingSettings,
    served: ServedCertificate,
    publisher: RoutePublisher,
    cleanup: CleanupStack,
    log: logging.Logger,
    restart: Restart | None = None,
) -> Session:
    """Return the session, which watches all that may change from now on."""
    activity = _watch_activity(publishing, publisher, cleanup, log)
    session = Session(publisher, cleanup, activity=activity, restart=restart)
    publishing.transports.watch(publisher, cleanup, log, publishing.metrics)
    _watch_certificate(publishing, served, publisher, cleanup, log)
    return session


def _watch_certificate(
    publishing: PublishingSettings,
    served: ServedCertificate,
    publisher: RoutePublisher,
    cleanup: CleanupStack,
    log: logging.Logger,
) -> None:
    watcher = CertificateWatcher(
        publishing.certificate,
        served,
        publisher,
        functools.partial(ask_anew, publishing.url, publishing.revision_path, _server_name(publishing, served)),
        live_timeout=publishing.live_timeout,
        log=log,
        metrics=publishing.metrics,
    )
    cleanup.add_task(asyncio.create_task(watcher.run(), name="traefik_toml_proxy certificate"))


def _watch_activity(
    publishing: PublishingSettings, publisher: RoutePublisher, cleanup: CleanupStack, log: logging.Logger
) -> Activity | None:
    """Look at when users were last seen from now on, unless that is turned off."""
    if publishing.activity_interval is None:
        return None
    activity = ConnectionActivity(publisher, publishing.url, interval=publishing.activity_interval, log=log)
    cleanup.add_task(asyncio.create_task(activity.watch(), name="traefik_toml_proxy activity"))
    return activity


class _Start:
    """The steps of starting Traefik, or of taking it over, and what they share."""

    def __init__(
        self, publishing: PublishingSettings, traefik: TraefikSettings, cleanup: CleanupStack, log: logging.Logger
    ) -> None:
        self._publishing = publishing
        self._traefik = traefik
        self._cleanup = cleanup
        self._log = log

    async def open(self) -> Session:
        """Take all steps; return when Traefik serves requests."""
        traefik, log = self._traefik, self._log
        environment = child_environment(traefik.environment)
        program = await find_program(traefik.command, environment)
        folder = StateFolder(traefik.state_dir, log)
        self._cleanup.add("the lock of state_dir", folder.close)
        await folder.open()
        served = await in_thread(_serve_certificate, self._publishing, traefik.state_dir)
        publisher, previous = await _open_publisher(self._publishing, served, self._cleanup, log)
        static = static_tree(traefik.static, program.version)
        static_text = _static_text(static)
        await folder.write_static(traefik.static_file, static_text)
        if traefik.static.acme:
            await in_thread(make_private, Path(traefik.static.acme.storage))
        metrics = self._publishing.metrics
        failures = FailureLog(traefik.error_path, lambda: publisher.table, log, metrics=metrics)
        self._cleanup.add("the log of failed targets", failures.close)
        supervisor = TraefikSupervisor(
            program,
            traefik.static_file,
            static_text,
            folder=traefik.state_dir,
            environment=environment,
            configured_environment=traefik.environment,
            ends_with_hub=traefik.ends_with_hub,
            log=log,
            is_taken=failures.take if logs_failures(traefik.static.extra) else None,
            most_output=most_output(static),
            metrics=metrics,
        )
        self._cleanup.add("Traefik", supervisor.stop)
        if not await self._take_over(supervisor, publisher, previous):
            await self._start_new(supervisor, publisher, static["entryPoints"])
        _check_front_routers(supervisor.last_lines, traefik.front_router)
        self._look_after(supervisor, publisher, folder)
        log.info(
            "Traefik %d.%d.%d (process %d) serves %s; routes: %d",
            *program.version,
            supervisor.pid,
            traefik.static.address,
            len(publisher.table),
        )
        return _begin_session(self._publishing, served, publisher, self._cleanup, log, supervisor.replace)

    def _look_after(self, supervisor: TraefikSupervisor, publisher: RoutePublisher, folder: StateFolder) -> None:
        """Restart Traefik whenever it exits, and repair the files that it needs."""

        async def prepare_restart() -> None:
            await publisher.repair_store()
            await folder.repair()

        supervisor.watch(prepare_restart)
        keeping = _keep_files(folder, supervisor, self._log)
        self._cleanup.add_task(asyncio.create_task(keeping, name="traefik_toml_proxy files"))

    async def _take_over(self, supervisor: TraefikSupervisor, publisher: RoutePublisher, previous: RouteTable) -> bool:
        """Take over the Traefik and the routes of an earlier Hub without an interruption; return whether that worked."""
        if not await supervisor.adopt():
            return False
        await publisher.begin(previous)
        try:
            await supervisor.while_running(publisher.wait_live(_ADOPTION_TIMEOUT))
        except (RouteNotLive, TraefikStartFailed) as error:
            rejected = rejections(supervisor.last_lines)
            if rejected and isinstance(error, RouteNotLive):
                # A new Traefik would reject the file, too; the running one keeps its current routes.
                await supervisor.detach()
                raise TraefikStartFailed(
                    f"the running Traefik rejects {self._traefik.dynamic_file}; check "
                    "c.TraefikProxy.extra_dynamic_config. Users can still reach their servers through it.",
                    rejected,
                ) from error
            # The last lines of its output are in the log already.
            reason = error.reason if isinstance(error, TraefikStartFailed) else error
            self._log.warning("The running Traefik cannot be taken over; starting a new one: %s", reason)
            await supervisor.stop()
            return False
        return True

    async def _check_address(self, address: str) -> None:
        await in_thread(check_address, address)
        if await in_thread(listens_on_ipv6_too, address):
            self._log.warning(
                "Traefik listens on all IPv6 addresses as well, not only on %s, unlike configurable-http-proxy. To prevent "
                "that, close the port for IPv6 in the firewall, or name one IPv4 address in c.JupyterHub.bind_url",
                address,
            )

    async def _start_new(
        self, supervisor: TraefikSupervisor, publisher: RoutePublisher, entry_points: Mapping[str, Any]
    ) -> None:
        for name in (self._traefik.static.entry_point, self._traefik.static.redirect_entry_point):
            if name in entry_points:
                await self._check_address(entry_points[name]["address"])
        # Start without routes: ports may be reused by now, so the Hub has to confirm each route first.
        await publisher.begin(RouteTable())
        await supervisor.start()
        try:
            await supervisor.while_running(
                publisher.wait_live(self._traefik.start_timeout, if_refused=_REFUSED_SECONDS)
            )
        except RouteNotLive as error:
            lines = supervisor.last_lines
            reason = await in_thread(explain_output, lines)
            raise TraefikStartFailed(reason or str(error), lines) from error


async def _keep_files(folder: StateFolder, supervisor: TraefikSupervisor, log: logging.Logger) -> None:
    """Make files again that others have deleted or changed: the next start needs them. Never returns."""
    errors = LoggedOnce("Looking at the files of the proxy", log)
    while True:
        await asyncio.sleep(_FILES_INTERVAL)
        with errors:
            await folder.repair()
            await supervisor.keep_record()


def _check_front_routers(lines: list[str], front_router: str) -> None:
    """Check that Traefik can use the front routers; otherwise it would answer all requests with 404.

    Raises:
        TraefikStartFailed: If its output says that it cannot.
    """
    disabled = disabled_routers(lines, front_router)
    if disabled:
        raise TraefikStartFailed(
            "it cannot use all middlewares and other settings for the routes; check c.TraefikProxy.route_middlewares, and "
            "what c.TraefikProxy.extra_dynamic_config has for the front routers.",
            disabled,
        )


def _static_text(static: Mapping[str, Any]) -> bytes:
    try:
        return dumps(static).encode()
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"extra_static_config cannot be written as TOML: {error}") from error
