"""Finds settings of other proxies in the configuration, and says what takes their place here. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, MutableMapping

from ..errors import quoted

# Stands in each sentence, between what it is about and what takes its place.
WITHOUT_EFFECT = " has no effect with this proxy: "

_NOT_NEEDED = "it is not needed here"
_NO_API = "it is not needed here: there is no API, and so no password"
_STATIC = "use c.TraefikProxy.extra_static_config"
_TLS_OPTIONS = "use tls.options in c.TraefikProxy.extra_dynamic_config"
_MIDDLEWARE = "use a middleware in c.TraefikProxy.route_middlewares"
_SSL = "use c.JupyterHub.ssl_cert and c.JupyterHub.ssl_key"
_OTHER_STORE = "the routes are kept in a file here, c.TraefikTomlProxy.dynamic_config_file; no database is needed"
_NOT_HERE = "it belongs to another proxy"

# Settings of JupyterHub that it passes on to configurable-http-proxy, by the name that they have there.
HUB = {
    "proxy_cmd": "command",
    "debug_proxy": "debug",
    "proxy_auth_token": "auth_token",
    "proxy_api_ip": "api_url",
    "proxy_api_port": "api_url",
}
_CHP = {
    "command": "use c.TraefikProxy.traefik_command for the program, and other settings in place of its options",
    "auth_token": _NO_API,
    "api_url": _NO_API,
    "debug": 'use c.TraefikProxy.traefik_log_level = "DEBUG"',
    "check_running_interval": "it is not needed here: Traefik is started again as soon as it exits",
    "concurrency": "it is not needed here: simultaneous changes share one reload",
    "command_umask": "it is not needed here: the files are private, apart from c.TraefikTomlProxy.dynamic_config_file_mode",
    "pid_file": "it is not needed here: the process is recorded in c.TraefikProxy.state_dir",
    "log_level": "use c.JupyterHub.log_level",
    "should_start": "use c.Proxy.should_start",
    "extra_routes": "use c.Proxy.extra_routes",
}
# Options of configurable-http-proxy, by how they begin; the first that fits.
_OPTIONS = {
    "--redirect-": "use c.TraefikProxy.redirect_http",
    "--timeout": "it is not needed here: no request is limited in time, and idle connections end after three minutes",
    "--proxy-timeout": "it is not needed here: a server has as much time as it needs",
    "--keep-alive-timeout": (
        "use entryPoints.<name>.transport.respondingTimeouts.idleTimeout in c.TraefikProxy.extra_static_config"
    ),
    "--log-level": "use c.TraefikProxy.traefik_log_level",
    "--ip": "use c.JupyterHub.bind_url",
    "--port": "use c.JupyterHub.bind_url",
    "--ssl-key": _SSL,
    "--ssl-cert": _SSL,
    "--ssl-ca": "use tls.options.default.clientAuth in c.TraefikProxy.extra_dynamic_config; see the page on problems",
    "--ssl-re": "use tls.options.default.clientAuth in c.TraefikProxy.extra_dynamic_config; see the page on problems",
    "--ssl-": _TLS_OPTIONS,
    "--api-": _NO_API,
    "--client-ssl-": "use c.JupyterHub.internal_ssl",
    "--error-": "it is not needed here: the Hub's own error pages are shown",
    "--default-target": 'use c.Proxy.extra_routes = {"/": "http://..."}',
    "--host-routing": "use c.JupyterHub.subdomain_host",
    "--custom-header": f"{_MIDDLEWARE}, such as headers with customRequestHeaders",
    "--no-x-forward": f"{_MIDDLEWARE}, such as headers with customRequestHeaders",
    "--metrics-": "use metrics.prometheus in c.TraefikProxy.extra_static_config",
    "--pid-file": _CHP["pid_file"],
    "--storage-backend": "it is not needed here: the routes outlive the Hub and the proxy",
}
JTP = {
    "traefik_api_url": _NO_API,
    "traefik_api_username": _NO_API,
    "traefik_api_password": _NO_API,
    "traefik_api_hashed_password": _NO_API,
    "traefik_api_validate_cert": _NO_API,
    "traefik_api_entrypoint": _NO_API,
    "enable_setup_dynamic_config": _NO_API,
    "concurrency": _CHP["concurrency"],
    "traefik_providers_throttle_duration": "it is not needed here: nothing is held back",
    "provider_name": _NOT_NEEDED,
    "is_https": "it is not needed here: c.JupyterHub.ssl_cert says so",
    "dynamic_config_file": "use c.TraefikTomlProxy.dynamic_config_file",
    "toml_static_config_file": "use c.TraefikProxy.static_config_file",
    "toml_dynamic_config_file": "use c.TraefikTomlProxy.dynamic_config_file",
}
# Settings of jupyterhub-traefik-proxy's class TraefikEtcdProxy, which has the name of ours.
_JTP_ETCD = {
    "etcd_url": "use c.TraefikEtcdProxy.etcd_endpoints",
    "kv_url": "use c.TraefikEtcdProxy.etcd_endpoints",
    "kv_username": "use c.TraefikEtcdProxy.etcd_username",
    "kv_password": "use c.TraefikEtcdProxy.etcd_password_file",
    "kv_traefik_prefix": "use c.TraefikEtcdProxy.etcd_root",
    "kv_jupyterhub_prefix": "use c.TraefikEtcdProxy.etcd_root",
    "kv_separator": _NOT_NEEDED,
    "etcd_client_ca_cert": "use c.TraefikEtcdProxy.etcd_ca",
    "etcd_client_cert_crt": "use c.TraefikEtcdProxy.etcd_cert",
    "etcd_client_cert_key": "use c.TraefikEtcdProxy.etcd_key",
    "etcd_client_kwargs": _NOT_NEEDED,
    "grpc_options": _NOT_NEEDED,
    "traefik_url": "it is not needed here: each agent asks its own Traefik",
}
# What other classes share with ours, under the same name.
_SHARED = (
    "static_config_file",
    "extra_static_config",
    "extra_dynamic_config",
    "traefik_log_level",
    "traefik_env",
    "traefik_entrypoint",
    "check_route_timeout",
)
_KV = ("Etcd", "Consul", "Redis", "TKv", "TraefikKv")


def leftovers(config: Mapping[str, Mapping[str, object]], own: Collection[str]) -> list[str]:
    """Return a sentence for each setting that belongs to another proxy, and so has no effect here. Values are not shown.

    Args:
        config: Everything that is configured: settings and their values, by class name.
        own: The names of the classes whose settings have an effect: that of our proxy, and those it inherits from.
    """
    found = []
    for section, settings in sorted(config.items()):
        if section == "JupyterHub":
            found += [line for name in HUB if name in settings for line in _chp(f"{section}.{name}", name, settings)]
        elif section == "ConfigurableHTTPProxy":
            # JupyterHub has copied its own settings there.
            copied = {HUB[name] for name in config.get("JupyterHub", ()) if name in HUB}
            for name in sorted(settings):
                if name not in copied:
                    found += _chp(f"{section}.{name}", name, settings)
        elif section in own:
            names = [name for name in sorted(settings) if _is_foreign(section, name)]
            found += [line_about(f"{section}.{name}", _of_the_same_name(section)[name]) for name in names]
        elif section.endswith("Proxy"):
            names = [name for name in sorted(settings) if not _is_ours_too(name, settings[name], config, own)]
            found += [line_about(f"{section}.{name}", _elsewhere(section, name)) for name in names]
    return found


def remove_leftovers(config: MutableMapping[str, MutableMapping[str, object]], own: Collection[str]) -> None:
    """Remove from our classes what jupyterhub-traefik-proxy's classes with the same names have.

    Otherwise traitlets would log that our class does not know it, and guess what was meant.

    Args:
        config: As for :func:`leftovers`.
        own: As there.
    """
    for section in own:
        for name in [name for name in config.get(section, ()) if _is_foreign(section, name)]:
            del config[section][name]


def _is_ours_too(name: str, value: object, config: Mapping[str, Mapping[str, object]], own: Collection[str]) -> bool:
    """Whether one of our classes has the same value: The Littlest JupyterHub sets the other class as well, always."""
    return any(name in config.get(section, ()) and config[section][name] == value for section in own)


def _is_foreign(section: str, name: str) -> bool:
    """Whether a setting of one of our classes is that of jupyterhub-traefik-proxy's class with the same name."""
    return name in _of_the_same_name(section) and (section, name) != ("TraefikTomlProxy", "dynamic_config_file")


