"""Settings without effect when there is no Traefik: what takes the place of each is said."""

from __future__ import annotations

import logging
import re
import subprocess
from typing import Any

import pytest
from jupyterhub.app import JupyterHub
from jupyterhub.proxy import ConfigurableHTTPProxy
from support.chp import CHP_COMMAND
from traitlets.config import Config

from traefik_toml_proxy import InProcessProxy, TraefikEtcdProxy, TraefikTomlProxy
from traefik_toml_proxy.errors import ConfigurationError
from traefik_toml_proxy.proxies import leftovers as others
from traefik_toml_proxy.proxies import leftovers_inprocess as module
from traefik_toml_proxy.proxies.base import RoutingProxy
from traefik_toml_proxy.proxies.leftovers_inprocess import inprocess_leftovers

OWN = {cls.__name__ for cls in InProcessProxy.__mro__}
FOR_TRAEFIK = [
    (section, name)
    for section, cls in [
        ("TraefikProxy", TraefikTomlProxy),
        ("TraefikTomlProxy", TraefikTomlProxy),
        ("TraefikEtcdProxy", TraefikEtcdProxy),
    ]
    for name in sorted({*cls.class_trait_names(config=True)} - {*RoutingProxy.class_trait_names(config=True)})
    if name != "lease_seconds"  # which nobody else has
]
OF_OTHERS = [
    *(("ConfigurableHTTPProxy", name) for name in ConfigurableHTTPProxy.class_trait_names(config=True)),
    *(("TraefikFileProviderProxy", name) for name in (*others.JTP, *others._SHARED)),
    *(("TraefikEtcdProxy", name) for name in others._JTP_ETCD),
    *(("InProcessProxy", name) for name in others.JTP),
    *(("JupyterHub", name) for name in others.HUB),
]


def found(**config: dict[str, Any]) -> list[str]:
    """Return what is said about a configuration."""
    return inprocess_leftovers(Config(config), OWN)


def test_our_own_settings_are_not_named() -> None:
    config: dict[str, dict[str, Any]] = {
        "JupyterHub": {"bind_url": "http://:8000"},
        "Proxy": {"extra_routes": {}},
        "InProcessProxy": {"where": "process", "state_dir": "x", "redirect_http": 80, "trusted_proxies": ["::1"]},
        "Spawner": {"debug": True},
    }

    assert found(**config) == []


@pytest.mark.parametrize(("section", "name"), FOR_TRAEFIK + OF_OTHERS)
def test_each_setting_is_named_once(section: str, name: str) -> None:
    """With what takes its place, and without its value."""
    (line,) = found(**{section: {name: "hush"}})

    assert line.startswith(f"c.{section}.{name} has no effect with this proxy: ")
    assert "another proxy" not in line
    assert "hush" not in line


@pytest.mark.parametrize(
    ("section", "name", "words"),
    [
        ("TraefikProxy", "trusted_proxies", "use c.InProcessProxy.trusted_proxies"),
        ("TraefikTomlProxy", "redirect_http", "use c.InProcessProxy.redirect_http"),
        ("TraefikProxy", "extra_routes_ca", "use c.InProcessProxy.extra_routes_ca"),
        ("TraefikProxy", "letsencrypt_domains", "c.JupyterHub.ssl_cert"),
        ("TraefikProxy", "track_activity", "the proxy knows by itself"),
        ("TraefikProxy", "extra_static_config", "there is no Traefik here"),
        ("TraefikProxy", "traefik_log_level", "c.InProcessProxy.access_log"),
        ("TraefikTomlProxy", "state_dir", "c.InProcessProxy.state_dir"),
        ("TraefikTomlProxy", "dynamic_config_file", "no file"),
        ("TraefikEtcdProxy", "etcd_endpoints", "in memory"),
        ("TraefikEtcdProxy", "etcd_url", "in memory"),
        ("TraefikEtcdProxy", "lease_seconds", "in memory"),
        ("TraefikProxy", "made_up", "another proxy"),
        ("ConfigurableHTTPProxy", "auth_token", "no password"),
        ("ConfigurableHTTPProxy", "should_start", "the Hub always starts this proxy"),
        ("JupyterHub", "proxy_cmd", "no program is started"),
        ("TraefikFileProviderProxy", "traefik_api_password", "no API"),
        ("TraefikConsulProxy", "consul_url", "in memory"),
    ],
)
def test_what_takes_its_place(section: str, name: str, words: str) -> None:
    (line,) = found(**{section: {name: 1}})

    assert words in line.partition(": ")[2]


def test_options_of_configurable_http_proxy() -> None:
    """One that has the same advice with each proxy, and those that have another one without Traefik."""
    options = ["--ssl-key=x", "--redirect-port=80", "--no-x-forward", "--ssl-ciphers", "hush", "--made-up", "-x"]
    lines = found(ConfigurableHTTPProxy={"command": ["configurable-http-proxy", *options]})

    assert [line.partition(": ")[2] for line in lines[1:]] == [
        "use c.JupyterHub.ssl_cert and c.JupyterHub.ssl_key.",
        "use c.InProcessProxy.redirect_http.",
        f"{module._HEADERS}.",
        f"{module._TLS}.",
        "it has no counterpart here.",
    ]
    assert "hush" not in "".join(lines)


def _all_lines() -> list[str]:
    """Return all that can be said."""
    lines = [line for section, name in FOR_TRAEFIK + OF_OTHERS for line in found(**{section: {name: "x"}})]
    options = [f"{start}x" for start in (*others._OPTIONS, *module._OPTIONS)]
    return lines + found(ConfigurableHTTPProxy={"command": ["chp", *options]})


def test_what_takes_the_place_exists() -> None:
    """An answer that names a setting names one that there is, and none of a proxy with Traefik."""
    classes = {cls.__name__: cls for cls in (JupyterHub, *InProcessProxy.__mro__)}
    named = {name for line in _all_lines() for name in re.findall(r"c\.(\w+)\.(\w+)", line.partition(": ")[2])}

    assert len(named) > 8
    assert {name for name in named if name[0] not in classes} == set()
    assert {name for name in named if name[1] not in classes[name[0]].class_trait_names()} == set()


@pytest.mark.skipif(CHP_COMMAND is None, reason="configurable-http-proxy is not installed")
def test_no_option_that_there_is_sends_to_traefik() -> None:
    assert CHP_COMMAND is not None
    shown = subprocess.run([CHP_COMMAND, "--help"], capture_output=True, text=True, check=True, timeout=30).stdout
    options = re.findall(r"(?m)^  (?:-\w, )?(--[\w-]+)", shown)
    lines = found(ConfigurableHTTPProxy={"command": ["chp", *options]})

    assert len(lines) > 40
    assert [line for line in lines if "Traefik" in line] == []


async def test_the_proxy_says_so_once_when_it_starts(caplog: pytest.LogCaptureFixture) -> None:
    """And traitlets does not warn of what is named."""
    settings = {
        "TraefikProxy": {"trusted_proxies": ["::1"]},
        "InProcessProxy": {"traefik_api_url": "http://x"},
        "Proxy": {"should_start": False},
    }
    proxy = InProcessProxy(config=Config(settings), log=logging.getLogger("hub"))
    with pytest.raises(ConfigurationError, match=r"Remove that setting, or use c\.JupyterHub\.proxy_class"):
        await proxy.start()

    said = [record.getMessage() for record in caplog.records]
    assert [line.split()[0] for line in said] == ["c.InProcessProxy.traefik_api_url", "c.TraefikProxy.trusted_proxies"]
