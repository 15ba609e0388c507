"""TraefikTomlProxy: keeps the routes in one TOML file that Traefik watches. Its session does the I/O."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from traitlets import Integer, Unicode

from .._version import __version__
from ..errors import ConfigurationError
from ..runtime.certificate import ServedCertificate
from ..runtime.session import open_with_external_traefik, open_with_managed_traefik
from ..seams import Store
from ..session import Session
from ..stores.toml_document import TomlRenderer
from ..stores.toml_file import TomlFileStore
from ..threads import NAMES
from .traefik import TraefikProxy
from .values import absolute, group_id


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
        return await open_with_external_traefik(replace(publishing, copies_group=self._group), self.log)

    def _make_store(self, served: ServedCertificate) -> Store:
        if self._transports.current().internal and self.dynamic_config_file_mode & 0o007:
            raise ConfigurationError(
                f"dynamic_config_file_mode is {self.dynamic_config_file_mode:#o}, but with JupyterHub.internal_ssl the file "
                "contains a key, which others must not read. Use 0o640 or 0o600."
            )
        writer = f"traefik_toml_proxy {__version__} for the JupyterHub in process {os.getpid()}"
        renderer = TomlRenderer(self._dynamic_settings(served), writer=writer)
        watched = absolute(self.watched_folder) if self.watched_folder and not self.should_start else None
        return TomlFileStore(
            self._dynamic_file,
            renderer,
            mode=self._mode,
            group=self._group,
            log=self.log,
            needs=served.files,
            watched=watched,
        )

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
