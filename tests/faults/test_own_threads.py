"""Slow calls of the Hub in asyncio's threads, such as name look-ups, delay no change; and no thread of ours is left."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio
from support.backend import get
from support.fixtures import BackendMaker, ProxyMaker
from support.waiting import PATIENCE, eventually

from traefik_toml_proxy import TraefikTomlProxy

_LONGEST = 60.0


def ours() -> list[str]:
    """Return the threads of this package that run now."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("traefik_toml_proxy")]


@pytest_asyncio.fixture
async def busy_hub() -> AsyncIterator[None]:
    """All of asyncio's own threads are busy, and more calls wait for them."""
    finish = threading.Event()
    threads = ThreadPoolExecutor(2)
    asyncio.get_running_loop().set_default_executor(threads)
    for _ in range(20):
        threads.submit(finish.wait, _LONGEST)
    yield
    finish.set()


@pytest.mark.usefixtures("busy_hub")
async def test_all_goes_on_while_the_threads_of_the_hub_are_busy(
    make_proxy: ProxyMaker, make_backend: BackendMaker, caplog: pytest.LogCaptureFixture
) -> None:
    """It starts, routes are live and gone in time, a failed target is reported, and it stops."""
    hub, ada = await make_backend("hub"), await make_backend("ada")
    began = time.monotonic()
    proxy = make_proxy(track_activity=True, hub=SimpleNamespace(host=hub.url, base_url="/hub/", routespec="/"))
    await proxy.start()
    await proxy.add_route("/", hub.url, {})
    await proxy.add_route("/user/ada/", ada.url, {})
    # More routes than are rendered on the event loop.
    await asyncio.gather(*(proxy.add_route(f"/user/{number}/", "http://localhost:1", {}) for number in range(60)))
    await proxy.delete_route("/user/ada/")

    assert (await get(proxy.public_url, "/user/ada/")).by == "hub"
    assert (await get(proxy.public_url, "/user/1/")).status == 503
    await eventually(lambda: "connection refused" in caplog.text)
    await proxy.stop()
    assert time.monotonic() - began < 10 * PATIENCE


async def test_names_that_are_not_found_for_long_delay_no_change(
    make_proxy: ProxyMaker, make_backend: BackendMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor do those that this package itself looks up, to say why targets have failed."""
    finish = threading.Event()
    really_look_up = socket.getaddrinfo

    def look_up(host: str, *arguments: Any, **more: Any) -> Any:
        if host == "localhost":
            finish.wait(_LONGEST)
        return really_look_up(host, *arguments, **more)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    hub, ada = await make_backend("hub"), await make_backend("ada")
    proxy = make_proxy(hub=SimpleNamespace(host=hub.url, base_url="/hub/", routespec="/"))
    await proxy.start()
    await asyncio.gather(*(proxy.add_route(f"/user/{name}/", "http://localhost:1", {}) for name in range(30)))
    await asyncio.gather(*(get(proxy.public_url, f"/user/{name}/") for name in range(30)))
    await eventually(lambda: sum("names" in name for name in ours()) == 2)
    began = time.monotonic()
    await proxy.add_route("/user/ada/", ada.url, {})

    assert time.monotonic() - began < 2 * PATIENCE
    assert (await get(proxy.public_url, "/user/ada/")).by == "ada"
    finish.set()


async def test_no_thread_is_left_when_it_has_stopped(proxy: TraefikTomlProxy) -> None:
    """Each ends within moments."""
    assert ours()
    await proxy.stop()
    await eventually(lambda: not ours())


_HUB = """
import asyncio, json, logging, sys
from types import SimpleNamespace
from traefik_toml_proxy import TraefikTomlProxy

async def main(traits):
    app = SimpleNamespace(cleanup_proxy=False, internal_ssl=False, subdomain_host="")
    proxy = TraefikTomlProxy(app=app, log=logging.getLogger("hub"), should_start=False, **traits)
    await proxy.get_all_routes()

asyncio.run(main(*json.loads(sys.argv[1])))
"""


async def test_the_hub_can_exit_without_stopping_it(traits: dict[str, Any]) -> None:
    """As with ``cleanup_proxy = False``: no thread keeps the process alive."""
    began = time.monotonic()
    hub = await asyncio.create_subprocess_exec(*(sys.executable, "-c", _HUB, json.dumps([traits])))

    assert await asyncio.wait_for(hub.wait(), 30 * PATIENCE) == 0
    assert time.monotonic() - began < 15 * PATIENCE
