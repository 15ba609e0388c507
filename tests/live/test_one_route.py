"""The smallest complete test: one route through a real Traefik."""

from __future__ import annotations

from support.backend import get
from support.fixtures import BackendMaker

from traefik_toml_proxy import TraefikTomlProxy


async def test_a_route_is_served_when_add_returns_and_gone_when_delete_returns(
    proxy: TraefikTomlProxy, make_backend: BackendMaker
) -> None:
    """The next request after add_route reaches the target, and the next one after delete_route does not."""
    alice = await make_backend("alice")

    await proxy.add_route("/user/alice/", alice.url, {"user": "alice"})
    assert (await get(proxy.public_url, "/user/alice/lab?x=1")).seen["path"] == "/user/alice/lab?x=1"

    await proxy.delete_route("/user/alice/")
    assert (await get(proxy.public_url, "/user/alice/lab")).status == 404
