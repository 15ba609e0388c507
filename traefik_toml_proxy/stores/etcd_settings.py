"""How to reach etcd, as an admin sets it. Does I/O only in ``tls_context``, which reads certificates."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from ..errors import ConfigurationError, quoted
from ..masking import without_secrets


@dataclass(frozen=True, slots=True, kw_only=True)
class EtcdSettings:
    """How to reach etcd.

    Attributes:
        endpoints: The URLs of its members, ``http[s]://host:port``; see :func:`endpoints_of`.
        ca: The file with the certificates of the authorities to trust; None for those of the system.
        cert: The file with the client's certificate, if etcd wants one.
        key: The file with its key.
        username: The user, or "" if etcd has none.
        password: The password of that user.
    """

    endpoints: tuple[str, ...]
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    username: str = ""
    password: str = field(default="", repr=False)

    @property
    def location(self) -> str:
        """The members, for messages."""
        return ", ".join(self.endpoints)


def endpoints_of(texts: list[str]) -> tuple[str, ...]:
    """Check the members that an admin names; without ``http://`` they are asked over https.

    Raises:
        ConfigurationError: If there is none, or one is not ``[http[s]://]host[:port]``.
    """
    if not texts:
        raise ConfigurationError('etcd_endpoints is empty; name the members, such as ["https://etcd1:2379"].')
    endpoints = []
    for text in texts:
        url = text if "://" in text else f"https://{text}"
        try:
            parts = urlsplit(url)
            port = parts.port or 2379
        except ValueError:
            raise ConfigurationError(f"etcd_endpoints: {_shown(text)} is not a URL.") from None
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        rest = parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc
        if parts.scheme not in ("http", "https") or not host or rest:
            raise ConfigurationError(
                f"etcd_endpoints: {_shown(text)} is not http[s]://host:port, without anything else."
            )
        endpoints.append(f"{parts.scheme}://{host}:{port}")
    return tuple(endpoints)


def _shown(text: str) -> str:
    """Return it for a message, without a password that somebody has written into it."""
    scheme, separator, rest = text.rpartition("://")
    return quoted(without_secrets(f"{scheme or 'https'}://{rest}") if separator or "@" in rest else text)


def tls_context(settings: EtcdSettings) -> ssl.SSLContext:
    """Return how to connect to https members. Blocks.

    Raises:
        ConfigurationError: If a file cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=settings.ca)
        if settings.cert is not None:
            context.load_cert_chain(settings.cert, settings.key)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise ConfigurationError(
            f"etcd_ca, etcd_cert and etcd_key cannot be used ({settings.ca}, {settings.cert}, {settings.key}): {error}"
        ) from error
    return context
