"""Real proxies that others run in front of ours, with the configuration in examples/."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from pathlib import Path
from urllib.parse import urlsplit

from .certificates import Pair, make_certificate
from .examples import EXAMPLES
from .http_program import HttpProgram
from .ports import free_port
from .processes import MARK

NAMES = ("nginx", "haproxy", "caddy")
_EXAMPLES = {
    "nginx": "behind-nginx/nginx.conf",
    "haproxy": "behind-caddy-or-haproxy/haproxy.cfg",
    "caddy": "behind-caddy-or-haproxy/Caddyfile",
}

# Debian has some of them there, which is not in every user's PATH.
_PATH = f"{os.environ['PATH']}:/usr/sbin"

# What the examples leave out, so that they run without root and with all their files in one folder.
_NGINX = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {example}
}}
"""
_CADDY = """
{{
    admin off
    auto_https disable_redirects
}}
{example}
"""


def installed(name: str) -> str | None:
    """Return the path of the program, or None."""
    return shutil.which(name, path=_PATH)


class Front(HttpProgram):
    """One of them, with https on loopback, in front of a proxy of ours.

    Attributes:
        certificate: What it shows.
    """

    def __init__(self, name: str, folder: Path, target: str) -> None:
        """Write its configuration; it is not started.

        Args:
            name: One of :data:`NAMES`.
            folder: For its files.
            target: The URL of our proxy.
        """
        port = free_port()
        super().__init__(f"https://127.0.0.1:{port}")
        self.certificate: Pair = make_certificate(folder, "hub.example.org")
        both = folder / "hub.example.org.pem"
        both.write_bytes(self.certificate.cert.read_bytes() + self.certificate.key.read_bytes())
        text = EXAMPLES.joinpath(_EXAMPLES[name]).read_text().replace("127.0.0.1:8000", urlsplit(target).netloc)
        cert, key = self.certificate.cert, self.certificate.key
        file = folder / f"{name}.conf"
        if name == "nginx":
            text = text.replace("listen 443", f"listen 127.0.0.1:{port}").replace("/etc/ssl", str(folder))
            text = _NGINX.format(folder=folder, example=text)
            self._arguments = ["-p", str(folder), "-c", str(file), "-e", str(folder / "nginx.log")]
        elif name == "haproxy":
            text = text.replace("bind :443", f"bind 127.0.0.1:{port}").replace("/etc/haproxy", str(folder))
            self._arguments = ["-db", "-f", str(file)]
        else:
            site = f"https://127.0.0.1:{port}, https://localhost:{port} {{\n    bind 127.0.0.1\n    tls {cert} {key}"
            text = _CADDY.format(example=text.replace("hub.example.org {", site))
            self._arguments = ["run", "--adapter", "caddyfile", "--config", str(file)]
        file.write_text(text)
        self._name = name
        self._folder = folder
        self._output = folder / f"{name}.out"

    async def _start(self) -> asyncio.subprocess.Process:
        program = installed(self._name)
        assert program is not None
        environment = {"PATH": _PATH, "HOME": str(self._folder), **MARK}
        output = await asyncio.to_thread(self._output.open, "wb")
        with output:
            return await asyncio.create_subprocess_exec(
                program, *self._arguments, env=environment, stdout=output, stderr=output, start_new_session=True
            )

    async def _serves(self) -> bool:
        assert self._process is not None
        assert self._process.returncode is None, self._output.read_text()
        where = urlsplit(self.url)
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection(where.hostname, where.port)
            writer.close()
            return True
        return False
