"""traefik_toml_proxy.addresses: where the proxy listens, and where the Hub reaches it."""

from __future__ import annotations

import pytest

from traefik_toml_proxy.addresses import https_port, listen_address, reachable_url, redirect_address
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


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("80", "192.0.2.1:80"),
        (":80", ":80"),
        ("*:80", ":80"),
        ("127.0.0.1:8080", "127.0.0.1:8080"),
        ("localhost:8080", "localhost:8080"),
        ("[::1]:8080", "[::1]:8080"),
    ],
)
def test_a_port_for_plain_http_is_on_the_host_of_bind_url(given: str, expected: str) -> None:
    """Nothing listens wider than asked; all addresses have to be asked for."""
    assert redirect_address(given, "https://192.0.2.1:443/base/") == expected


def test_a_port_for_plain_http_is_as_wide_as_bind_url() -> None:
    """Whatever that is."""
    assert redirect_address("80", "https://:443") == ":80"
    assert redirect_address("80", "https://[::1]:443") == "[::1]:80"


@pytest.mark.parametrize(
    "given", ["", "http", "0", "65536", ":", "h:", "a/b:80", "u@h:80", "::1:80", "80\n", "\u0668\u0660", "http://h:80"]
)
def test_what_is_no_address_for_plain_http_is_refused(given: str) -> None:
    """The error shows it, escaped."""
    with pytest.raises(ConfigurationError, match=r"redirect_http: .* is neither a port nor an address") as failure:
        redirect_address(given, "https://:443")

    assert ascii(given) in str(failure.value)


@pytest.mark.parametrize(
    ("hub_public_url", "expected"),
    [
        ("", 8443),
        ("https://hub.example.org/", 443),
        ("https://hub.example.org:9443/base/", 9443),
        ("http://hub.example.org/", 8443),
    ],
)
def test_users_reach_the_port_in_public_url(hub_public_url: str, expected: int) -> None:
    """Or the one that the proxy listens on."""
    assert https_port(hub_public_url, "https://127.0.0.1:8443") == expected
