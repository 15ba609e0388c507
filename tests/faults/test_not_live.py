"""When Traefik hangs, routes are still written, and callers get an error in time."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from support.backend import Backend, get
from support.fixtures import BackendMaker, ProxyMaker
from support.inside import traefik_pid
from support.waiting import PATIENCE, eventually

from traefik_toml_proxy import TraefikTomlProxy
from traefik_toml_proxy.errors import RouteNotLive


@pytest_asyncio.fixture
async def ada(make_backend: BackendMaker) -> Backend:
    """A user's server."""
    return await make_backend("ada")


@pytest_asyncio.fixture
async def hanging(make_proxy: ProxyMaker, ada: Backend) -> AsyncIterator[TraefikTomlProxy]:
    """A proxy with the route ``/user/ada/`` whose Traefik is suspended; it is resumed at the end."""
    proxy = make_proxy(check_route_timeout=1)
    await proxy.start()
    await proxy.add_route("/user/ada/", ada.url, {})
    pid = traefik_pid(proxy)
    os.kill(pid, signal.SIGSTOP)
    yield proxy
    os.kill(pid, signal.SIGCONT)


async def test_an_add_fails_in_time_and_says_where_to_look(
    hanging: TraefikTomlProxy, ada: Backend, tmp_path: Path
) -> None:
    """The TimeoutError names the file, the URL and the last answer; the route is live once Traefik is resumed."""
    began = time.monotonic()
    with pytest.raises(TimeoutError) as caught:
        await hanging.add_route("/user/bob/", ada.url, {})

    assert 1 <= time.monotonic() - began < 3 * PATIENCE
    assert isinstance(caught.value, RouteNotLive)
    for part in (str(tmp_path / "state" / "dynamic.toml"), hanging.public_url, "no answer", "traefik_url"):
        assert part in str(caught.value)
    assert set(await hanging.get_all_routes()) == {"/user/ada/", "/user/bob/"}
    os.kill(traefik_pid(hanging), signal.SIGCONT)

    async def is_served() -> bool:
        return (await get(hanging.public_url, "/user/bob/")).by == "ada"

    await eventually(is_served)


async def test_a_delete_only_warns(hanging: TraefikTomlProxy, caplog: pytest.LogCaptureFixture) -> None:
    """An exception would keep the Hub from stopping the user's server; the route is gone from the table."""
    began = time.monotonic()
    await hanging.delete_route("/user/ada/")

    assert time.monotonic() - began < 3 * PATIENCE
    assert await hanging.get_all_routes() == {}
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert any("Deleting '/user/ada/'" in warning and "it is not live" in warning for warning in warnings)
