"""Where the requests of a route go."""

from __future__ import annotations

import os
from typing import Any

import pytest

from traefik_toml_proxy.inprocess.targets import Address, Target, kind_of, target_at, target_of
from traefik_toml_proxy.routes import Route


@pytest.mark.parametrize(
    ("target", "data", "address", "prefix", "authority"),
    [
        ("http://127.0.0.1:8081", {}, Address("127.0.0.1", 8081, "", ""), b"", b"127.0.0.1:8081"),
        ("http://[::1]:8081/", {}, Address("::1", 8081, "", ""), b"", b"[::1]:8081"),
        ("http://host/a/b%20c/", {"extra": True}, Address("host", 80, "", ""), b"/a/b%20c", b"host"),
        ("https://host", {"user": "a"}, Address("host", 443, "", "internal"), b"", b"host"),
        ("https://host:1/a", {"extra": True}, Address("host", 1, "", "extra"), b"/a", b"host:1"),
        ("http+unix://%2Frun%2Fa%20b.sock", {}, Address("", 0, "/run/a b.sock", ""), b"", b"localhost"),
        ("http+unix://%2Frun%2Fa%FF.sock", {}, Address("", 0, os.fsdecode(b"/run/a\xff.sock"), ""), b"", b"localhost"),
        ("unix+http://%2Frun%2Fa.sock/b", {}, Address("", 0, "/run/a.sock", ""), b"/b", b"localhost"),
    ],
)
def test_a_target_is_read(target: str, data: dict[str, Any], address: Address, prefix: bytes, authority: bytes) -> None:
    """Of extra routes, JupyterHub's own certificates are not expected."""
    assert target_of(Route.checked("/a/", target, data)) == Target(address, prefix, authority)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        ({"hub": True}, "hub"),
        ({"user": "ada", "server_name": ""}, "user"),
        ({"service": "hub"}, "service"),
        ({"extra": True}, "extra"),
        ({}, "other"),
        ({"user": ""}, "other"),
    ],
)
def test_what_a_route_is_for(data: dict[str, Any], kind: str) -> None:
    """As JupyterHub marks it; a name like one of these changes nothing."""
    assert kind_of(Route.checked("/user/hub/", "http://h", data)) == kind


def test_a_url_of_the_hub_is_read() -> None:
    """It is one of those with JupyterHub's own certificates."""
    assert target_at("https://127.0.0.1:8081/hub/") == Target(
        Address("127.0.0.1", 8081, "", "internal"), b"/hub", b"127.0.0.1:8081"
    )
