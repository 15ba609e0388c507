"""JupyterHub's default proxy, configurable-http-proxy. I/O: by JupyterHub's class, which starts node."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from ..programs import first_line
from .base import HubContender


class Chp(HubContender):
    """configurable-http-proxy, as the Hub starts it."""

    def missing(self) -> str:
        """Return that there is no node, or no command."""
        if not shutil.which("node"):
            return "no node"
        return "" if self.settings.chp else "no configurable-http-proxy"

    def version(self) -> str:
        """Return what the command says."""
        return first_line(self.settings.chp, "--version")

    def make_proxy(self, **common: Any) -> Any:
        """Return one with its default settings, but for its ports and files."""
        from jupyterhub.proxy import ConfigurableHTTPProxy

        return ConfigurableHTTPProxy(
            command=[self.settings.chp],
            api_url=self.settings.api_url,
            auth_token=os.urandom(16).hex(),
            pid_file=str(Path(self.settings.folder) / "chp.pid"),
            **common,
        )

    async def stop(self) -> None:
        """Stop it, and wait for its process, which the class does not."""
        await super().stop()
        try:
            await asyncio.to_thread(self.proxy.proxy_process.wait, 10)
        except subprocess.TimeoutExpired:
            self.proxy.proxy_process.kill()
            await asyncio.to_thread(self.proxy.proxy_process.wait, 10)
