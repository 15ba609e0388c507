"""Finds settings that have no effect with the routes in etcd, and says what takes their place there. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from .leftovers import JTP, leftovers, line_about

_AGENTS = "in the configuration of the agents"
_OWN_TRAEFIK = "it is not needed here: each agent has files and a Traefik of its own, in c.AgentApp.state_dir"
_BALANCER = "it is not needed here: let the balancer do it, or use c.AgentApp.extra_static_config"
_LETSENCRYPT = "give the balancer a certificate, or the agents in c.AgentApp.ssl_cert and c.AgentApp.ssl_key"
# The classes whose settings are for one Traefik on the machine of the Hub.
_ONE_TRAEFIK = ("TraefikProxy", "TraefikTomlProxy")
# Those that an agent has under the same name.
_OF_AGENTS = (
    *("extra_dynamic_config", "extra_static_config", "route_middlewares", "state_dir", "traefik_command"),
    *("traefik_entrypoint", "traefik_env", "traefik_log_level", "trusted_proxies"),
)
_INSTEAD = {
    "check_route_timeout": "use c.TraefikEtcdProxy.check_route_timeout",
    "start_timeout": "use c.TraefikEtcdProxy.start_timeout",
    "traefik_url": "it is not needed here: each agent asks its own Traefik",
    "track_activity": "it is not possible here; the Hub knows from the servers themselves when they were last used",
    "extra_routes_ca": "it is not possible here; the agents trust the authorities of their operating system",
    "redirect_http": _BALANCER,
    "dynamic_config_file": "the routes are kept in etcd here, see c.TraefikEtcdProxy.etcd_endpoints",
    **dict.fromkeys(
        (
            *("dynamic_config_file_group", "dynamic_config_file_mode", "static_config_file", "default_certificate"),
            *("namespace", "rule_hosts", "watched_folder"),
        ),
        _OWN_TRAEFIK,
    ),
    **dict.fromkeys(
        ("letsencrypt_ca", "letsencrypt_challenge", "letsencrypt_domains", "letsencrypt_email"), _LETSENCRYPT
    ),
    **dict.fromkeys(("letsencrypt_server", "letsencrypt_staging"), _LETSENCRYPT),
}
# A setting for one Traefik in the advice for another proxy.
_NAMED = re.compile(r"c\.Traefik(?:Toml)?Proxy\.(\w+)")


def etcd_leftovers(config: Mapping[str, Mapping[str, object]], own: Collection[str]) -> list[str]:
    """Return a sentence for each setting that has no effect with the routes in etcd. Values are not shown.

    Args:
        config: Everything that is configured: settings and their values, by class name.
        own: The names of the classes whose settings have an effect: that of our proxy, and those it inherits from.
    """
    found = [
        line_about(f"{section}.{name}", _advice(name))
        for section in _ONE_TRAEFIK
        for name in sorted(config.get(section, ()))
    ]
    others = {section: settings for section, settings in config.items() if section not in _ONE_TRAEFIK}
    return found + [_translated(line) for line in leftovers(others, own)]


def _advice(name: str) -> str:
    if name in _OF_AGENTS:
        return f"use c.AgentApp.{name} {_AGENTS}"
    return _INSTEAD.get(name) or JTP.get(name) or "it belongs to another proxy"


def _translated(line: str) -> str:
    """Return a sentence about another proxy, with the settings for one Traefik replaced by what takes their place."""
    where, words, advice = line.partition(": ")
    named = _NAMED.search(advice)
    if named is None:
        return line
    if named[1] in _OF_AGENTS:
        return where + words + _NAMED.sub(r"c.AgentApp.\1", advice)
    return f"{where}{words}{_advice(named[1])}."
