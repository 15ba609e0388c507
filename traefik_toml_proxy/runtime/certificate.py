"""Certificates for Traefik: reads the admin's, makes a default one, and keeps copies. Does blocking I/O in a thread."""

from __future__ import annotations

import contextlib
import hashlib
import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from ..access import make_folder
from ..errors import ConfigurationError
from ..files import KeptFiles, write_private
from ..traefik.dynamic import Certificate

PASSPHRASE_VARIABLE = "CONFIGPROXY_SSL_KEY_PASSPHRASE"  # noqa: S105 - a name

_DAYS = 3650
_DNS_NAME = re.compile(r"(\*|[A-Za-z0-9_-]{1,63})(\.[A-Za-z0-9_-]{1,63})*")
# The name in our own certificate, to ask for where TLS options are strict (RFC 2606, section 2: nobody has it).
_DEFAULT_NAME = "traefik-toml-proxy.invalid"
# The largest file to read, in bytes; a long chain has a few kilobytes.
_LARGEST = 2**20
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_KEY = re.compile(rb"-----BEGIN ([A-Z0-9 ]*PRIVATE KEY)-----.+?-----END \1-----", re.DOTALL)
# What Go's TLS can use (crypto/tls/tls.go, X509KeyPair; crypto/tls/auth.go); it refuses RSA keys below 1024 bits.
_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
_SMALLEST_RSA = 1024
# The files that a ServedCertificate makes, also one that was not finished.
_COPIES = re.compile(r"([0-9a-f]{32}-(?:cert|key)\.pem)(?:\.[0-9a-f]{8})?")


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


@dataclass(frozen=True, slots=True)
class PairFiles:
    """Where the admin keeps a certificate and its key.

    Attributes:
        cert_file: ``JupyterHub.ssl_cert``, as an absolute path.
        key_file: ``JupyterHub.ssl_key``, as an absolute path; the same file if both are in one.
        passphrase: Opens the key if it is encrypted.
    """

    cert_file: Path
    key_file: Path
    passphrase: str = field(default="", repr=False)

    def read(self) -> tuple[bytes, bytes]:
        """Return the content of the two files. Blocks.

        Raises:
            UnusablePair: If one cannot be read.
        """
        certificate = _content(self.cert_file)
        # A single file is read once: between two readings it might be replaced.
        return certificate, certificate if self.key_file == self.cert_file else _content(self.key_file)

    def pair(self, contents: tuple[bytes, bytes]) -> Pair:
        """Return the pair in the contents of the files. Takes up to a second with an encrypted key.

        Raises:
            UnusablePair: If Traefik could not serve it.
        """
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


class ServedCertificate:
    """The certificate that Traefik serves by default: files that only this process changes, named after their content.

    Traefik never reads the admin's files: a reload while they are being replaced would end https for everybody.

    Attributes:
        files: The files; whoever writes the dynamic configuration has them written before.
        pair: What is in them, or None if Traefik has its own.
    """

    def __init__(self, folder: Path, mode: int = 0o600, group: int | None = None) -> None:
        """Set where the files go; without :meth:`use` there are none.

        Args:
            folder: A folder for these files alone.
            mode: The permissions of the files.
            group: The id of their group; None for the one that the system gives them.
        """
        self.files = KeptFiles(folder, mode, group)
        self.pair: Pair | None = None
        self._kept: dict[str, bytes] = {}

    def current(self) -> Certificate | None:
        """Return the paths that the next commit names."""
        pair = self.pair
        if pair is None:
            return None
        cert_file, key_file = (str(self.files.folder / name) for name in _names(pair))
        return Certificate(cert_file, key_file, pair.server_name)

    def use(self, pair: Pair) -> None:
        """Name this pair in the next commit. The files of earlier pairs stay, because Traefik may read them until then."""
        self._kept = {**self._kept, **dict(zip(_names(pair), (pair.chain, pair.key), strict=True))}
        # First the files, then the paths: a commit in another thread has the files written after it has taken the paths.
        self.files.keep(self._kept)
        self.pair = pair

    def forget_others(self) -> None:
        """Remove the files of all other pairs, also those that an earlier Hub left. Blocks.

        Call it when a commit with the current pair is live.
        """
        current = _names(self.pair) if self.pair else ()
        self._kept = {name: self._kept[name] for name in current}
        self.files.keep(self._kept)
        self.files.remove_others(_COPIES)


def _names(pair: Pair) -> tuple[str, str]:
    return f"{pair.digest}-cert.pem", f"{pair.digest}-key.pem"


def admins_pair(files: PairFiles) -> Pair:
    """Return the admin's pair, read for the first time. Blocks.

    Raises:
        ConfigurationError: If Traefik could not serve it.
    """
    try:
        return files.pair(files.read())
    except UnusablePair as error:
        raise ConfigurationError(
            f"The certificate in {files.cert_file} with the key in {files.key_file} cannot be used: {error}. "
            "c.JupyterHub.ssl_cert and ssl_key must name PEM files of a certificate and its key."
        ) from error


def default_pair(folder: Path) -> Pair:
    """Return the self-signed pair in ``folder``, after making one if it is missing or unusable. Blocks.

    No client is meant to trust it. Without a default certificate, Traefik generates an RSA key at every reload, even if no
    entry point uses TLS (pkg/tls/tlsmanager.go:363-378).

    Raises:
        ConfigurationError: If it cannot be written.
    """
    files = PairFiles(folder / "default-cert.pem", folder / "default-key.pem")
    with contextlib.suppress(UnusablePair):
        found = files.pair(files.read())
        if found.server_name == _DEFAULT_NAME:
            return found
    try:
        _make(files)
        return files.pair(files.read())
    except (OSError, UnusablePair) as error:
        raise _cannot_be_written(folder, error) from error


def write_served(served: ServedCertificate) -> None:
    """Write the files of a certificate before the first commit names them. Blocks.

    Raises:
        ConfigurationError: If that fails.
    """
    try:
        if served.pair is not None:
            # The store makes it in the same way, but it has not been opened yet.
            make_folder(served.files.folder.parent, served.files.group)
        served.files.write()
    except OSError as error:
        raise _cannot_be_written(served.files.folder, error) from error


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


def _cannot_be_written(folder: Path, error: Exception) -> ConfigurationError:
    return ConfigurationError(
        f"A certificate could not be written to {folder}: {error}. c.TraefikProxy.state_dir sets this folder, or "
        "c.TraefikTomlProxy.dynamic_config_file if the Hub does not start Traefik."
    )


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
    except OSError as error:
        raise UnusablePair(f"{path} cannot be read ({error.strerror})") from error
    if len(content) > _LARGEST:
        raise UnusablePair(f"{path} is larger than a certificate or a key can be")
    return content


def _public(key: object) -> bytes:
    encoded: bytes = key.public_bytes(  # type: ignore[attr-defined]
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return encoded


def _as_pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _make(files: PairFiles) -> None:
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
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(_DEFAULT_NAME)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    for path, text in (
        (files.key_file, _as_pem(key)),
        (files.cert_file, made.public_bytes(serialization.Encoding.PEM)),
    ):
        write_private(path, text)
