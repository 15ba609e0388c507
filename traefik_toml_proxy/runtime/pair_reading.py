"""Reads a certificate and its key, or makes them. Does blocking I/O only in ``make_pair``. Imported when it is needed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from ..files import write_private
from .pairs import PASSPHRASE_VARIABLE, Pair, UnusablePair

_DAYS = 3650
_DNS_NAME = re.compile(r"(\*|[A-Za-z0-9_-]{1,63})(\.[A-Za-z0-9_-]{1,63})*")
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_KEY = re.compile(rb"-----BEGIN ([A-Z0-9 ]*PRIVATE KEY)-----.+?-----END \1-----", re.DOTALL)
# What Go's TLS can use (crypto/tls/tls.go, X509KeyPair; crypto/tls/auth.go); it refuses RSA keys below 1024 bits.
_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
_SMALLEST_RSA = 1024


def read_pair(contents: tuple[bytes, bytes], cert_file: Path, key_file: Path, passphrase: str) -> Pair:
    """Return the pair in the contents of two files. Takes up to a second with an encrypted key.

    Args:
        contents: What is in the two files.
        cert_file: The file of the certificate, for messages.
        key_file: The file of the key, for messages; it may be the same.
        passphrase: Opens the key if it is encrypted.

    Raises:
        UnusablePair: If Traefik could not serve it.
    """
    return _Files(cert_file, key_file, passphrase).pair(contents)


@dataclass(frozen=True, slots=True)
class _Files:
    cert_file: Path
    key_file: Path
    passphrase: str

    def pair(self, contents: tuple[bytes, bytes]) -> Pair:
        chain = self._chain(contents[0])
        key = self._key(contents[1])
        if _public(key.public_key()) != _public(chain[0].public_key()):
            raise UnusablePair(
                f"the key in {self.key_file} is not the key of the first certificate in {self.cert_file}"
            )
        return Pair(
            b"".join(one.public_bytes(serialization.Encoding.PEM) for one in chain),
            _as_pem(key),
            chain[0].not_valid_before_utc,
            chain[0].not_valid_after_utc,
            server_name(chain[0]),
        )

    def _chain(self, content: bytes) -> list[x509.Certificate]:
        if not content.strip():
            raise UnusablePair(f"{self.cert_file} is empty")
        try:
            chain = [x509.load_pem_x509_certificate(match[0]) for match in _CERTIFICATE.finditer(content)]
            for certificate in chain:
                certificate.public_key()
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise UnusablePair(f"a certificate in {self.cert_file} is damaged or of an unknown kind") from error
        if not chain:
            raise UnusablePair(f"there is no certificate in {self.cert_file} (-----BEGIN CERTIFICATE-----)")
        return chain

    def _key(self, content: bytes) -> rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey:
        if not content.strip():
            raise UnusablePair(f"{self.key_file} is empty")
        found = _KEY.search(content)
        if found is None:
            raise UnusablePair(f"there is no key in {self.key_file} (-----BEGIN PRIVATE KEY-----)")
        # Errors of the library are not shown: they are for programmers.
        try:
            key = self._opened(found[0])
        except (ValueError, UnsupportedAlgorithm) as error:
            if b"ENCRYPTED" in found[0] and self.passphrase:
                reason = f"the key in {self.key_file} cannot be opened with the passphrase in {PASSPHRASE_VARIABLE}"
            else:
                reason = f"the key in {self.key_file} is damaged or of an unknown kind"
            raise UnusablePair(reason) from error
        match key:
            case ec.EllipticCurvePrivateKey() if isinstance(key.curve, _CURVES):
                return key
            case rsa.RSAPrivateKey() if key.key_size >= _SMALLEST_RSA:
                return key
            case ed25519.Ed25519PrivateKey():
                return key
        raise UnusablePair(
            f"Traefik cannot use the key in {self.key_file}: it must be an RSA key of {_SMALLEST_RSA} bits or more, an "
            "elliptic curve key (P-256, P-384 or P-521) or an Ed25519 key"
        )

    def _opened(self, pem: bytes) -> object:
        try:
            # To validate an RSA key would take 100 ms, in which no other thread runs, such as the Hub's. The caller compares
            # its public half with the certificate.
            return serialization.load_pem_private_key(pem, None, unsafe_skip_rsa_key_validation=True)
        except TypeError:  # the key is encrypted
            if not self.passphrase:
                raise UnusablePair(
                    f"the key is encrypted in {self.key_file}, and {PASSPHRASE_VARIABLE} is not set in the environment of "
                    "the Hub"
                ) from None
        return serialization.load_pem_private_key(pem, self.passphrase.encode(), unsafe_skip_rsa_key_validation=True)


def make_pair(cert_file: Path, key_file: Path, server_name: str) -> None:
    """Write a self-signed certificate and its key, both private. Blocks.

    Args:
        cert_file: The file of the certificate.
        key_file: The file of the key.
        server_name: The name that the certificate is for.

    Raises:
        OSError: If they cannot be written.
    """
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
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(server_name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    for path, text in (
        (key_file, _as_pem(key)),
        (cert_file, made.public_bytes(serialization.Encoding.PEM)),
    ):
        write_private(path, text)


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


def _public(key: object) -> bytes:
    encoded: bytes = key.public_bytes(  # type: ignore[attr-defined]
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return encoded


def _as_pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
