"""JupyterHub's own tests pass with our proxies: its test modules are run as they are, with another proxy in their Hub."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.mock_hub import needs_mock_hub
from support.processes import MARK
from support.waiting import PATIENCE

pytestmark = [needs_mock_hub, pytest.mark.timeout(900)]

TESTS = Path(__file__).parents[1]
# As JupyterHub sets it. The options are pytest-asyncio's: its Hub and its tests share one event loop.
SETTINGS = """
[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = module
asyncio_default_test_loop_scope = module
"""
PROXIES: dict[str, dict[str, Any]] = {
    "traefik-toml": {"JupyterHub": {"proxy_class": "traefik-toml"}},
    "in-process": {"JupyterHub": {"proxy_class": "in-process"}},
    "in-process-apart": {
        "JupyterHub": {"proxy_class": "in-process"},
        "InProcessProxy": {"where": "process"},
    },
}
MODULES = ["proxy", "services", "named_servers", "app", "pages", "api", "singleuser"]
# These take seconds; all of them, ten minutes for each proxy.
QUICK = {("in-process", "proxy"), ("in-process-apart", "services")}


@pytest.mark.parametrize(
    ("proxy", "module"),
    [
        pytest.param(proxy, module, marks=() if (proxy, module) in QUICK else pytest.mark.jupyterhub)
        for proxy in PROXIES
        for module in MODULES
    ],
)
def test_they_pass(tmp_path: Path, proxy: str, module: str) -> None:
    """All of them, apart from the one that starts configurable-http-proxy by hand."""
    if module == "singleuser":
        pytest.importorskip("nbclassic", reason="it asks servers for the page of nbclassic, which is not installed")
    settings = tmp_path / "pytest.ini"
    settings.write_text(SETTINGS)
    # The servers that it starts for its users do not start as root unless told to.
    (tmp_path / "jupyter_server_config.json").write_text(json.dumps({"ServerApp": {"allow_root": True}}))
    config = {**PROXIES[proxy], "Spawner": {"environment": {"JUPYTER_CONFIG_PATH": str(tmp_path)}}}
    command = [sys.executable, "-m", "pytest", "-c", str(settings), "-q", "-ra", "-p", "no:xdist", "-p", "no:warnings"]
    command += [
        "--timeout",
        str(int(60 * PATIENCE)),
        "-p",
        "support.their_tests",
        "--deselect",
        "::test_external_proxy",
        "--basetemp",
        str(tmp_path / "t"),
    ]
    done = subprocess.run(
        [*command, "--pyargs", f"jupyterhub.tests.test_{module}"],
        cwd=tmp_path,
        env={**os.environ, **MARK, "PYTHONPATH": str(TESTS), "PROXY_CONFIG": json.dumps(config)},
        capture_output=True,
        text=True,
        timeout=250 * PATIENCE,
    )

    print(done.stdout[-20_000:], done.stderr[-5_000:])
    assert done.returncode == 0
    assert " passed" in done.stdout
