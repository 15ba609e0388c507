"""Where a proxy under test is to run: ports, a folder, the Hub's address, and JupyterHub's own settings. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from .case import Options


@dataclass(frozen=True, slots=True)
class Setting:
    """Where a proxy is to run.

    Attributes:
        options: JupyterHub's settings that the proxy depends on.
        public_url: ``JupyterHub.bind_url``, with a free port on loopback.
        folder: An empty folder of its own; the working directory while the proxy is up.
        hub_url: Where the Hub listens, ``http://host:port``.
        ssl_cert: ``JupyterHub.ssl_cert``, or "".
        ssl_key: ``JupyterHub.ssl_key``, or "".
        ports: More free ports, for APIs and the like.
    """

    options: Options
    public_url: str
    folder: str
    hub_url: str
    ssl_cert: str = ""
    ssl_key: str = ""
    ports: tuple[int, ...] = ()

    def fill(self, value: Any) -> Any:
        """Return ``value`` with the placeholders in all its strings replaced.

        They are ``{port}`` (the public one), ``{port1}``, ``{port2}`` and so on, ``{folder}``, and ``{scheme}``: that of an
        internal API, which is https with internal_ssl.
        """
        if isinstance(value, str):
            replacements = {"{port}": str(urlsplit(self.public_url).port), "{folder}": self.folder}
            replacements["{scheme}"] = "https" if self.options.internal_ssl else "http"
            replacements |= {f"{{port{number}}}": str(port) for number, port in enumerate(self.ports, start=1)}
            for placeholder, replacement in replacements.items():
                value = value.replace(placeholder, replacement)
            return value
        if isinstance(value, Mapping):
            return {key: self.fill(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.fill(item) for item in value]
        return value
