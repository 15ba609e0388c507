"""A real Prometheus on loopback, which scrapes what a configuration file says."""

from __future__ import annotations

import asyncio
import json
import shutil
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from .backend import get
from .http_program import HttpProgram
from .ports import free_port

_PROGRAM = shutil.which("prometheus")

needs_prometheus = pytest.mark.skipif(_PROGRAM is None, reason="needs prometheus on PATH: apt-get install prometheus")


class Prometheus(HttpProgram):
    """The server; its data is in the folder."""

    def __init__(self, config: Path, folder: Path) -> None:
        """Choose its configuration and its folder; it is not started."""
        super().__init__(f"http://127.0.0.1:{free_port()}")
        self._config = config
        self._folder = folder

    async def _start(self) -> asyncio.subprocess.Process:
        assert _PROGRAM is not None
        with (self._folder / "prometheus.log").open("wb") as log:
            return await asyncio.create_subprocess_exec(
                _PROGRAM,
                f"--config.file={self._config}",
                f"--storage.tsdb.path={self._folder / 'data'}",
                f"--web.listen-address={self.url.removeprefix('http://')}",
                stdout=log,
                stderr=log,
            )

    async def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the samples that a query has now; none before Prometheus is ready.

        Raises:
            AssertionError: If it is not a query.
        """
        response = await get(self.url, f"/api/v1/query?query={quote(expression)}")
        if response.status == HTTPStatus.SERVICE_UNAVAILABLE:
            return []
        answer = json.loads(response.body)
        assert answer["status"] == "success", f"{answer['error']}: {expression}"
        samples: list[dict[str, Any]] = answer["data"]["result"]
        return samples
