"""traefik_toml_proxy.traefik.targets: which targets Traefik can send requests to."""

from __future__ import annotations

import pytest

from traefik_toml_proxy.errors import InvalidRoute
from traefik_toml_proxy.routes import Route
from traefik_toml_proxy.traefik.targets import check_target


@pytest.mark.parametrize(
    "target", ["http+unix://%2Frun%2Fhub.sock", "unix+http://%2Frun%2Fhub.sock", "Http+UNIX://%2Frun%2Fhub.sock"]
)
def test_a_unix_socket_is_refused(target: str) -> None:
    """It is a target that a route can have, but Traefik dials TCP only."""
    route = Route.checked("/x/", target, {})

    with pytest.raises(
        InvalidRoute, match=r"The route '/x/' is refused: its target .* is a unix socket, which Traefik"
    ):
        check_target(route)


@pytest.mark.parametrize("target", ["http://127.0.0.1:8001", "https://hub.local/base"])
def test_other_targets_pass(target: str) -> None:
    """Whatever else a route can have as its target is fine."""
    check_target(Route.checked("/x/", target, {}))
