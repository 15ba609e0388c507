"""A real configurable-http-proxy, the reference for routing, on loopback."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from urllib.parse import quote

from .http_program import HttpProgram
from .ports import free_ports
from .waiting import PATIENCE, within

# The command, or None if it is not installed.
CHP_COMMAND = os.environ.get("CHP_COMMAND") or shutil.which("configurable-http-proxy")

_TOKEN = "token-for-a-test"


class Chp(HttpProgram):
    """A configurable-http-proxy whose routes are added as JupyterHub adds them (jupyterhub/proxy.py:925-1010)."""

    def __init__(self, *, host_routing: bool = False) -> None:
        public, api = free_ports(2)
        super().__init__(f"http://127.0.0.1:{public}")
        self._api_port = api
        self._arguments = ["--ip=127.0.0.1", f"--port={public}", "--api-ip=127.0.0.1", f"--api-port={api}"]
        self._arguments += ["--log-level=error", *(["--host-routing"] if host_routing else [])]

    async def _start(self) -> asyncio.subprocess.Process:
        assert CHP_COMMAND is not None
        return await asyncio.create_subprocess_exec(
            CHP_COMMAND,
            *self._arguments,
            env={"PATH": os.environ.get("PATH", ""), "CONFIGPROXY_AUTH_TOKEN": _TOKEN},
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )

    async def add_route(self, routespec: str, target: str) -> None:
        """Add a route; the routespec is escaped as JupyterHub's HTTP client escapes it."""
        path = "/" + quote(routespec.strip("/"), safe="@/~%:!$&'()*+,;=")
        body = json.dumps({"target": target, "jupyterhub": True}).encode()
        head = (
            f"POST /api/routes{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: token {_TOKEN}\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        reader, writer = await asyncio.open_connection("127.0.0.1", self._api_port)
        try:
            writer.write(head.encode() + body)
            answer = await within(10 * PATIENCE, reader.read())
        finally:
            writer.close()
        assert answer.startswith(b"HTTP/1.1 201"), answer
