"""What JupyterHub calls: TraefikProxy and TraefikTomlProxy, and their traits. I/O: makes its folder; the rest is others'."""

from __future__ import annotations

import asyncio
import os
import secrets
import stat
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from jupyterhub.metrics import PROXY_POLL_DURATION_SECONDS
from jupyterhub.proxy import Proxy
from jupyterhub.traitlets import Command
from traitlets import CaselessStrEnum, Dict, Float, Integer, List, Unicode

from . import __version__
from .errors import CommitFailed, ConfigurationError, ProxyError, RouteNotLive, StoreLocked, TraefikStartFailed, shown
from .publisher import RoutePublisher
from .routes import RouteTable, Snapshot
from .stores import Store
from .stores.atomic_file import AtomicFile, to_its_end
from .stores.toml_file import TomlFileStore
from .traefik.certificate import checked_certificate, default_certificate
from .traefik.dynamic import Certificate, DynamicRenderer, DynamicSettings
from .traefik.probe import EntryPointProbe
from .traefik.process import TraefikProcess, check_address
from .traefik.program import child_environment, find_program
from .traefik.static import StaticSettings, check_trusted_proxies, listen_address, reachable_url, static_tree
from .traefik.toml_text import dumps
from .traefik.tree import plain

# Seconds between two looks at the file and at what Traefik serves.
_WATCH_INTERVAL = 1.0
# How long a Traefik that was taken over may need to load the new file before it is replaced by a new one, in seconds.
_ADOPTION_TIMEOUT = 10.0
# get_all_routes lets others run after this many routes.
_ROUTES_AT_ONCE = 500


