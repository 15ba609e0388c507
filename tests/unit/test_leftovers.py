"""Settings of other proxies that are left in the configuration: what takes the place of each is said."""

from __future__ import annotations

import logging
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from jupyterhub.app import JupyterHub
from jupyterhub.proxy import ConfigurableHTTPProxy
from support.chp import CHP_COMMAND
from traitlets.config import Config
from traitlets.config.loader import LazyConfigValue

from traefik_toml_proxy import TraefikTomlProxy
from traefik_toml_proxy.proxies import leftovers as module
from traefik_toml_proxy.proxies.leftovers import leftovers

OWN = {cls.__name__ for cls in TraefikTomlProxy.__mro__}


def found(**config: dict[str, Any]) -> list[str]:
    """Return what is said about a configuration."""
    return leftovers(Config(config), OWN)


def test_our_own_settings_are_not_named() -> None:
    """Nor are those of JupyterHub, its spawners and authenticators."""
    config: dict[str, dict[str, Any]] = {
        "JupyterHub": {"bind_url": "http://:8000"},
        "Proxy": {"should_start": False},
        "TraefikProxy": {"state_dir": "x", "traefik_url": "http://a:1"},
        "TraefikTomlProxy": {"dynamic_config_file": "x.toml", "static_config_file": "y.toml"},
        "Spawner": {"debug": True},
    }

    assert found(**config) == []


@pytest.mark.parametrize(
    ("section", "name", "words"),
    [
        ("JupyterHub", "proxy_cmd", "traefik_command"),
        ("JupyterHub", "debug_proxy", "traefik_log_level"),
        ("JupyterHub", "proxy_api_port", "no API"),
        ("ConfigurableHTTPProxy", "auth_token", "no password"),
        ("ConfigurableHTTPProxy", "should_start", "c.Proxy.should_start"),
        ("ConfigurableHTTPProxy", "extra_routes", "c.Proxy.extra_routes"),
        ("ConfigurableHTTPProxy", "made_up", "another proxy"),
        ("TraefikFileProviderProxy", "dynamic_config_file", "c.TraefikTomlProxy.dynamic_config_file"),
        ("TraefikFileProviderProxy", "extra_static_config", "c.TraefikProxy.extra_static_config"),
        ("TraefikFileProviderProxy", "should_start", "c.Proxy.should_start"),
        ("TraefikProxy", "traefik_api_password", "no API"),
        ("TraefikProxy", "traefik_providers_throttle_duration", "nothing is held back"),
        ("TraefikProxy", "dynamic_config_file", "c.TraefikTomlProxy.dynamic_config_file"),
        ("TraefikTomlProxy", "toml_dynamic_config_file", "c.TraefikTomlProxy.dynamic_config_file"),
        ("TraefikEtcdProxy", "etcd_url", "no database"),
        ("TraefikConsulProxy", "consul_username", "no database"),
        ("TraefikRedisProxy", "redis_url", "no database"),
        ("TKvProxy", "kv_separator", "no database"),
        ("KubeIngressProxy", "ingress_secret_name", "another proxy"),
    ],
)
def test_each_setting_is_named_once_with_what_takes_its_place(section: str, name: str, words: str) -> None:
    """Its value is not shown: it may be a password."""
    (line,) = found(**{section: {name: "hush"}})

    assert line.startswith(f"c.{section}.{name} has no effect with this proxy: ")
    assert words in line
    assert "hush" not in line


def test_what_is_set_here_as_well_is_not_named() -> None:
    """The Littlest JupyterHub always sets that of the other class; it is the file that the routes are in."""
    theirs = {"dynamic_config_file": "/opt/rules.toml", "check_route_timeout": 9}
    lines = found(TraefikFileProviderProxy=theirs, TraefikTomlProxy={"dynamic_config_file": "/opt/rules.toml"})

    assert [line.split()[0] for line in lines] == ["c.TraefikFileProviderProxy.check_route_timeout"]


