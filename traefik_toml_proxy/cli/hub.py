"""Loads a JupyterHub's configuration without starting it, and makes its proxy. Does I/O: it executes a file."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from pathlib import Path
from typing import Any

from jupyterhub.app import JupyterHub
from traitlets import TraitError
from traitlets.config import Config

from ..proxies.inprocess import InProcessProxy
from ..proxies.toml import TraefikTomlProxy


class Unloadable(Exception):
    """The configuration cannot be loaded; the message says why."""


class LoadedHub:
    """A JupyterHub that has read its configuration, and will not be started.

    Attributes:
        file: The configuration file.
        app: The JupyterHub.
        proxy: Its proxy, if it is the one with the routes in a file; else None.
        in_process: Its proxy, if it is the one without Traefik; else None.
        proxy_class: The name of the class of its proxy.
        warnings: What it had to say about its configuration, such as misspelled settings.
    """

    def __init__(self, file: Path, extra: Config) -> None:
        """Execute the configuration file.

        Args:
            file: The file.
            extra: Settings that override those in the file.

        Raises:
            Unloadable: If that fails.
        """
        self.file = file
        self.warnings: list[str] = []
        log = logging.Logger("traefik_toml_proxy hub")  # noqa: LOG001 - one of its own, which nobody else configures
        log.addHandler(_Collecting(self.warnings))
        # What it prints does not belong into our own output.
        with contextlib.redirect_stdout(sys.stderr):
            try:
                self.app = JupyterHub(log=log)
                self.app.raise_config_file_errors = True
                self.app.load_config_file(str(file.absolute()))
                self.app.update_config(extra)
                _find_internal_certificates(self.app)
                self.app.init_hub()
                self.app.init_proxy()
            except SystemExit:
                raise Unloadable(" ".join(self.warnings[-1:]) or "it ended the program") from None
            except TraitError as error:
                raise Unloadable(str(error)) from error
            except Exception as error:
                raise Unloadable(f"{type(error).__name__}: {error}") from error
        proxy = self.app.proxy
        self.proxy_class = type(proxy).__name__
        self.proxy = proxy if isinstance(proxy, TraefikTomlProxy) else None
        self.in_process = proxy if isinstance(proxy, InProcessProxy) else None


class _Collecting(logging.Handler):
    """Keeps the messages of warnings and errors."""

    def __init__(self, messages: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        self._messages.append(record.getMessage())


def _find_internal_certificates(app: Any) -> None:
    """Fill in where the certificates of internal_ssl are, if the Hub has made them (see its init_internal_ssl)."""
    if not app.internal_ssl:
        return
    folder = Path(app.internal_certs_location)
    with contextlib.suppress(OSError, ValueError, KeyError):
        files = json.loads((folder / "certipy.json").read_text())["proxy-client"]["files"]
        app.internal_proxy_certs["proxy-client"] = {"keyfile": files["key"], "certfile": files["cert"]}
        app.internal_trust_bundles["proxy-client-ca"] = str(folder / "proxy-client-ca_trust.crt")
