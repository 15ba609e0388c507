"""TraefikTomlProxy: keeps the routes in one TOML file that Traefik watches. Its session does the I/O."""

from __future__ import annotations

import asyncio
import functools
import os
from dataclasses import replace
from pathlib import Path

from traitlets import Integer, Unicode

from .._version import __version__
from ..errors import ConfigurationError
from ..routes import Route
from ..runtime.certificate import ServedCertificate
from ..runtime.diagnosis import Watched
from ..runtime.looks import find
from ..runtime.program import Program
from ..runtime.session import open_with_external_traefik, open_with_managed_traefik
from ..seams import Store
from ..session import Session
from ..stores.toml_document import TomlRenderer
from ..stores.toml_file import TomlFileStore
from ..threads import NAMES
from ..traefik.static import check_trusted_proxies
from .examination import Examination
from .sharing import SharingSettings
from .traefik import TraefikProxy
from .transports import watched_transports
from .values import absolute, group_id, without_options


class TraefikTomlProxy(TraefikProxy):
    """A JupyterHub proxy that uses Traefik, and keeps the routes in one TOML file that Traefik watches.

    Enable it with ``c.JupyterHub.proxy_class = "traefik-toml"``.
    """

    dynamic_config_file = Unicode(
        "",
        config=True,
        help="""
        The file with the routes. Default: dynamic.toml in state_dir.

        The name must end in .toml, and each Hub needs its own file. When should_start is False, it must be the file that
        your Traefik watches (providers.file.filename), or a file in the folder that it watches (providers.file.directory).
        """,
    )
    watched_folder = Unicode(
        "",
        config=True,
        help="""
        The folder that your Traefik watches (providers.file.directory), if dynamic_config_file is in a folder inside it,
        such as one for each Hub. Default: the folder of dynamic_config_file.

        Traefik reads the files in such folders, but does not notice when they change, so the proxy touches the folder after
        each change. Used only when should_start is False.
        """,
    )
    dynamic_config_file_mode = Integer(
        0o600,
        min=0o400,
        max=0o777,
        config=True,
        help="""
        The permissions of the file with the routes. With 0o640, a Traefik that runs in the Hub's group can read it.

        With JupyterHub.internal_ssl, the file also contains the key that Traefik shows to users' servers, so all others must
        not have access.

        When should_start is False and JupyterHub.ssl_cert is set, the copies of the certificate and the key that Traefik
        reads are readable by the group as well if this file is, but never by others.
        """,
    )
    dynamic_config_file_group = Unicode(
        "",
        config=True,
        help="""
        The group that can read the file with the routes: its name, or its number. Default: only the Hub's user can.

        Set it if your Traefik runs as another user, to a group that this user is in. The Hub's user must be in it as well,
        unless that is root. The file gets this group, and at least the mode 0640. So do the copies of the certificate and
        its key when should_start is False and JupyterHub.ssl_cert is set, and the group can read the folders with new
        versions and copies, which are beside the file. If the folder of the file is already there, let the group read it:

            chgrp traefik /etc/traefik/dynamic && chmod g+rx /etc/traefik/dynamic
        """,
    )

    # The number of that group, from the start of the session on.
    _group: int | None = None

    async def _open_session(self) -> Session:
        self._group = await NAMES.run(group_id, self.dynamic_config_file_group)
        publishing = self._publishing_settings(self._make_store, self._copies, self._copies_mode)
        if self.should_start:
            return await open_with_managed_traefik(
                publishing, await self._traefik_settings(self._dynamic_file), self.log
            )
        settings = replace(publishing, watched=self._watched, copies_group=self._group)
        return await open_with_external_traefik(settings, self.log)

    def _make_store(self, served: ServedCertificate) -> Store:
        return TomlFileStore(
            self._dynamic_file,
            self._renderer(served),
            mode=self._mode,
            group=self._group,
            log=self.log,
            needs=served.files,
            watched=self._folder_of_others,
        )

    @property
    def _folder_of_others(self) -> Path | None:
        return absolute(self.watched_folder) if self.watched_folder and not self.should_start else None

    @property
    def _watched(self) -> Watched:
        anywhere = f"{self._secret_path}/anywhere"
        namespace = self._sharing.names.namespace
        return Watched(self._dynamic_file, self._entry_point, anywhere, self._folder_of_others, namespace)

    def _renderer(self, served: ServedCertificate) -> TomlRenderer:
        """Return what makes the text of the file.

        Raises:
            ConfigurationError: If a setting cannot be used.
        """
        if getattr(self.app, "internal_ssl", False) and self.dynamic_config_file_mode & 0o007:
            raise ConfigurationError(
                f"dynamic_config_file_mode is {self.dynamic_config_file_mode:#o}, but with JupyterHub.internal_ssl the file "
                "contains a key, which others must not read. Use 0o640 or 0o600."
            )
        writer = f"traefik_toml_proxy {__version__} for the JupyterHub in process {os.getpid()}"
        return TomlRenderer(self._dynamic_settings(served), writer=writer)

    def examination(self) -> Examination:
        """Return what the doctor looks at. It starts nothing, and works before and after :meth:`start`."""
        app, https = self.app, self._https
        outside = getattr(app, "public_url", "") or getattr(app, "subdomain_host", "")
        return Examination(
            should_start=self.should_start,
            state_dir=absolute(self.state_dir),
            configured_state_dir=self.state_dir,
            dynamic_file=lambda: self._dynamic_file,
            traefik=lambda: asyncio.run(self._traefik_settings(self._dynamic_file)),
            # Asked for once: it runs the program.
            program=functools.cache(self._find_program),
            check_extra_routes=self._check_extra_routes,
            renderer=self._examined_renderer,
            group=lambda: group_id(self.dynamic_config_file_group),
            configured_group=self.dynamic_config_file_group,
            copies=lambda: self._copies,
            read_transports=self._read_transports,
            url=lambda: self._reachable_url,
            watched=lambda: self._watched,
            entry_point=self._entry_point,
            certificate=https.files,
            https=https.enabled,
            domains=https.letsencrypt_domains if self.should_start else (),
            trusted_proxies=lambda: check_trusted_proxies(tuple(self.trusted_proxies)),
            trusted_downstream=tuple(getattr(app, "trusted_downstream_ips", ())),
            https_outside=outside.startswith("https:"),
            secret_path=self._secret_path,
            config={section: dict(settings) for section, settings in self.config.items() if isinstance(settings, dict)},
            own_classes=frozenset(cls.__name__ for cls in type(self).__mro__),
        )

    def _find_program(self) -> Program:
        return find(without_options(self.traefik_command), self.traefik_env)

    def _examined_renderer(self, served: ServedCertificate) -> TomlRenderer:
        group_id(self.dynamic_config_file_group)
        self._sharing = SharingSettings.of(self, self._entry_point)
        return self._renderer(served)

    def _check_extra_routes(self) -> None:
        self._sharing = SharingSettings.of(self, self._entry_point)
        for routespec, target in self.extra_routes.items():
            self._check_route(Route.checked(self.validate_routespec(routespec), target, {"extra": True}))

    def _read_transports(self) -> None:
        """Read the certificates for https targets, for an examination."""
        if getattr(self.app, "internal_ssl", False) and "proxy-client" not in self.app.internal_proxy_certs:
            return  # the Hub makes them when it starts for the first time
        self._transports = watched_transports(self.app, self.extra_routes_ca, "c.TraefikProxy.extra_routes_ca")
        self._transports.read()

    @property
    def _mode(self) -> int:
        return self.dynamic_config_file_mode | (0o040 if self.dynamic_config_file_group else 0)

    @property
    def _copies(self) -> Path:
        if self.should_start:
            return absolute(self.state_dir) / "certificates"
        # Beside the file, because that is a place where that Traefik may read. It ignores files that end in .pem.
        return self._dynamic_file.with_name(self._dynamic_file.name + ".certificates")

    @property
    def _copies_mode(self) -> int:
        # Those who may read the routes through the file's group need the key as well. It is never for everybody.
        return 0o600 if self.should_start else 0o600 | self._mode & 0o040

    @property
    def _dynamic_file(self) -> Path:
        path = absolute(self.dynamic_config_file or str(Path(self.state_dir) / "dynamic.toml"))
        if path.suffix != ".toml":
            raise ConfigurationError(
                f"dynamic_config_file is {path}; its name must end in .toml, or Traefik will not load it."
            )
        return path
