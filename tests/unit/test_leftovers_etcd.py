"""Settings without effect when the routes are in etcd: what takes the place of each is said."""

from __future__ import annotations

import logging
import re
from typing import Any

import pytest
from jupyterhub.app import JupyterHub
from jupyterhub.proxy import ConfigurableHTTPProxy
from traitlets.config import Config

from traefik_toml_proxy import TraefikEtcdProxy, TraefikTomlProxy
from traefik_toml_proxy.cli.agent import AgentApp
from traefik_toml_proxy.errors import ConfigurationError
from traefik_toml_proxy.proxies import leftovers, leftovers_etcd
from traefik_toml_proxy.proxies.base import RoutingProxy
from traefik_toml_proxy.proxies.leftovers_etcd import etcd_leftovers

OWN = {cls.__name__ for cls in TraefikEtcdProxy.__mro__}
OF_ONE_TRAEFIK = sorted(
    {*TraefikTomlProxy.class_trait_names(config=True)} - {*RoutingProxy.class_trait_names(config=True)}
)


def found(**config: dict[str, Any]) -> list[str]:
    """Return what is said about a configuration."""
    return etcd_leftovers(Config(config), OWN)


def test_our_own_settings_are_not_named() -> None:
    config: dict[str, dict[str, Any]] = {
        "JupyterHub": {"bind_url": "http://:8000"},
        "Proxy": {"should_start": False},
        "TraefikEtcdProxy": {"etcd_endpoints": ["http://a:1"], "etcd_username": "hub", "check_route_timeout": 9},
        "AgentApp": {"state_dir": "x"},
    }

    assert found(**config) == []


@pytest.mark.parametrize("section", ["TraefikProxy", "TraefikTomlProxy"])
@pytest.mark.parametrize("name", OF_ONE_TRAEFIK)
def test_each_setting_for_one_traefik_is_named_once(section: str, name: str) -> None:
    """With what takes its place, and without its value."""
    (line,) = found(**{section: {name: "hush"}})

    assert line.startswith(f"c.{section}.{name} has no effect with this proxy: ")
    assert "another proxy" not in line
    assert "hush" not in line


@pytest.mark.parametrize(
    ("section", "name", "words"),
    [
        ("TraefikProxy", "trusted_proxies", "use c.AgentApp.trusted_proxies in the configuration of the agents"),
        ("TraefikTomlProxy", "dynamic_config_file", "in etcd"),
        ("TraefikProxy", "traefik_api_url", "no API"),
        ("TraefikProxy", "made_up", "another proxy"),
        ("JupyterHub", "proxy_cmd", "use c.AgentApp.traefik_command for the program"),
        ("ConfigurableHTTPProxy", "debug", "c.AgentApp.traefik_log_level"),
        ("ConfigurableHTTPProxy", "auth_token", "no password"),
        ("TraefikFileProviderProxy", "dynamic_config_file", "in etcd"),
        ("TraefikFileProviderProxy", "extra_static_config", "c.AgentApp.extra_static_config"),
        ("TraefikFileProviderProxy", "check_route_timeout", "c.TraefikEtcdProxy.check_route_timeout"),
        ("TraefikConsulProxy", "consul_url", "in etcd"),
        ("TraefikEtcdProxy", "etcd_url", "c.TraefikEtcdProxy.etcd_endpoints"),
        ("TraefikEtcdProxy", "kv_jupyterhub_prefix", "c.TraefikEtcdProxy.etcd_root"),
        ("TraefikEtcdProxy", "traefik_api_password", "no API"),
    ],
)
def test_what_takes_its_place(section: str, name: str, words: str) -> None:
    """Also for another proxy, and for the class of the same name of jupyterhub-traefik-proxy."""
    (line,) = found(**{section: {name: "hush"}})

    assert line.startswith(f"c.{section}.{name} has no effect with this proxy: ")
    assert words in line
    assert "hush" not in line
    assert "c.TraefikProxy" not in line.partition(": ")[2]


def test_options_of_configurable_http_proxy() -> None:
    command = ["configurable-http-proxy", "--redirect-port=80", "--log-level=debug", "--ssl-key=x"]
    lines = found(ConfigurableHTTPProxy={"command": command})

    assert "let the balancer do it" in lines[1]
    assert "c.AgentApp.traefik_log_level" in lines[2]
    assert len(lines) == 4


def test_what_takes_the_place_exists() -> None:
    """An answer that names a setting names one that there is; an agent has those that it is said to have."""
    classes = {cls.__name__: cls for cls in (JupyterHub, AgentApp, *TraefikEtcdProxy.__mro__)}
    named = set()
    texts = [*leftovers_etcd._INSTEAD.values(), *leftovers._JTP_ETCD.values()]
    texts += [found(TraefikProxy={name: 1})[0].partition(": ")[2] for name in OF_ONE_TRAEFIK]
    texts += [
        line.partition(": ")[2]
        for name in ConfigurableHTTPProxy.class_trait_names(config=True)
        for line in found(ConfigurableHTTPProxy={name: "x"})
    ]
    for text in texts:
        named |= {*re.findall(r"c\.(\w+)\.(\w+)", text)}

    assert len(named) > 10
    assert {name for name in named if name[1] not in classes[name[0]].class_trait_names()} == set()


async def test_the_proxy_says_so_once_when_it_starts(caplog: pytest.LogCaptureFixture) -> None:
    """And traitlets does not warn of what is named."""
    settings = {"TraefikProxy": {"state_dir": "x"}, "TraefikEtcdProxy": {"etcd_url": "http://x"}}
    proxy = TraefikEtcdProxy(config=Config(settings), log=logging.getLogger("hub"))
    with pytest.raises(ConfigurationError, match="etcd_endpoints is empty"):
        await proxy.start()

    said = [record.getMessage() for record in caplog.records]
    assert [line.split()[0] for line in said] == ["c.TraefikProxy.state_dir", "c.TraefikEtcdProxy.etcd_url"]