def _of_the_same_name(section: str) -> Mapping[str, str]:
    """Return the settings of jupyterhub-traefik-proxy's class with the name of ours, with what takes their place."""
    return JTP | _JTP_ETCD if section == "TraefikEtcdProxy" else JTP


def _chp(where: str, name: str, settings: Mapping[str, object]) -> Iterator[str]:
    """Return a sentence for a setting of configurable-http-proxy, and one for each option in its command."""
    advice = _CHP.get(HUB.get(name, name))
    yield line_about(where, advice or _NOT_HERE)
    if advice is not _CHP["command"]:
        return
    for option in _options(settings[name]):
        instead = next(
            (text for start, text in _OPTIONS.items() if option.startswith(start)), "it has no counterpart here"
        )
        yield f"{quoted(option)} in c.{where}{WITHOUT_EFFECT}{instead}."


def _options(command: object) -> list[str]:
    """Return the options in a command, without their values and each once."""
    words = command.split() if isinstance(command, str) else command
    if not isinstance(words, (list, tuple)):
        return []
    options = (str(word).partition("=")[0] for word in words)
    return list(dict.fromkeys(option for option in options if option.startswith("--")))


def _elsewhere(section: str, name: str) -> str:
    if name in ("log_level", "should_start", "extra_routes"):
        return _CHP[name]
    if name in _SHARED:
        return f"use c.TraefikProxy.{name}"
    return JTP.get(name, _OTHER_STORE if any(part in section for part in _KV) else _NOT_HERE)


def line_about(where: str, advice: str) -> str:
    """Return the sentence about a setting."""
    return f"c.{where}{WITHOUT_EFFECT}{advice}."