class TraefikProxy(Proxy):
    """A JupyterHub proxy that routes through Traefik; where the routes are kept is for its subclasses to say."""

    state_dir = Unicode(
        "jupyterhub-traefik",
        config=True,
        help="""
        The folder for what the proxy keeps: Traefik's configuration, its output, a default certificate.

        A relative path starts at the folder that the Hub runs in. Made with permissions for the Hub's user alone (0700).
        Two Hubs need two folders.
        """,
    )
    static_config_file = Unicode(
        "",
        config=True,
        help="""
        Where to write the static configuration of the Traefik that the Hub starts. Default: traefik.toml in state_dir.

        It is overwritten at each start; add to it with extra_static_config. Not written when should_start is False.
        """,
    )
    extra_static_config = Dict(
        config=True,
        help="""
        What to add to Traefik's static configuration, as nested dicts. Merged over the proxy's own; yours wins.

        Example, an access log:

            c.TraefikProxy.extra_static_config = {"accessLog": {"filePath": "/var/log/traefik-access.log"}}
        """,
    )
    extra_dynamic_config = Dict(
        config=True,
        help="""
        What to add to Traefik's dynamic configuration, as nested dicts. Merged over the proxy's own; yours wins.

        Example, a minimum TLS version:

            c.TraefikProxy.extra_dynamic_config = {"tls": {"options": {"default": {"minVersion": "VersionTLS13"}}}}
        """,
    )
    traefik_command = Command(
        minlen=0,
        config=True,
        help="""
        The Traefik program to start, and its first arguments, such as ["/opt/traefik/traefik"].

        Default: `traefik` beside the running Python, else on PATH. Traefik 3.6.2 or newer.
        """,
    )
    traefik_entrypoint = Unicode(
        "",
        config=True,
        help="""
        The name of Traefik's public entry point. Default: "https" when JupyterHub.ssl_cert is set, else "http".

        When should_start is False, set it to the name in your own static configuration.
        """,
    )
    traefik_url = Unicode(
        "",
        config=True,
        help="""
        The URL at which the Hub reaches the public entry point, to see that a route is live: http[s]://host:port.

        Default: made from JupyterHub.bind_url, with loopback for an empty host. When should_start is False and Traefik
        listens elsewhere, set it.
        """,
    )
    traefik_log_level = CaselessStrEnum(
        ["DEBUG", "INFO", "WARN", "ERROR"],
        "ERROR",
        config=True,
        help="""
        What Traefik tells, all of it in the Hub's log: DEBUG, INFO, WARN or ERROR. DEBUG is slow with many routes.
        """,
    )
    traefik_env = Dict(
        key_trait=Unicode(),
        value_trait=Unicode(),
        config=True,
        help="""
        Environment variables for Traefik, such as the credentials of an ACME DNS provider.

        GOGC is 200 unless it is set here: with 100, Go's own default, Traefik takes up to a third less memory, and longer to
        load many routes.

        Of the Hub's own environment it gets only PATH, HOME, LANG and the like: no secrets, no proxy variables.
        """,
    )
    trusted_proxies = List(
        Unicode(),
        config=True,
        help="""
        The addresses or networks of proxies in front of Traefik, such as ["10.0.0.5", "192.168.0.0/16"].

        X-Forwarded-* headers are believed from these alone; from all others they are replaced. Set it when TLS ends in
        front of Traefik, or JupyterHub will take its users' https for http.
        """,
    )
    check_route_timeout = Float(
        30,
        min=1,
        config=True,
        help="""
        Seconds to wait for a changed route to be live before add_route fails (the Hub then stops the user's server).
        """,
    )
    start_timeout = Float(
        30,
        min=1,
        config=True,
        help="""
        Seconds to wait at start for Traefik to serve, before it is ended and the Hub told why.
        """,
    )

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._revision_path = f"/{secrets.token_hex(16)}/revision"
        self._setting_up = asyncio.Lock()
        self._publisher: RoutePublisher | None = None
        self._store: Store | None = None
        self._probe: EntryPointProbe | None = None
        self._process: TraefikProcess | None = None
        self._static_writer: AtomicFile | None = None
        self._state_lock: AtomicFile | None = None
        self._watcher: asyncio.Task[None] | None = None

    # What a subclass says: where the routes are kept.

    def _make_store(self, certificate: Certificate | None) -> Store:
        """Return the store for the routes; not opened."""
        raise NotImplementedError(f"{type(self).__name__} does not say where its routes are kept")

    @property
    def _dynamic_file(self) -> Path:
        """The file that a Traefik started by the Hub watches."""
        raise NotImplementedError(f"{type(self).__name__} does not say where its routes are kept")

    # What JupyterHub calls.

    async def start(self) -> None:
        """Start Traefik, or take over the one that is running; returns when it serves.

        Raises:
            ProxyError: With what happened and what to do; whatever was started has been ended.
        """
        async with self._setting_up:
            try:
                await self._start()
            except BaseException:
                await self._tear_down()
                raise

    async def stop(self) -> None:
        """End Traefik; its files stay. Never raises: the Hub would not end (jupyterhub/app.py:3608-3656)."""
        async with self._setting_up:
            await self._tear_down()

    async def add_route(self, routespec: str, target: str, data: dict[str, Any]) -> None:
        """Route requests for ``routespec`` to ``target``; returns when that is live. Adding the same again does nothing.

        Args:
            routespec: ``[host]/path/``.
            target: ``http[s]://host:port[/path]``.
            data: What JupyterHub wants to know of the route later; JSON.

        Raises:
            ValueError: If the route cannot be served exactly (:class:`~.errors.InvalidRoute`).
            CommitFailed: If it could not be written; nothing has changed.
            RouteNotLive: If it is written, but Traefik does not serve it in time; it stays written.
        """
        routespec = self.validate_routespec(routespec)
        publisher = await self._ready()
        if publisher is None:
            raise ProxyError(f"The proxy has not been started; {shown(routespec)} cannot be added.")
        # As it is now: it is looked at when the changes before this one have been made.
        await publisher.add(routespec, target, dict(data) if isinstance(data, dict) else data)

    async def delete_route(self, routespec: str) -> None:
        """Route nothing for ``routespec`` any more; returns when that is live. Warns if there was no such route.

        Raises:
            ValueError: If it has a host without host routing, or none with it.
            CommitFailed: If it could not be written; the route is still there.
        """
        routespec = self.validate_routespec(routespec)
        publisher = await self._ready()
        if publisher is None:
            # The Hub does this for servers that have ended while it was away (jupyterhub/app.py:3047-3054).
            self.log.debug("No proxy yet that could have a route %s", shown(routespec))
            return
        try:
            there = await publisher.delete(routespec)
        except RouteNotLive as error:
            # Raising would keep the Hub from stopping the user's server (jupyterhub/handlers/base.py:1436-1468).
            self.log.warning("Deleting %s: %s", shown(routespec), error)
        else:
            if not there:
                self.log.warning("There is no route %s to delete", shown(routespec))

    async def get_all_routes(self) -> dict[str, dict[str, Any]]:
        """Return all routes by routespec, as fresh dicts with ``routespec``, ``target`` and ``data``."""
        with PROXY_POLL_DURATION_SECONDS.time():
            publisher = await self._ready()
            routes: dict[str, dict[str, Any]] = {}
            for number, route in enumerate(publisher.table if publisher else (), start=1):
                routes[route.routespec] = route.as_dict()
                if number % _ROUTES_AT_ONCE == 0:
                    await asyncio.sleep(0)
            return routes

    async def get_route(self, routespec: str) -> dict[str, Any] | None:
        """Return the route that was added under ``routespec``, as a fresh dict, or None.

        Raises:
            ValueError: If it has a host without host routing, or none with it.
        """
        routespec = self.validate_routespec(routespec)
        publisher = await self._ready()
        route = publisher.table.get(routespec) if publisher else None
        return route.as_dict() if route else None

    # How it is put together.

    async def _ready(self) -> RoutePublisher | None:
        """Return the publisher; when the Hub does not start Traefik, this is where all begins."""
        if self._publisher is None and not self.should_start:
            async with self._setting_up:
                if self._publisher is None:
                    try:
                        await self._attach()
                    except BaseException:
                        await self._tear_down()
                        raise
        return self._publisher

    async def _attach(self) -> None:
        """Write for a Traefik that somebody else runs; the routes of the last time are still served by it."""
        self._refuse_internal_ssl()
        certificate = None
        if self.ssl_cert:
            certificate = await asyncio.to_thread(checked_certificate, self.ssl_cert, self.ssl_key)
        publisher, previous = await self._open_store(certificate)
        await publisher.begin(previous.table, after_revision=previous.revision)
        self._go(publisher)

    async def _start(self) -> None:
        """Bring up Traefik and the store."""
        self._refuse_internal_ssl()
        # Without symbolic links in its path: Traefik hears only of what is renamed in the folder that it is told.
        settings = self._static_settings(await asyncio.to_thread(self._dynamic_file.resolve))
        environment = child_environment(self.traefik_env)
        program = await find_program(self.traefik_command, environment)
        folder = await asyncio.to_thread(self._make_state_dir)
        self._state_lock = AtomicFile(folder / "traefik", 0o600)
        await to_its_end(self._lock, self._state_lock, folder, "state_dir")
        if self.ssl_cert:
            certificate = await asyncio.to_thread(checked_certificate, self.ssl_cert, self.ssl_key)
        else:
            certificate = await asyncio.to_thread(default_certificate, folder)
        publisher, previous = await self._open_store(certificate)
        static_file = self._path(self.static_config_file) if self.static_config_file else folder / "traefik.toml"
        static = static_tree(settings, program.version)
        static_text = self._static_text(static)
        static_writer = self._static_writer = AtomicFile(static_file, 0o600)
        await to_its_end(self._lock, static_writer, static_file, "static_config_file")
        await static_writer.replace(static_text)
        process = self._process = TraefikProcess(
            program,
            static_file,
            static_text,
            folder=folder,
            environment=environment,
            configured_environment=self.traefik_env,
            ends_with_hub=lambda: bool(getattr(self.app, "cleanup_proxy", True)),
            log=self.log,
        )
        if not await self._take_over(process, publisher, previous):
            await asyncio.to_thread(check_address, str(static["entryPoints"][settings.entry_point]["address"]))
            # Ports are used again: a new Traefik serves only what the Hub says anew.
            await publisher.begin(RouteTable(), after_revision=max(previous.revision, publisher.revision))
            await process.start()
            try:
                await process.while_running(publisher.wait_live(self.start_timeout))
            except RouteNotLive as error:
                raise TraefikStartFailed(str(error), process.last_lines) from error

        async def put_everything_in_place() -> None:
            await asyncio.to_thread(self._make_state_dir)
            await publisher.mend_store()
            await self._mend_static(static_writer, static_text)
            if not self.ssl_cert:
                await asyncio.to_thread(default_certificate, folder)

        process.watch(put_everything_in_place)
        self._go(publisher)
        self.log.info(
            "Traefik %d.%d.%d (process %d) serves %s; routes: %d",
            *program.version,
            process.pid,
            settings.address,
            len(publisher.table),
        )

    async def _mend_static(self, file: AtomicFile, text: bytes) -> None:
        """Write the static configuration again, if somebody else has changed it."""
        damage = await asyncio.to_thread(file.damage)
        if damage is not None:
            self.log.warning("%s %s by somebody else: writing it again", file.path, damage)
            try:
                await file.replace(text)
            except CommitFailed as error:
                self.log.warning("Traefik cannot be started again without it, and it is tried again: %s", error)

    @staticmethod
    def _lock(file: AtomicFile, what: Path, trait: str) -> None:
        """Lock a file (or for a folder, one in it) for this Hub."""
        try:
            file.lock()
        except StoreLocked as error:
            raise StoreLocked(what, error.owner) from None
        except OSError as error:
            raise ConfigurationError(
                f"{what} cannot be used: {error}. c.TraefikProxy.{trait} says where it is."
            ) from error

    def _refuse_internal_ssl(self) -> None:
        if getattr(self.app, "internal_ssl", False):
            raise ConfigurationError(
                "JupyterHub.internal_ssl is not supported by this proxy yet. Set c.JupyterHub.internal_ssl = False, or use "
                "configurable-http-proxy."
            )

    async def _take_over(self, process: TraefikProcess, publisher: RoutePublisher, previous: Snapshot) -> bool:
        """Go on with the Traefik of an earlier Hub, and its routes, so that nobody is cut off."""
        if not await process.adopt():
            return False
        await publisher.begin(previous.table, after_revision=previous.revision)
        try:
            await process.while_running(publisher.wait_live(_ADOPTION_TIMEOUT))
        except (RouteNotLive, TraefikStartFailed) as error:
            # Not every version names the file.
            refused = [line for line in process.last_lines if " ERR " in line and "providerName=file" in line]
            if refused and isinstance(error, RouteNotLive):
                # Nor would a new one take it; the one that runs goes on with the routes that it has.
                await process.leave()
                raise TraefikStartFailed(
                    f"the Traefik that is running refuses {self._dynamic_file}; look at "
                    "c.TraefikProxy.extra_dynamic_config. Users still reach their servers through it.",
                    refused,
                ) from error
            self.log.warning("The running Traefik cannot be taken over, so a new one is started: %s", error)
            await process.stop()
            return False
        return True

    async def _open_store(self, certificate: Certificate | None) -> tuple[RoutePublisher, Snapshot]:
        store = self._store = self._make_store(certificate)
        previous = self._still_wanted(await store.open())
        probe = self._probe = EntryPointProbe(self.traefik_url or reachable_url(self.public_url), self._revision_path)
        return RoutePublisher(store, probe, live_timeout=self.check_route_timeout, log=self.log), previous

    def _still_wanted(self, previous: Snapshot) -> Snapshot:
        """Return the snapshot without routes that JupyterHub could not even delete: host routing was turned on or off."""

        def wanted(routespec: str) -> bool:
            try:
                return bool(self.validate_routespec(routespec))
            except ValueError:
                return False

        return Snapshot(previous.revision, RouteTable(route for route in previous.table if wanted(route.routespec)))

    def _go(self, publisher: RoutePublisher) -> None:
        self._publisher = publisher
        self._watcher = asyncio.create_task(publisher.watch(_WATCH_INTERVAL), name="traefik_toml_proxy watcher")

    async def _tear_down(self) -> None:
        """End everything that was begun, in reverse order; what fails is logged, and the rest goes on."""
        publisher, self._publisher = self._publisher, None
        process, self._process = self._process, None
        probe, self._probe = self._probe, None
        store, self._store = self._store, None
        locks = [self._static_writer, self._state_lock]
        self._static_writer = self._state_lock = None
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.cancel()
            await asyncio.wait([watcher])
        if publisher is not None:
            await self._quietly("writing the routes", publisher.close())
        if process is not None:
            await self._quietly("Traefik", process.stop())
        if probe is not None:
            probe.close()
        if store is not None:
            await self._quietly("the store of the routes", store.close())
        for lock in locks:
            if lock is not None:
                lock.unlock()

    async def _quietly(self, what: str, ending: Coroutine[Any, Any, None]) -> None:
        try:
            await ending
        except Exception:
            self.log.exception("Ending %s failed", what)

    # Traits, as the settings that the rest works with.

    def _path(self, configured: str) -> Path:
        return Path(configured).expanduser().absolute()

    def _make_state_dir(self) -> Path:
        folder = self._path(self.state_dir)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            mode = stat.S_IMODE(folder.stat().st_mode)
        except OSError as error:
            raise ConfigurationError(
                f"The folder {folder} cannot be made: {error.strerror}. c.TraefikProxy.state_dir says where it is."
            ) from error
        if mode & 0o022:
            raise ConfigurationError(
                f"Others than its owner may write into {folder} (mode {mode:o}), and so could change where users are sent. "
                "Run `chmod 700` on it, or choose another one with c.TraefikProxy.state_dir."
            )
        return folder

    @property
    def _entry_point(self) -> str:
        return self.traefik_entrypoint or ("https" if self.ssl_cert else "http")

    def _static_settings(self, dynamic_file: Path) -> StaticSettings:
        return StaticSettings(
            address=listen_address(self.public_url),
            entry_point=self._entry_point,
            tls=bool(self.ssl_cert),
            dynamic_file=str(dynamic_file),
            log_level=self.traefik_log_level,
            trusted_proxies=check_trusted_proxies(tuple(self.trusted_proxies)),
            extra=plain(self.extra_static_config),
        )

    def _static_text(self, tree: dict[str, Any]) -> bytes:
        try:
            return dumps(tree).encode()
        except (ValueError, TypeError) as error:
            raise ConfigurationError(f"extra_static_config cannot be written as TOML: {error}") from error

    def _dynamic_settings(self, certificate: Certificate | None) -> DynamicSettings:
        return DynamicSettings(
            entry_point=self._entry_point,
            revision_path=self._revision_path,
            writer=f"traefik_toml_proxy {__version__} for the JupyterHub in process {os.getpid()}",
            default_certificate=certificate,
            # Our own entry point speaks TLS to all its routers; of another one we cannot know.
            router_tls=bool(self.ssl_cert) and not self.should_start,
            extra=plain(self.extra_dynamic_config),
        )


