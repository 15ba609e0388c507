"""A certificate and its key, in the form in which Traefik gets them. No I/O."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime

PASSPHRASE_VARIABLE = "CONFIGPROXY_SSL_KEY_PASSPHRASE"  # noqa: S105 - a name


class UnusablePair(Exception):
    """A certificate and a key that Traefik could not serve; the message names the file and says what is wrong."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key in the form in which Traefik gets them.

    Attributes:
        chain: The certificate, and those that lead to its authority, as PEM.
        key: The key as PEM, not encrypted.
        not_before: From when the certificate is valid.
        not_after: Until when.
        server_name: A name that the certificate is for, if there is one.
    """

    chain: bytes
    key: bytes = field(repr=False)
    not_before: datetime
    not_after: datetime
    server_name: str | None = None

    @property
    def digest(self) -> str:
        """A name for the content: another pair has another one."""
        return hashlib.sha256(self.chain + b"\0" + self.key).hexdigest()[:32]
