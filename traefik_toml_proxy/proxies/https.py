"""HttpsSettings: decides from the values of traits whether there is https, with which certificate, and for which port."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..addresses import https_port, redirect_address
from ..errors import ConfigurationError
from ..runtime.certificate import PairFiles
from ..runtime.pairs import PASSPHRASE_VARIABLE
from ..traefik.tls import Acme, Redirect, acme_server, check_domains
from .values import absolute


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpsSettings:
    """The settings for https as they were given. Names without a word here are those of traits of ``TraefikProxy``.

    Attributes:
        bind_url: ``JupyterHub.bind_url``. Without ssl_cert, JupyterHub always makes its scheme http.
        hub_public_url: ``JupyterHub.public_url``, or "".
        ssl_cert: ``JupyterHub.ssl_cert`` as an absolute path, or None.
        ssl_key: ``JupyterHub.ssl_key`` as an absolute path; the same file if both are in one.
        passphrase: Opens an encrypted key.
        state_dir: The absolute path.
        letsencrypt_ca: The absolute path, or None.
    """

    bind_url: str
    hub_public_url: str
    should_start: bool
    state_dir: Path
    ssl_cert: Path | None
    ssl_key: Path | None
    passphrase: str = field(repr=False)
    redirect_http: str
    letsencrypt_domains: tuple[str, ...]
    letsencrypt_email: str
    letsencrypt_staging: bool
    letsencrypt_challenge: str
    letsencrypt_server: str
    letsencrypt_ca: Path | None

    @classmethod
    def of(cls, proxy: Any) -> HttpsSettings:
        """Return the settings of a :class:`~traefik_toml_proxy.TraefikProxy`."""
        return cls(
            bind_url=proxy.public_url,
            hub_public_url=getattr(proxy.app, "public_url", ""),
            should_start=proxy.should_start,
            state_dir=absolute(proxy.state_dir),
            ssl_cert=absolute(proxy.ssl_cert) if proxy.ssl_cert else None,
            ssl_key=absolute(proxy.ssl_key) if proxy.ssl_key else None,
            # configurable-http-proxy uses the same variable (bin/configurable-http-proxy).
            passphrase=os.environ.get(PASSPHRASE_VARIABLE, ""),
            redirect_http=str(proxy.redirect_http),
            letsencrypt_domains=tuple(proxy.letsencrypt_domains),
            letsencrypt_email=proxy.letsencrypt_email,
            letsencrypt_staging=proxy.letsencrypt_staging,
            letsencrypt_challenge=proxy.letsencrypt_challenge,
            letsencrypt_server=proxy.letsencrypt_server,
            letsencrypt_ca=absolute(proxy.letsencrypt_ca) if proxy.letsencrypt_ca else None,
        )

    @property
    def enabled(self) -> bool:
        """Whether the public entry point speaks https."""
        return self.ssl_cert is not None or bool(self.letsencrypt_domains and self.should_start)

    @property
    def url(self) -> str:
        """``JupyterHub.bind_url`` with the scheme that the entry point speaks."""
        scheme, separator, rest = self.bind_url.partition("://")
        return f"https://{rest}" if separator and scheme == "http" and self.enabled else self.bind_url

    @property
    def files(self) -> PairFiles | None:
        """Where the admin keeps the certificate; None if there is none."""
        if self.ssl_cert is None:
            return None
        return PairFiles(self.ssl_cert, self.ssl_key or self.ssl_cert, self.passphrase)

    def redirect(self) -> Redirect | None:
        """Return where plain http is sent to https.

        Raises:
            ConfigurationError: If there is no https, or the setting is no address.
        """
        if not self.redirect_http:
            return None
        if not self.enabled:
            raise ConfigurationError(
                "redirect_http is set, but there is no https to send browsers to: set c.JupyterHub.ssl_cert or "
                "c.TraefikProxy.letsencrypt_domains."
            )
        return Redirect(redirect_address(self.redirect_http, self.url), https_port(self.hub_public_url, self.url))

    def acme(self) -> Acme | None:
        """Return how to get certificates.

        Raises:
            ConfigurationError: If the settings contradict each other, or one cannot be used.
        """
        if not self.letsencrypt_domains:
            return None
        if self.ssl_cert is not None:
            raise ConfigurationError("Both JupyterHub.ssl_cert and letsencrypt_domains are set; choose one of them.")
        if self.letsencrypt_challenge == "http" and not self.redirect_http:
            raise ConfigurationError(
                'letsencrypt_challenge is "http", which needs an entry point for plain http: set redirect_http to the port '
                "here that port 80 of the Hub's names leads to."
            )
        server, file = acme_server(self.letsencrypt_server, staging=self.letsencrypt_staging)
        return Acme(
            domains=check_domains(self.letsencrypt_domains),
            storage=str(self.state_dir / file),
            email=self.letsencrypt_email,
            server=server,
            ca_file=str(self.letsencrypt_ca or ""),
            http_challenge=self.letsencrypt_challenge == "http",
        )
