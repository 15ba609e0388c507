"""What https needs: the dates of certificates, the redirect from plain http, and certificates from an ACME server. Pure."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from ..errors import ConfigurationError, quoted

# A warning comes when a sixth of the lifetime is left (certbot renews when a third is left), but at most this long before.
_LONGEST_NOTICE = timedelta(days=14)


def validity_problem(not_before: datetime, not_after: datetime, now: datetime) -> str:
    """Return what is wrong with the dates of a certificate, as the end of a sentence, or "".

    Args:
        not_before: From when it is valid; like the others, with a time zone.
        not_after: Until when.
        now: The current time.
    """
    if now < not_before:
        return f"is not valid before {not_before:%Y-%m-%d %H:%M} UTC; browsers refuse it"
    if now >= not_after:
        return f"expired at {not_after:%Y-%m-%d %H:%M} UTC; browsers refuse it"
    if not_after - now < min((not_after - not_before) / 6, _LONGEST_NOTICE):
        return f"expires at {not_after:%Y-%m-%d %H:%M} UTC"
    return ""


# The name of our certificates resolver, also for an ACME server of one's own.
RESOLVER = "letsencrypt"
_STAGING = "https://acme-staging-v02.api.letsencrypt.org/directory"
# A DNS name in ASCII, which browsers send and certificates have.
_DOMAIN = re.compile(
    r"(?=.{1,253}$)([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
)


@dataclass(frozen=True, slots=True)
class Redirect:
    """A second entry point, on which plain http is sent to https.

    Attributes:
        address: Where it listens, in Go's form: ``host:port`` or ``:port``.
        port: The port that browsers are sent to.
    """

    address: str
    port: int


@dataclass(frozen=True, slots=True)
class Acme:
    """Certificates from an ACME server.

    Attributes:
        domains: The names to get certificates for, a certificate each.
        storage: The file with the account's key and the certificates.
        email: The address of the account, or "".
        server: The URL of the server's directory; "" for Let's Encrypt.
        ca_file: The certificate of the authority that the server's own certificate is from; "" if the system knows it.
        http_challenge: Whether to prove the control of a name by an answer over http instead of TLS.
    """

    domains: tuple[str, ...]
    storage: str
    email: str = ""
    server: str = ""
    ca_file: str = ""
    http_challenge: bool = False

    def resolver_tree(self, redirect_name: str) -> dict[str, Any]:
        """Return the certificates resolver.

        Args:
            redirect_name: The entry point for plain http, which the answers over http come through.
        """
        challenge = {"httpChallenge": {"entryPoint": redirect_name}} if self.http_challenge else {"tlsChallenge": {}}
        tree = {
            # Traefik's default is RSA with 4096 bits, whose handshakes take many times as long.
            "keyType": "EC256",
            "storage": self.storage,
            **({"email": self.email} if self.email else {}),
            **({"caServer": self.server} if self.server else {}),
            **({"caCertificates": [self.ca_file]} if self.ca_file else {}),
            **challenge,
        }
        return {RESOLVER: {"acme": tree}}

    def entry_point_tree(self) -> dict[str, Any]:
        """Return the TLS settings of the public entry point.

        The names must be given: Traefik finds them in Host rules only, and most routes have none.
        """
        return {"certResolver": RESOLVER, "domains": [{"main": domain} for domain in self.domains]}


def acme_server(server: str, *, staging: bool) -> tuple[str, str]:
    """Return the URL of an ACME server's directory, and a name for the file with what belongs to it.

    An account is valid on one server only, and a certificate of the staging server must not be served in earnest.

    Args:
        server: The URL of a server of one's own, or "".
        staging: Whether to use the staging server of Let's Encrypt.

    Raises:
        ConfigurationError: If the URL is none.
    """
    if not server:
        return (_STAGING, "letsencrypt-staging.json") if staging else ("", "letsencrypt.json")
    if urlsplit(server).scheme != "https" or not urlsplit(server).hostname:
        raise ConfigurationError(f"letsencrypt_server: {quoted(server)} is not a URL that begins with https://.")
    return server, f"acme-{hashlib.sha256(server.encode()).hexdigest()[:10]}.json"


def check_domains(domains: tuple[str, ...]) -> tuple[str, ...]:
    """Return ``domains`` if a certificate can be had for each.

    Raises:
        ConfigurationError: If not.
    """
    for domain in domains:
        if not _DOMAIN.fullmatch(domain) or domain.rpartition(".")[2].isdigit():
            raise ConfigurationError(
                f"letsencrypt_domains: {quoted(domain)} is not a name such as 'hub.example.org'. Addresses and wildcards "
                "are not possible here; names with other letters are written as 'xn--...'."
            )
    return domains