def test_traitlets_does_not_warn_of_what_is_named(caplog: pytest.LogCaptureFixture) -> None:
    """It would guess what was meant; it still warns of a setting that nobody knows."""
    config = Config({"TraefikProxy": {"traefik_api_url": "http://x", "typo": 1, "traefik_url": "http://a:1"}})
    proxy = TraefikTomlProxy(config=config, log=logging.getLogger("hub"))

    assert proxy.traefik_url == "http://a:1"
    assert proxy.config == config
    (said,) = [record.getMessage() for record in caplog.records]
    assert "`typo` not recognized" in said


def test_what_jupyterhub_has_copied_is_not_named_twice() -> None:
    """It copies its own old settings to those of configurable-http-proxy."""
    lines = found(JupyterHub={"proxy_cmd": ["chp"]}, ConfigurableHTTPProxy={"command": ["chp"], "debug": True})

    assert [line.split()[0] for line in lines] == ["c.ConfigurableHTTPProxy.debug", "c.JupyterHub.proxy_cmd"]


@pytest.mark.parametrize(
    "command",
    [
        ["configurable-http-proxy", "--redirect-port", "80", "--timeout=hush", "--redirect-port=81", "--made-up"],
        "configurable-http-proxy --redirect-port 80 --timeout=hush --made-up 'unbalanced",
    ],
)
@pytest.mark.parametrize(("section", "name"), [("ConfigurableHTTPProxy", "command"), ("JupyterHub", "proxy_cmd")])
def test_each_option_of_a_command_is_named_once(section: str, name: str, command: object) -> None:
    """In the order in which they are given, without their values."""
    lines = found(**{section: {name: command}})

    assert [line.split()[0] for line in lines] == [
        f"c.{section}.{name}", "'--redirect-port'", "'--timeout'", "'--made-up'"
    ]  # fmt: skip
    assert "c.TraefikProxy.redirect_http" in lines[1]
    assert "no counterpart" in lines[3]
    assert "hush" not in "".join(lines)


def test_a_command_that_is_not_known_yet_has_no_options() -> None:
    """Traitlets may hold a list that is extended later."""
    lines = found(ConfigurableHTTPProxy={"command": LazyConfigValue()})

    assert len(lines) == 1


def test_every_setting_of_configurable_http_proxy_has_an_answer() -> None:
    """Also those that a later JupyterHub adds: this test fails then."""
    names = ConfigurableHTTPProxy.class_trait_names(config=True)
    unknown = [name for name in names if "another proxy" in found(ConfigurableHTTPProxy={name: "x"})[0]]

    assert unknown == []


@pytest.mark.skipif(CHP_COMMAND is None, reason="configurable-http-proxy is not installed")
def test_the_options_without_an_answer_are_few() -> None:
    """They would change what JupyterHub relies on, or are for a socket in the file system."""
    assert CHP_COMMAND is not None
    shown = subprocess.run([CHP_COMMAND, "--help"], capture_output=True, text=True, check=True, timeout=30).stdout
    options = re.findall(r"(?m)^  (?:-\w, )?(--[\w-]+)", shown)
    lines = [found(ConfigurableHTTPProxy={"command": ["chp", option]})[1] for option in options]

    assert len(options) > 40
    assert {line.split()[0].strip("'") for line in lines if "no counterpart" in line} == {
        *("--auto-rewrite", "--change-origin", "--protocol-rewrite", "--insecure"),
        *("--no-include-prefix", "--no-prepend-path", "--socket", "--help", "--version"),
    }


def _named_in_answers() -> Iterator[tuple[str, str]]:
    """Return each setting that an answer names, as class and trait."""
    texts = [text for table in (module._CHP, module._OPTIONS, module.JTP) for text in table.values()]
    for text in [*texts, module._OTHER_STORE]:
        yield from re.findall(r"c\.(\w+)\.(\w+)", text)


def test_what_takes_the_place_exists() -> None:
    """An answer that names a setting names one that there is."""
    classes = {cls.__name__: cls for cls in (JupyterHub, *TraefikTomlProxy.__mro__)}
    named = set(_named_in_answers())

    assert len(named) > 10
    assert {name for name in named if name[1] not in classes[name[0]].class_trait_names()} == set()
