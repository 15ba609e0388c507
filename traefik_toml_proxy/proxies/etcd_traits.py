"""The traits with which a proxy or an agent reaches etcd, which need no JupyterHub. Does I/O only in ``etcd_settings``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from traitlets import Integer, List, Unicode

from ..errors import ConfigurationError
from ..stores.etcd_settings import EtcdSettings, endpoints_of
from .values import absolute


def endpoints() -> List[str]:
    """Make the trait ``etcd_endpoints``."""
    return List(
        Unicode(),
        config=True,
        help="""
        The URLs of the members of etcd, such as ["https://etcd1:2379", "https://etcd2:2379", "https://etcd3:2379"].

        They are asked over https unless a URL begins with http://. etcd 3.4 or newer, with its JSON gateway turned on, which
        is the default unless it has a configuration file.
        """,
    )


def root() -> Unicode[str, str | bytes]:
    """Make the trait ``etcd_root``."""
    return Unicode(
        "/jupyterhub",
        config=True,
        help="""
        What the keys in etcd begin with. Each Hub needs its own; its agents need the same.
        """,
    )


def ca() -> Unicode[str, str | bytes]:
    """Make the trait ``etcd_ca``."""
    return Unicode(
        "",
        config=True,
        help="""
        The file with the certificates (PEM) of the authorities that the certificates of etcd are from.

        Default: those that the system trusts.
        """,
    )


def cert() -> Unicode[str, str | bytes]:
    """Make the trait ``etcd_cert``."""
    return Unicode(
        "",
        config=True,
        help="""
        The file with the certificate (PEM) to show to etcd, if it wants one (--client-cert-auth).

        Then etcd's own certificate must be for clients as well (clientAuth in its extended key usage), because its gateway
        shows that to etcd itself.
        """,
    )


def key() -> Unicode[str, str | bytes]:
    """Make the trait ``etcd_key``."""
    return Unicode("", config=True, help="The file with the key (PEM) of etcd_cert, if it is not in the same file.")


def username() -> Unicode[str, str | bytes]:
    """Make the trait ``etcd_username``."""
    return Unicode("", config=True, help="The user of etcd, if authentication is enabled there.")


def password() -> Unicode[str, str | bytes]:
    """Make the trait ``etcd_password``."""
    return Unicode(
        "",
        config=True,
        help="""
        The password of etcd_username. Do not write it into a configuration file that others can read, or on a command line;
        better use etcd_password_file.
        """,
    )


def password_file() -> Unicode[str, str | bytes]:
    """Make the trait ``etcd_password_file``."""
    return Unicode("", config=True, help="A file with the password of etcd_username in its first line.")


def lease_seconds(default: int) -> Integer[int, int]:
    """Make the trait ``lease_seconds``."""
    return Integer(
        default,
        min=2,
        config=True,
        help="""
        Seconds for which etcd takes this process for alive after it was last heard of.

        For a Hub: how long the next Hub waits if this one dies without stopping its proxy. For an agent: how long the Hub
        waits for this replica if it dies. After 0.4 of it without etcd, an agent is not ready any more, so a balancer must
        notice that within the rest.
        """,
    )


def etcd_settings(owner: Any) -> EtcdSettings:
    """Return the values of these traits. Blocks: reads the file with the password.

    Raises:
        ConfigurationError: If one of them cannot be used.
    """
    return EtcdSettings(
        endpoints=endpoints_of(owner.etcd_endpoints),
        ca=_path(owner.etcd_ca),
        cert=_path(owner.etcd_cert),
        key=_path(owner.etcd_key),
        username=owner.etcd_username,
        password=owner.etcd_password or _first_line(owner.etcd_password_file),
    )


def _path(text: str) -> Path | None:
    return absolute(text) if text else None


def _first_line(file: str) -> str:
    if not file:
        return ""
    try:
        return absolute(file).read_text().partition("\n")[0]
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"etcd_password_file cannot be read: {error}") from None
