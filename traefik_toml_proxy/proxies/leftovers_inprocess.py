"""Finds settings of other proxies that have no effect without Traefik, and says what takes their place there. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from .leftovers import HUB, WITHOUT_EFFECT, leftovers

_NO_TRAEFIK = "there is no Traefik here"
_NO_FILE = "it is not needed here: the routes are in memory, and there is no file with them"
_NO_STORE = "it is not needed here: the routes are in memory, and the Hub adds them again when it starts"
_LETSENCRYPT = (
    "it is not possible here: let certbot get the certificate, and use its files in c.JupyterHub.ssl_cert and "
    "c.JupyterHub.ssl_key"
)
_ONE_HUB = "it is not possible here: each Hub has a proxy and a port of its own"
_TLS = "it is not possible here: TLS is as Python and OpenSSL have it by default"
_NO_CLIENT_CERTIFICATES = "it is not possible here: browsers are not asked for certificates"
_HEADERS = "it is not possible here: let a proxy in front do it"
_NO_LIMIT = "it is not needed here: no request is limited in time, and idle connections end after three minutes"
_AT_ONCE = "it is not needed here: a change is live at once"
_LOG = "use c.JupyterHub.log_level, and c.InProcessProxy.access_log for a line for each request"
_NO_PROGRAM = "it is not needed here: the proxy is no program of its own"
_STATE_DIR = 'with c.InProcessProxy.where = "process", use c.InProcessProxy.state_dir; a thread needs none'

# Settings, of whichever class; JupyterHub's have the name that they have in the class of configurable-http-proxy.
_INSTEAD = {
    # Those with the same name here.
    **{name: f"use c.InProcessProxy.{name}" for name in ("extra_routes_ca", "redirect_http", "trusted_proxies")},
    "state_dir": _STATE_DIR,
    # Those for Traefik.
    **dict.fromkeys(
        (
            *("extra_dynamic_config", "extra_static_config", "route_middlewares", "static_config_file"),
            *("toml_static_config_file", "traefik_command", "traefik_entrypoint", "traefik_env", "traefik_url"),
        ),
        _NO_TRAEFIK,
    ),
    "traefik_log_level": f"{_NO_TRAEFIK}; {_LOG}",
    "track_activity": "it is not needed here: the proxy knows by itself when each server was last used",
    "check_route_timeout": _AT_ONCE,
    "start_timeout": "it is not needed here: the proxy is ready at once",
    **dict.fromkeys(
        (
            *("dynamic_config_file", "dynamic_config_file_group", "dynamic_config_file_mode"),
            *("toml_dynamic_config_file", "watched_folder"),
        ),
        _NO_FILE,
    ),
    **dict.fromkeys(
        (
            *("letsencrypt_ca", "letsencrypt_challenge", "letsencrypt_domains", "letsencrypt_email"),
            *("letsencrypt_server", "letsencrypt_staging"),
        ),
        _LETSENCRYPT,
    ),
    **dict.fromkeys(("default_certificate", "namespace", "rule_hosts"), _ONE_HUB),
    # Those of configurable-http-proxy.
    "command": "it is not needed here: no program is started, and other settings take the place of its options",
    "debug": _LOG,
    "check_running_interval": "it is not needed here: a proxy in a process of its own is started again as soon as it ends",
    "concurrency": _AT_ONCE,
    "command_umask": _NO_PROGRAM,
    "pid_file": _NO_PROGRAM,
    "should_start": "it is not needed here: the Hub always starts this proxy",
}
# Options of configurable-http-proxy, by how they begin; the first that fits. Others are the same with each of our proxies.
_OPTIONS = {
    "--redirect-": _INSTEAD["redirect_http"],
    "--timeout": _NO_LIMIT,
    "--keep-alive-timeout": "it is not possible here: an idle connection ends after three minutes",
    "--log-level": _LOG,
    "--ssl-ca": _NO_CLIENT_CERTIFICATES,
    "--ssl-re": _NO_CLIENT_CERTIFICATES,
    **dict.fromkeys(("--ssl-allow-", "--ssl-ciphers", "--ssl-dhparam", "--ssl-protocol"), _TLS),
    "--custom-header": _HEADERS,
    "--no-x-forward": _HEADERS,
    "--metrics-": "it is not needed here: the metrics are in the Hub's own, at /hub/metrics",
    "--pid-file": _NO_PROGRAM,
    "--storage-backend": _NO_STORE,
    "--socket": 'with JupyterHub 6, use c.JupyterHub.bind_url = "http+unix://%2Frun%2Fjupyterhub.sock"',
}


def inprocess_leftovers(config: Mapping[str, Mapping[str, object]], own: Collection[str]) -> list[str]:
    """Return a sentence for each setting that has no effect without Traefik. Values are not shown.

    Args:
        config: Everything that is configured: settings and their values, by class name.
        own: The names of the classes whose settings have an effect: that of our proxy, and those it inherits from.
    """
    return [_translated(line) for line in leftovers(config, own)]


def _translated(line: str) -> str:
    """Return a sentence about a setting or an option, with what takes its place in this proxy."""
    where, _, advice = line.partition(WITHOUT_EFFECT)
    if where.startswith("c."):
        name = where.rpartition(".")[2]
        # What else there is beside Traefik alone is for the place where other proxies keep their routes.
        instead, other = _INSTEAD.get(HUB.get(name, name)), _NO_STORE
    else:
        instead = next((text for start, text in _OPTIONS.items() if where[1:].startswith(start)), None)
        other = "it has no counterpart here"
    if instead is None and "c.Traefik" not in advice:
        return line
    return f"{where}{WITHOUT_EFFECT}{instead or other}."
