"""Converts ``JupyterHub.bind_url`` to the address the proxy listens on and the URL the Hub reaches it at. Pure."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from .errors import ConfigurationError, quoted

# A port, or a host or nothing before a colon and a port.
_REDIRECT = re.compile(r"((?P<host>[A-Za-z0-9.*_-]*|\[[0-9A-Fa-f:.]+\]):)?(?P<port>[0-9]{1,5})")


def listen_address(public_url: str) -> str:
    """Return the address to listen on, in Go's form: ``host:port`` or ``:port``.

    Args:
        public_url: ``JupyterHub.bind_url``, ``http[s]://[host][:port][/path]``. No host, or ``*``, means every address.

    Raises:
        ConfigurationError: If the proxy cannot listen there.
    """
    host, port = _host_and_port(public_url)
    if host in ("", "*"):
        return f":{port}"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def reachable_url(public_url: str) -> str:
    """Return the URL at which this machine reaches the entry point, without a path or trailing slash.

    Args:
        public_url: ``JupyterHub.bind_url``. No host, ``*``, ``0.0.0.0`` and ``::`` become loopback.

    Raises:
        ConfigurationError: If the proxy cannot listen there.
    """
    host, port = _host_and_port(public_url)
    if host in ("", "*", "0.0.0.0"):  # noqa: S104 - nothing is bound here
        host = "127.0.0.1"
    elif host == "::":
        host = "::1"
    scheme = urlsplit(public_url).scheme
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def redirect_address(redirect_http: str, public_url: str) -> str:
    """Return the address for plain http, in Go's form: ``host:port`` or ``:port``.

    Args:
        redirect_http: ``host:port``, ``:port`` for every address, or a port, which is on the host of ``public_url``.
        public_url: ``JupyterHub.bind_url``.

    Raises:
        ConfigurationError: If that is no address.
    """
    match = _REDIRECT.fullmatch(redirect_http)
    if match is None or not 0 < int(match["port"]) < 2**16:
        raise ConfigurationError(
            f"redirect_http: {quoted(redirect_http)} is neither a port nor an address such as ':80' or '192.0.2.1:80'."
        )
    host = match["host"]
    if host is None:
        host = _host_and_port(public_url)[0]
        host = f"[{host}]" if ":" in host else host
    return listen_address(f"http://{host}:{match['port']}")


def https_port(hub_public_url: str, public_url: str) -> int:
    """Return the port that users reach https at.

    Args:
        hub_public_url: ``JupyterHub.public_url``, which says it if another one is forwarded to ours; or "".
        public_url: ``JupyterHub.bind_url`` with https.

    Raises:
        ConfigurationError: If there is none.
    """
    return _host_and_port(hub_public_url if hub_public_url.startswith("https:") else public_url)[1]


def _host_and_port(public_url: str) -> tuple[str, int]:
    if "+unix:" in public_url or public_url.startswith("unix+"):
        raise ConfigurationError(
            f"This proxy cannot listen on a unix socket ({quoted(public_url)}). "
            "Set c.JupyterHub.bind_url to an address and a port, such as http://127.0.0.1:8000."
        )
    try:
        url = urlsplit(public_url)
        port = url.port
    except ValueError:
        url, port = urlsplit(""), None
    if url.scheme not in ("http", "https"):
        raise ConfigurationError(
            f"{quoted(public_url)} is not an address to listen on; set c.JupyterHub.bind_url to http[s]://host:port/."
        )
    return url.hostname or "", {"http": 80, "https": 443}[url.scheme] if port is None else port
