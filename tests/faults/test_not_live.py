"""When Traefik hangs, routes are still written, and callers get an error in time."""

from __future__ import annotations

import asyncio
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
from support.waiting import PATIENCE, eventually, within

from traefik_toml_proxy import TraefikTomlProxy, waits
from traefik_toml_proxy.errors import RouteNotLive

_TIMEOUT = 1 * PATIENCE


@pytest_asyncio.fixture
async def ada(make_backend: BackendMaker) -> Backend:
    """A user's server."""
    return await make_backend("ada")


@pytest_asyncio.fixture
async def hanging(make_proxy: ProxyMaker, ada: Backend) -> AsyncIterator[TraefikTomlProxy]:
    """A proxy with the route ``/user/ada/`` whose Traefik is suspended; it is resumed at the end."""
    proxy = make_proxy(check_route_timeout=_TIMEOUT)
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

    assert _TIMEOUT <= time.monotonic() - began < _TIMEOUT + 2 * PATIENCE
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

    assert time.monotonic() - began < _TIMEOUT + 2 * PATIENCE
    assert await hanging.get_all_routes() == {}
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert any("Deleting '/user/ada/'" in warning and "it is not live" in warning for warning in warnings)


async def test_callers_do_not_wait_for_the_time_outs_of_others(
    make_proxy: ProxyMaker, ada: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Changes that come one after the other fail one after the other. When Traefik is back, all of them are live at once."""
    monkeypatch.setattr(waits, "_SHORTEST_TURN_OF_A_BATCH", 0.2)
    timeout = 4 * PATIENCE
    proxy = make_proxy(check_route_timeout=timeout)
    await proxy.start()
    os.kill(traefik_pid(proxy), signal.SIGSTOP)

    async def add(name: str, after: float) -> float:
        await asyncio.sleep(after)
        began = time.monotonic()
        with pytest.raises(RouteNotLive):
            await proxy.add_route(f"/user/{name}/", ada.url, {})
        return time.monotonic() - began

    waited = await asyncio.gather(add("bob", 0), add("cleo", 0.3), add("dan", 0.6))
    late = asyncio.create_task(proxy.add_route("/user/eve/", ada.url, {}))
    os.kill(traefik_pid(proxy), signal.SIGCONT)
    await within(4 * PATIENCE, late)

    # Without their own times, the last two would wait for twice as long.
    assert max(waited) < 1.5 * timeout
    assert [(await get(proxy.public_url, f"/user/{name}/")).by for name in ("bob", "cleo", "dan", "eve")] == ["ada"] * 4
