"""The traits: their names and their help texts."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from jupyterhub.app import JupyterHub
from jupyterhub.proxy import Proxy
from traitlets import TraitError
from traitlets.config import Config
from traitlets.config.loader import DeferredConfigString

from traefik_toml_proxy import InProcessProxy, TraefikProxy, TraefikTomlProxy

OWN = {
    f"{cls.__name__}.{name}": trait
    for cls in (TraefikProxy, TraefikTomlProxy)
    for name, trait in cls.class_own_traits(config=True).items()
}


def test_the_settings_are_these() -> None:
    """A setting that jupyterhub-traefik-proxy has as well has the same name here."""
    assert sorted(OWN) == [
        "TraefikProxy.check_route_timeout",
        "TraefikProxy.default_certificate",
        "TraefikProxy.extra_dynamic_config",
        "TraefikProxy.extra_routes_ca",
        "TraefikProxy.extra_static_config",
        "TraefikProxy.letsencrypt_ca",
        "TraefikProxy.letsencrypt_challenge",
        "TraefikProxy.letsencrypt_domains",
        "TraefikProxy.letsencrypt_email",
        "TraefikProxy.letsencrypt_server",
        "TraefikProxy.letsencrypt_staging",
        "TraefikProxy.namespace",
        "TraefikProxy.redirect_http",
        "TraefikProxy.route_middlewares",
        "TraefikProxy.rule_hosts",
        "TraefikProxy.start_timeout",
        "TraefikProxy.state_dir",
        "TraefikProxy.static_config_file",
        "TraefikProxy.track_activity",
        "TraefikProxy.traefik_command",
        "TraefikProxy.traefik_entrypoint",
        "TraefikProxy.traefik_env",
        "TraefikProxy.traefik_log_level",
        "TraefikProxy.traefik_url",
        "TraefikProxy.trusted_proxies",
        "TraefikTomlProxy.dynamic_config_file",
        "TraefikTomlProxy.dynamic_config_file_group",
        "TraefikTomlProxy.dynamic_config_file_mode",
        "TraefikTomlProxy.watched_folder",
    ]
    assert "should_start" in Proxy.class_traits(config=True)


@pytest.mark.parametrize("name", OWN)
def test_each_setting_has_a_help_text(name: str) -> None:
    """It begins with a sentence: a capital letter, some words, and a period or a colon at the end."""
    help_text: str = inspect.cleandoc(OWN[name].help)
    first = help_text.partition("\n\n")[0]

    assert first[:1].isupper()
    assert len(first.split()) >= 5
    assert first.endswith((".", ":"))
    assert max(map(len, help_text.splitlines())) <= 120


@pytest.mark.parametrize("cls", [TraefikProxy, TraefikTomlProxy])
def test_jupyterhub_s_help_shows_them(cls: Any) -> None:
    """``jupyterhub --help-all`` and ``--generate-config`` show every setting."""
    shown, section = cls.class_get_help(), cls.class_config_section()

    for name in cls.class_own_traits(config=True):
        assert f"--{cls.__name__}.{name}=" in shown
        assert f"# c.{cls.__name__}.{name} = " in section


def test_jupyterhub_finds_the_class_by_its_short_name() -> None:
    """The name in ``c.JupyterHub.proxy_class`` is looked up among the entry points."""
    hub = JupyterHub(proxy_class="traefik-toml")

    assert hub.proxy_class is TraefikTomlProxy


@pytest.mark.parametrize("value", ["0660", "0o660", 660, -1, 0o1777, None])
def test_what_is_no_mode_is_refused_with_how_to_write_one(value: object) -> None:
    """As text, or without the 0o, which would be other permissions."""
    with pytest.raises(TraitError, match="expected an octal number without quotes, such as 0o660, not "):
        InProcessProxy(config=Config({"InProcessProxy": {"socket_mode": value}}))


@pytest.mark.parametrize("text", ["0o640", "0640", "640"])
def test_a_mode_on_the_command_line_is_octal(text: str) -> None:
    """``jupyterhub --InProcessProxy.socket_mode=0o640``"""
    config = Config({"InProcessProxy": {"socket_mode": DeferredConfigString(text)}})

    assert InProcessProxy(config=config).socket_mode == 0o640
