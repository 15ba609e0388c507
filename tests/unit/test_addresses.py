"""traefik_toml_proxy.addresses: where the proxy listens, and where the Hub reaches it."""

from __future__ import annotations

import pytest

from traefik_toml_proxy.addresses import listen_address, reachable_url
from traefik_toml_proxy.errors import ConfigurationError


@pytest.mark.parametrize(
    ("public_url", "address", "url"),
    [
        ("http://127.0.0.1:8000", "127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://127.0.0.1:8000/base/", "127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://:8000", ":8000", "http://127.0.0.1:8000"),
        ("http://*:8000", ":8000", "http://127.0.0.1:8000"),
        ("http://0.0.0.0:8000", "0.0.0.0:8000", "http://127.0.0.1:8000"),
        ("https://[::]:8000", "[::]:8000", "https://[::1]:8000"),
        ("http://[::1]:8000", "[::1]:8000", "http://[::1]:8000"),
        ("https://hub.example.com", "hub.example.com:443", "https://hub.example.com:443"),
        ("http://", ":80", "http://127.0.0.1:80"),
    ],
)
def test_where_to_listen_and_how_to_reach_it(public_url: str, address: str, url: str) -> None:
    """An empty host and ``*`` mean all addresses; the Hub then uses loopback."""
    assert address == listen_address(public_url)
    assert url == reachable_url(public_url)


@pytest.mark.parametrize(
    ("public_url", "reason"),
    [
        ("http+unix://%2Frun%2Fhub.sock", "cannot listen on a unix socket"),
        ("unix+http://%2Frun%2Fhub.sock", "cannot listen on a unix socket"),
        ("ftp://h:1", "is not an address to listen on"),
        ("h:8000", "is not an address to listen on"),
        ("", "is not an address to listen on"),
        ("http://h:port", "is not an address to listen on"),
        ("http://h:65536", "is not an address to listen on"),
        ("http://[::1", "is not an address to listen on"),
    ],
)
def test_an_address_that_cannot_be_listened_on_is_refused(public_url: str, reason: str) -> None:
    """The error shows the address and names its setting."""
    with pytest.raises(ConfigurationError, match=f"{reason}.*c.JupyterHub.bind_url"):
        listen_address(public_url)
    with pytest.raises(ConfigurationError, match=f"{reason}.*c.JupyterHub.bind_url"):
        reachable_url(public_url)
