"""The public API: the exported names, and the entry point by which JupyterHub finds the proxy."""

from __future__ import annotations

from importlib.metadata import entry_points, version

import pytest

import traefik_toml_proxy
from traefik_toml_proxy import InProcessProxy, TraefikEtcdProxy, TraefikProxy, TraefikTomlProxy
from traefik_toml_proxy.errors import InvalidRoute, ProxyError


def test_the_public_names_are_these() -> None:
    """A name is removed only with a line in the changelog."""
    assert sorted(traefik_toml_proxy.__all__) == [
        "InProcessProxy",
        "InvalidRoute",
        "ProxyError",
        "TraefikEtcdProxy",
        "TraefikProxy",
        "TraefikTomlProxy",
        "__version__",
    ]
    assert not [name for name in traefik_toml_proxy.__all__ if not hasattr(traefik_toml_proxy, name)]


def test_the_errors_are_those_of_the_package() -> None:
    """Catching the exported name catches what is raised."""
    assert traefik_toml_proxy.InvalidRoute is InvalidRoute
    assert traefik_toml_proxy.ProxyError is ProxyError


def test_the_version_is_the_one_that_is_installed() -> None:
    """``__version__`` is the single place where it is set."""
    assert traefik_toml_proxy.__version__ == version("traefik-toml-proxy")


@pytest.mark.parametrize(
    ("name", "proxy"),
    [("traefik-toml", TraefikTomlProxy), ("traefik-etcd-ha", TraefikEtcdProxy), ("in-process", InProcessProxy)],
)
def test_jupyterhub_finds_a_proxy_by_its_entry_point(name: str, proxy: type) -> None:
    """``c.JupyterHub.proxy_class`` is this class, and no other class has that name."""
    found = [point for point in entry_points(group="jupyterhub.proxies") if point.name == name]

    assert [point.load() for point in found] == [proxy]


def test_traefik_toml_proxy_inherits_from_traefik_proxy_directly() -> None:
    """So ``c.TraefikProxy.…`` in a configuration applies to both."""
    assert TraefikTomlProxy.__bases__ == (TraefikProxy,)
