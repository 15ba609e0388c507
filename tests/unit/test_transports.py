"""traefik_toml_proxy.traefik.transports: which transport a route has, and Traefik's form of it."""

from __future__ import annotations

from typing import Any

import pytest

from traefik_toml_proxy.routes import Route
from traefik_toml_proxy.traefik.names import Names
from traefik_toml_proxy.traefik.transports import Transport, Transports

INTERNAL, EXTRA = Transport("their CA", "my certificate", "my key"), Transport("another CA")
BOTH = Transports(INTERNAL, EXTRA)
NEITHER = Transports()


@pytest.mark.parametrize(
    ("transports", "target", "data", "expected"),
    [
        (BOTH, "https://127.0.0.1:1", {"user": "ada", "server_name": ""}, "jupyterhub-internal"),
        (BOTH, "HTTPS://hub:1/hub/", {"hub": True}, "jupyterhub-internal"),
        (BOTH, "https://127.0.0.1:1", {"extra": True}, "jupyterhub-extra"),
        (BOTH, "http://127.0.0.1:1", {"service": "announcements"}, None),
        (BOTH, "http://127.0.0.1:1", {"extra": True}, None),
        (Transports(internal=INTERNAL), "https://127.0.0.1:1", {"extra": True}, None),
        (Transports(extra=EXTRA), "https://127.0.0.1:1", {}, None),
        (NEITHER, "https://127.0.0.1:1", {}, None),
    ],
)
def test_only_https_targets_have_a_transport_and_extra_routes_their_own(
    transports: Transports, target: str, data: dict[str, Any], expected: str | None
) -> None:
    """All others use Traefik's default one."""
    assert transports.name_for(Route.checked("/x/", target, data), Names()) == expected


def test_the_hub_s_pages_come_through_the_internal_transport() -> None:
    """If the Hub speaks https."""
    urls = ["https://hub:8081/hub/", "http://hub:8081/hub/"]

    assert [BOTH.name_inside(url, Names()) for url in urls] == ["jupyterhub-internal", None]
    assert [NEITHER.name_inside(url, Names()) for url in urls] == [None, None]


def test_the_client_certificate_is_shown_by_the_internal_transport_alone() -> None:
    """No server name is set, so each target is verified for its own host or address."""
    assert BOTH.as_objects(Names()) == {
        "jupyterhub-internal": {
            "rootCAs": ["their CA"],
            "maxIdleConnsPerHost": 200,
            "certificates": [{"certFile": "my certificate", "keyFile": "my key"}],
        },
        "jupyterhub-extra": {"rootCAs": ["another CA"], "maxIdleConnsPerHost": 200},
    }
    assert NEITHER.as_objects(Names()) == {}


def test_the_key_is_not_shown_by_repr() -> None:
    """So it cannot get into a log or a traceback."""
    assert "my key" not in repr(BOTH)
