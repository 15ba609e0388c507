"""RoutingProxy: JupyterHub's API over any session; a proxy class needs to write only how its session is opened."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from dateutil.parser import isoparse
from support.fakes import FakeActivity, FakeTraefik, MemoryPlace, MemoryStore

from traefik_toml_proxy.errors import ProxyError
from traefik_toml_proxy.proxies.base import RoutingProxy
from traefik_toml_proxy.publisher import RoutePublisher
from traefik_toml_proxy.seams import Activity
from traefik_toml_proxy.session import Session, cleanup_on_error

LOG = logging.getLogger("hub")


class MemoryProxy(RoutingProxy):
    """A proxy that keeps its routes in memory, where they are live at once."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.place = MemoryPlace()
        self.opened = 0
        self.activity: Activity | None = None

    async def _open_session(self) -> Session:
        self.opened += 1
        async with cleanup_on_error(LOG) as cleanup:
            store = MemoryStore(self.place)
            cleanup.add("the store", store.close)
            publisher = RoutePublisher(
                store, FakeTraefik(self.place), live_timeout=5, check_route=self._check_route, log=LOG
            )
            await publisher.begin(await publisher.open())
            return Session(publisher, cleanup, activity=self.activity)


async def test_opening_a_session_is_all_that_a_subclass_writes() -> None:
    """Routes are added, listed and deleted; what was begun is ended by stop()."""
    proxy = MemoryProxy()
    await proxy.start()
    await proxy.add_route("/user/ada/", "http://127.0.0.1:1", {"user": "ada"})
    await proxy.add_route("/", "http://127.0.0.1:2", {"hub": True})
    await proxy.delete_route("/")
    routes = await proxy.get_all_routes()
    await proxy.stop()

    expected = {"routespec": "/user/ada/", "target": "http://127.0.0.1:1", "data": {"user": "ada"}}
    assert routes == {"/user/ada/": expected}
    assert proxy.place.owner is None


async def test_a_class_without_a_session_says_so() -> None:
    """It is a mistake of the class, and named."""
    with pytest.raises(NotImplementedError, match="RoutingProxy does not implement _open_session"):
        await RoutingProxy().start()


async def test_before_the_start_there_are_no_routes() -> None:
    """They cannot be added, and deleting one does nothing: a Hub does that for servers that stopped while it was away."""
    proxy = MemoryProxy()
    with pytest.raises(ProxyError, match=r"has not been started; '/user/ada/' cannot be added"):
        await proxy.add_route("/user/ada/", "http://127.0.0.1:1", {})
    await proxy.delete_route("/user/ada/")

    assert await proxy.get_all_routes() == {}
    assert await proxy.get_route("/user/ada/") is None
    assert proxy.opened == 0


async def test_without_a_start_the_first_call_opens_the_session() -> None:
    """JupyterHub does not call start() if should_start is False."""
    proxy = MemoryProxy(should_start=False)
    await proxy.add_route("/user/ada/", "http://127.0.0.1:1", {})
    route = await proxy.get_route("/user/ada/")
    await proxy.stop()

    assert route == {"routespec": "/user/ada/", "target": "http://127.0.0.1:1", "data": {}}
    assert proxy.opened == 1


async def test_a_route_of_the_other_kind_of_routing_is_not_taken_over() -> None:
    """With host routing turned on, JupyterHub could not even delete a route without a host."""
    before = MemoryProxy()
    await before.start()
    await before.add_route("/user/ada/", "http://127.0.0.1:1", {})
    await before.stop()
    after = MemoryProxy(host_routing=True)
    after.place = before.place
    await after.start()
    routes = await after.get_all_routes()
    await after.stop()

    assert routes == {}


async def test_what_the_session_knows_of_activity_is_in_the_data() -> None:
    """As a text in UTC, which JupyterHub reads; unknown routes are ignored, and the stored data is as it was."""
    noon = datetime(2026, 3, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    proxy = MemoryProxy()
    proxy.activity = FakeActivity({"/user/ada/": noon, "/user/gone/": noon})
    await proxy.start()
    for name in ("ada", "bob"):
        await proxy.add_route(f"/user/{name}/", "http://127.0.0.1:1", {"user": name})
    routes = await proxy.get_all_routes()
    ada = await proxy.get_route("/user/ada/")
    await proxy.stop()

    assert isoparse(routes["/user/ada/"]["data"].pop("last_activity")) == noon
    assert {spec: route["data"] for spec, route in routes.items()} == {
        "/user/ada/": {"user": "ada"},
        "/user/bob/": {"user": "bob"},
    }
    assert ada is not None
    assert ada["data"] == {"user": "ada"}
