"""Certificates for Traefik: makes a default one, and checks the admin's. Does blocking I/O; call it in a thread."""

from __future__ import annotations

import re
import ssl
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ..errors import ConfigurationError
from ..files import write_private
from ..traefik.dynamic import Certificate

_DAYS = 3650
_DNS_NAME = re.compile(r"(\*|[A-Za-z0-9_-]{1,63})(\.[A-Za-z0-9_-]{1,63})*")


def default_certificate(folder: Path) -> Certificate:
    """Return the self-signed certificate in ``folder``, after making one if it is missing or unusable.

    No client is meant to trust it. Without a default certificate, Traefik generates an RSA key at every reload, even if no
    entry point uses TLS (pkg/tls/tlsmanager.go:363-378).

    Raises:
        ConfigurationError: If the certificate cannot be written.
    """
    certificate = Certificate(str(folder / "default-cert.pem"), str(folder / "default-key.pem"))
    try:
        _load(certificate)
    except (OSError, ssl.SSLError, ValueError):
        try:
            _make(certificate)
        except OSError as error:
            raise ConfigurationError(
                f"A certificate could not be written to {folder}: {error}. c.TraefikProxy.state_dir sets this folder."
            ) from error
    return certificate


def checked_certificate(cert_file: str, key_file: str) -> Certificate:
    """Return the admin's certificate for the public entry point, with absolute paths.

    Args:
        cert_file: ``JupyterHub.ssl_cert``.
        key_file: ``JupyterHub.ssl_key``; if empty, the key must be in the same file as the certificate.

    Raises:
        ConfigurationError: If Traefik could not use it. Traefik would not fail, but serve another certificate.
    """
    certificate = Certificate(str(Path(cert_file).absolute()), str(Path(key_file or cert_file).absolute()))
    try:
        _load(certificate)
    except (OSError, ssl.SSLError, ValueError) as error:
        raise ConfigurationError(
            f"The certificate in {certificate.cert_file} with the key in {certificate.key_file} cannot be used: {error}. "
            "c.JupyterHub.ssl_cert and ssl_key must name PEM files of a certificate and its key; the key must not be "
            "encrypted."
        ) from error
    loaded = x509.load_pem_x509_certificate(Path(cert_file).read_bytes())
    return replace(certificate, server_name=server_name(loaded))


def server_name(certificate: x509.Certificate) -> str | None:
    """Return a name that a certificate is for, without a wildcard, or None."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        names = extension.value.get_values_for_type(x509.DNSName)
    except x509.ExtensionNotFound:
        # Traefik looks there, too (pkg/tls/certificate_store.go:245).
        names = [str(name.value) for name in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    # Names without a wildcard first.
    usable = sorted((name for name in names if _DNS_NAME.fullmatch(name)), key=lambda name: name.startswith("*"))
    return usable[0].replace("*", "hub") if usable else None


def name_to_ask_for(url: str, certificate: Certificate | None) -> str | None:
    """Return the name that a client should ask for at ``url``, or None for the host of the URL.

    Args:
        url: The URL of the entry point; if it has a name, that is what to ask for.
        certificate: The certificate that is served there, if it is known.
    """
    host = urlsplit(url).hostname or ""
    is_name = host != "localhost" and ":" not in host and not host.replace(".", "").isdigit()
    return None if is_name or certificate is None else certificate.server_name


def _load(certificate: Certificate) -> None:
    def no_password() -> str:
        raise ValueError("the key is encrypted, which Traefik does not support")

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.cert_file, certificate.key_file, password=no_password)


def _make(certificate: Certificate) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "traefik_toml_proxy default")])
    now = datetime.now(timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=_DAYS))
        .sign(key, hashes.SHA256())
    )
    key_text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    for path, text in (
        (certificate.key_file, key_text),
        (certificate.cert_file, made.public_bytes(serialization.Encoding.PEM)),
    ):
        write_private(Path(path), text)
