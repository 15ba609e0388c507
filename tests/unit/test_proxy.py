"""proxy: what is decided there, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.fixtures import ProxyMaker

from traefik_toml_proxy.routes import Route, RouteTable, Snapshot
from traefik_toml_proxy.traefik.dynamic import DynamicRenderer, DynamicSettings


@pytest.mark.parametrize(
    ("host_routing", "kept"),
    [(False, {"/", "/user/ada/"}), (True, {"/", "ada.example.org/user/ada/"})],
)
async def test_routes_of_the_other_kind_of_routing_are_dropped_at_start(
    make_proxy: ProxyMaker, tmp_path: Path, host_routing: bool, kept: set[str]
) -> None:
    """A Hub that has turned host routing on or off does not inherit routes that it could not delete."""
    routes = [
        Route.checked(spec, "http://127.0.0.1:1", {}) for spec in ("/", "/user/ada/", "ada.example.org/user/ada/")
    ]
    text = DynamicRenderer(DynamicSettings("http", "/secret", "an earlier Hub")).render(Snapshot(1, RouteTable(routes)))
    tmp_path.joinpath("state").mkdir()
    tmp_path.joinpath("state", "dynamic.toml").write_bytes(text)

    proxy = make_proxy(should_start=False, host_routing=host_routing)

    assert set(await proxy.get_all_routes()) == kept