class TraefikTomlProxy(TraefikProxy):
    """A JupyterHub proxy that routes through Traefik, with the routes in one TOML file that Traefik watches.

    Turn it on with ``c.JupyterHub.proxy_class = "traefik-toml"``.
    """

    dynamic_config_file = Unicode(
        "",
        config=True,
        help="""
        The file with the routes. Default: dynamic.toml in state_dir.

        When should_start is False: the file that your Traefik watches (providers.file.filename), or a file in the folder
        that it watches (providers.file.directory). Its name must end in .toml. Only one Hub may write it.
        """,
    )
    dynamic_config_file_mode = Integer(
        0o600,
        min=0o400,
        max=0o777,
        config=True,
        help="""
        The permissions of the file with the routes; 0o640 lets a Traefik in the Hub's group read it.
        """,
    )

    @property
    def _dynamic_file(self) -> Path:
        path = self._path(self.dynamic_config_file or str(Path(self.state_dir) / "dynamic.toml"))
        if path.suffix != ".toml":
            raise ConfigurationError(
                f"dynamic_config_file is {path}; its name must end in .toml, or Traefik does not load it."
            )
        return path

    def _make_store(self, certificate: Certificate | None) -> Store:
        renderer = DynamicRenderer(self._dynamic_settings(certificate))
        return TomlFileStore(self._dynamic_file, renderer, mode=self.dynamic_config_file_mode, log=self.log)
