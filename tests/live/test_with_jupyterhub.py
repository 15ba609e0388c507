"""A real JupyterHub in this process, with its own mock users and servers, gets what it expects of its proxy."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from support.backend import get
from support.fixtures import BackendMaker
from support.mock_hub import HubMaker, add_user, api, ask, needs_mock_hub, start_server
from support.waiting import eventually

pytestmark = [pytest.mark.timeout(60), needs_mock_hub]

# User names from JupyterHub's own tests, and a few that are difficult for a proxy.
USER_NAMES = ["zoe", "50fia", "秀樹", "~TestJH", "has@", "it's", "two words", 'a") || PathPrefix("/', "{{.}}", "a%40b"]


class MockServer:
    """Makes a Hub believe that a user has a running server, which is a backend of the test."""

    def __init__(self, hub: Any, name: str, url: str) -> None:
        from jupyterhub import orm
        from jupyterhub.objects import Server

        self.user = add_user(hub, name)
        self.spawner = self.user.spawner
        port = int(url.rpartition(":")[2])
        self.spawner.orm_spawner.server = orm.Server(
            proto="http", ip="127.0.0.1", port=port, base_url=self.user.base_url
        )
        hub.db.commit()
        self.spawner.server = Server(orm_server=self.spawner.orm_spawner.server)


async def test_a_user_s_server_is_reached_when_it_is_ready_and_not_when_it_has_stopped(make_hub: HubMaker) -> None:
    """It is started and stopped through the Hub's API; both the user name and the base_url have special characters."""
    hub = await make_hub()
    name = "it's {{a}}@`\"\\"

    assert (await ask(hub, "hub/login")).status == 200
    user = await start_server(hub, name)
    arguments = await ask(hub, f"user/{quote(name, safe='@~')}/args")
    assert isinstance(json.loads(arguments.body), list)
    assert list(await hub.proxy.get_all_routes()) == [hub.hub.routespec, user.proxy_spec]

    assert await api(hub, f"users/{quote(name, safe='')}/server", method="DELETE") in {202, 204}
    await eventually(lambda: not user.spawner.active, within=20)
    assert list(await hub.proxy.get_all_routes()) == [hub.hub.routespec]


async def test_check_routes_restores_missing_routes_and_removes_stale_ones(
    make_hub: HubMaker, make_backend: BackendMaker
) -> None:
    """A deleted route, one with a wrong target and one without a user: all are put right."""
    hub = await make_hub()
    proxy = hub.proxy
    backends = {name: await make_backend(name) for name in USER_NAMES}
    servers = {name: MockServer(hub, name, backend.url) for name, backend in backends.items()}
    await proxy.check_routes(hub.users, hub._service_map)
    before = await proxy.get_all_routes()

    for server in list(servers.values())[::2]:
        await proxy.delete_user(server.user)
    for server in list(servers.values())[1::2]:
        await proxy.add_route(
            server.user.proxy_spec, "http://127.0.0.1:1", {"user": server.user.name, "server_name": ""}
        )
    await proxy.add_route(hub.base_url + "user/stale/", "http://127.0.0.1:1", {"user": "stale", "server_name": ""})
    assert before != await proxy.get_all_routes()
    await proxy.check_routes(hub.users, hub._service_map)

    assert before == await proxy.get_all_routes()
    served = {name: (await ask(hub, f"user/{quote(name, safe='')}/lab")).by for name in USER_NAMES}
    assert served == {name: name for name in USER_NAMES}


async def test_check_routes_writes_nothing_if_nothing_has_changed(
    make_hub: HubMaker, make_backend: BackendMaker, caplog: pytest.LogCaptureFixture
) -> None:
    """The proxy returns exactly what the Hub has added, so the Hub's regular check finds no difference."""
    hub = await make_hub()
    hub.proxy.extra_routes = {hub.base_url + "docs/": "http://127.0.0.1:1/site/"}
    for name in USER_NAMES:
        MockServer(hub, name, (await make_backend(name)).url)
    await hub.proxy.check_routes(hub.users, hub._service_map)
    before = (Path(hub.proxy.state_dir) / "dynamic.toml").stat()
    caplog.clear()

    for _ in range(3):
        await hub.proxy.check_routes(hub.users, hub._service_map)

    assert before == (Path(hub.proxy.state_dir) / "dynamic.toml").stat()
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_extra_routes_are_added_and_stale_ones_removed(make_hub: HubMaker, make_backend: BackendMaker) -> None:
    """c.Proxy.extra_routes may be below the base_url or outside it; the target's path is put before the request's."""
    hub = await make_hub()
    site = await make_backend("site")
    routespecs = ["/has%20space/foo/", "/missing-trailing/slash", "/has/@/", "/has/" + quote("üñîçø∂é")]
    hub.proxy.extra_routes = dict.fromkeys(routespecs, site.url + "/test")
    await hub.proxy.check_routes(hub.users, hub._service_map)
    routes = await hub.proxy.get_all_routes()

    assert {routespec.rstrip("/") + "/": (site.url + "/test", {"extra": True}) for routespec in routespecs} == {
        routespec: (route["target"], route["data"]) for routespec, route in routes.items() if "extra" in route["data"]
    }
    arrived = [(await get(hub.proxy.public_url, routespec)).seen["path"] for routespec in routespecs]
    assert ["/test" + routespec for routespec in routespecs] == arrived

    hub.proxy.extra_routes = {}
    await hub.proxy.check_routes(hub.users, hub._service_map)
    assert list(await hub.proxy.get_all_routes()) == [hub.hub.routespec]


async def test_a_service_with_a_raw_name_is_reached(make_hub: HubMaker, make_backend: BackendMaker) -> None:
    """JupyterHub passes on a service's name raw; it is served, and stays after check_routes."""
    services = {"plain": await make_backend("plain"), 'it\'s "my" `service` {{1}}': await make_backend("odd")}
    hub = await make_hub(services=[{"name": name, "url": backend.url} for name, backend in services.items()])

    await hub.proxy.check_routes(hub.users, hub._service_map)

    served = {name: (await ask(hub, f"services/{quote(name)}/x")).by for name in services}
    assert served == {name: backend.name for name, backend in services.items()}


async def test_the_hub_s_api_returns_the_routes(make_hub: HubMaker, make_backend: BackendMaker) -> None:
    """GET /hub/api/proxy returns them as JSON, and POST calls check_routes."""
    hub = await make_hub()
    server = MockServer(hub, "zoe", (await make_backend("zoe")).url)

    assert await api(hub, "proxy", method="POST") == 200
    assert await api(hub, "proxy") == 200
    assert server.user.proxy_spec in await hub.proxy.get_all_routes()
