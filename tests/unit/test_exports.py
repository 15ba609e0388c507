"""What others may rely on: the public names, and the entry point by which JupyterHub finds the proxy."""

from __future__ import annotations

from importlib.metadata import entry_points, version

import traefik_toml_proxy
from traefik_toml_proxy import TraefikProxy, TraefikTomlProxy
from traefik_toml_proxy.errors import InvalidRoute, ProxyError


def test_the_public_names_are_these() -> None:
    """A name goes from here only with a line in the changelog."""
    assert sorted(traefik_toml_proxy.__all__) == [
        "InvalidRoute",
        "ProxyError",
        "TraefikProxy",
        "TraefikTomlProxy",
        "__version__",
    ]
    assert not [name for name in traefik_toml_proxy.__all__ if not hasattr(traefik_toml_proxy, name)]


def test_the_errors_are_those_of_the_package() -> None:
    """Whoever catches the public name catches what is raised."""
    assert traefik_toml_proxy.InvalidRoute is InvalidRoute
    assert traefik_toml_proxy.ProxyError is ProxyError


def test_the_version_is_the_one_that_is_installed() -> None:
    """``__version__`` is the only place where it is written."""
    assert traefik_toml_proxy.__version__ == version("traefik-toml-proxy")


def test_jupyterhub_finds_the_proxy_by_its_entry_point() -> None:
    """``c.JupyterHub.proxy_class = "traefik-toml"`` is this class, and no other class has that name."""
    found = [point for point in entry_points(group="jupyterhub.proxies") if point.name == "traefik-toml"]

    assert [point.load() for point in found] == [TraefikTomlProxy]


def test_there_is_one_step_of_inheritance_between_the_two() -> None:
    """What is set for TraefikProxy is set for TraefikTomlProxy: ``c.TraefikProxy.…`` works for both."""
    assert TraefikTomlProxy.__bases__ == (TraefikProxy,)
