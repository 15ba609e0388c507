"""A started InProcessProxy, and raw connections to it."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio

from traefik_toml_proxy.conformance.backend import Backend, Handler, respond_ok
from traefik_toml_proxy.conformance.client import Connection
from traefik_toml_proxy.inprocess import clients, limits
from traefik_toml_proxy.proxies.inprocess import InProcessProxy

from .ports import free_port

InProcessMaker = Callable[..., InProcessProxy]
ServerMaker = Callable[..., Any]


@pytest.fixture(params=["asyncio", "uvloop"])
def event_loop_kind(request: pytest.FixtureRequest) -> str:
    """Each event loop that the proxy can run on."""
    kind: str = request.param
    return kind


@pytest_asyncio.fixture
async def make_in_process(event_loop_kind: str) -> AsyncIterator[InProcessMaker]:
    """Make proxies as JupyterHub does, for a started Hub or none; each is stopped at the end."""
    made: list[InProcessProxy] = []

    def make(hub: str = "", **more: Any) -> InProcessProxy:
        at = SimpleNamespace(url=f"{hub}/hub/", host=hub, base_url="/hub/", routespec="/") if hub else None
        traits = {
            "public_url": f"http://127.0.0.1:{free_port()}",
            "app": SimpleNamespace(internal_ssl=False, subdomain_host=""),
            "hub": at,
            "event_loop": event_loop_kind,
        }
        proxy = InProcessProxy(**(traits | more), log=logging.getLogger("hub"))
        made.append(proxy)
        return proxy

    yield make
    for proxy in made:
        await proxy.stop()


@pytest_asyncio.fixture
async def in_process(make_in_process: InProcessMaker) -> InProcessProxy:
    """A started proxy without routes."""
    proxy = make_in_process()
    await proxy.start()
    return proxy


@pytest_asyncio.fixture
async def serve() -> AsyncIterator[ServerMaker]:
    """Start servers, and add a route to each; they are stopped at the end."""
    servers: list[Backend] = []

    async def serve(proxy: InProcessProxy, routespec: str = "/user/ada/", handler: Handler = respond_ok) -> Backend:
        server = await Backend(routespec, handler).__aenter__()
        servers.append(server)
        await proxy.add_route(routespec, server.url, {})
        return server

    yield serve
    for server in servers:
        await server.close()


def connect(proxy: InProcessProxy) -> Connection:
    """Return a new connection to the public address."""
    return Connection(proxy.public_url)


def keep_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no client give way to new ones, however long it has waited."""
    monkeypatch.setattr(clients, "_NEW_SECONDS", limits.HEAD_SECONDS)
    monkeypatch.setattr(limits, "USED_SECONDS", limits.IDLE_SECONDS)
