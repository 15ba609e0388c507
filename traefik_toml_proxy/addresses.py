"""Converts ``JupyterHub.bind_url`` to the address the proxy listens on and the URL the Hub reaches it at. Pure."""

from __future__ import annotations

from urllib.parse import urlsplit

from .errors import ConfigurationError, quoted


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
