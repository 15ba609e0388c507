"""TraefikTomlProxy: what no other module decides."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from support.fixtures import ProxyMaker

from traefik_toml_proxy.routes import Route, RouteTable, Snapshot
from traefik_toml_proxy.stores.toml_document import TomlRenderer
from traefik_toml_proxy.traefik.dynamic import DynamicSettings


@pytest.mark.parametrize(
    ("host_routing", "kept"),
    [(False, {"/", "/user/ada/"}), (True, {"/", "ada.example.org/user/ada/"})],
)
async def test_routes_of_the_other_kind_of_routing_are_dropped_at_start(
    make_proxy: ProxyMaker, tmp_path: Path, host_routing: bool, kept: set[str]
) -> None:
    """After host routing was turned on or off, JupyterHub could not delete the old routes."""
    routes = [
        Route.checked(spec, "http://127.0.0.1:1", {}) for spec in ("/", "/user/ada/", "ada.example.org/user/ada/")
    ]
    text = TomlRenderer(DynamicSettings("http", "/secret"), writer="an earlier Hub").render(
        Snapshot(1, RouteTable(routes))
    )
    tmp_path.joinpath("state").mkdir()
    tmp_path.joinpath("state", "dynamic.toml").write_bytes(text)

    proxy = make_proxy(should_start=False, host_routing=host_routing)

    assert set(await proxy.get_all_routes()) == kept


async def test_data_is_copied_when_a_route_is_added(make_proxy: ProxyMaker, tmp_path: Path) -> None:
    """Changing the dict afterwards, before it is written, has no effect."""
    proxy = make_proxy(should_start=False, check_route_timeout=1, dynamic_config_file=str(tmp_path / "routes.toml"))
    await proxy.get_all_routes()
    data = {"user": "ada"}
    adding = asyncio.create_task(proxy.add_route("/user/ada/", "http://127.0.0.1:1", data))
    await asyncio.sleep(0)
    data["user"] = "mallory"
    await asyncio.wait([adding])
    adding.exception()  # nobody serves it

    assert (await proxy.get_all_routes())["/user/ada/"]["data"] == {"user": "ada"}
