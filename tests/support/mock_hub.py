"""A real JupyterHub in this process, with the mock users and servers of its own tests, and our proxy."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jupyterhub
import pytest
from traitlets.config import Config

from traefik_toml_proxy import TraefikTomlProxy

from .backend import Response, get
from .ports import free_port
from .processes import MARK
from .traefik import TRAEFIK_COMMAND
from .waiting import eventually

needs_mock_hub = pytest.mark.skipif(
    jupyterhub.version_info < (6,),
    reason="the mock Hub of JupyterHub 5 stops its proxy in another event loop; the quickstart's tests run a real one",
)

HubMaker = Callable[..., Awaitable[Any]]


def hub_config(state_dir: Path) -> Config:
    """Return the configuration of a Hub at ``/@/space%20word/`` that calls check_routes only when a test does."""
    config = Config()
    config.JupyterHub.proxy_class = TraefikTomlProxy
    config.TraefikProxy.state_dir = str(state_dir)
    config.TraefikProxy.traefik_env = MARK
    config.TraefikProxy.track_activity = False  # so that the routes are exactly those that the Hub adds
    config.TraefikProxy.traefik_command = TRAEFIK_COMMAND
    config.JupyterHub.last_activity_interval = 3600
    config.JupyterHub.bind_url = f"http://127.0.0.1:{free_port()}/@/space%20word/"
    config.Authenticator.username_regex = ""
    return config


async def ask(hub: Any, path: str, *, method: str = "GET", **headers: str) -> Response:
    """Send a request to the public entry point, as a browser does."""
    return await get(hub.proxy.public_url, hub.base_url + path, method=method, headers=headers)


async def api(hub: Any, path: str, *, method: str = "GET") -> int:
    """Call the Hub's API as an admin, through the public entry point; returns the status."""
    from jupyterhub.tests.utils import auth_header

    headers = auth_header(hub.db, "admin") | {"Content-Length": "0"}
    return (await ask(hub, f"hub/api/{path}", method=method, **headers)).status


def add_user(hub: Any, name: str) -> Any:
    """Return a new user."""
    from jupyterhub.tests import utils

    return utils.add_user(hub.db, hub, name=name)


async def start_server(hub: Any, name: str) -> Any:
    """Make the Hub start a user's server; returns the user."""
    user = add_user(hub, name)
    assert await api(hub, f"users/{quote(name, safe='')}/server", method="POST") in {201, 202}
    await eventually(lambda: user.spawner.ready, within=20)
    return user
