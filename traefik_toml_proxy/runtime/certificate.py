"""Certificates for Traefik: reads the admin's, makes a default one, and keeps copies. Does blocking I/O in a thread."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from ..access import make_folder
from ..errors import ConfigurationError
from ..files import KeptFiles
from ..traefik.dynamic import Certificate
from .pairs import Pair, UnusablePair

# The name in our own certificate, to ask for where TLS options are strict (RFC 2606, section 2: nobody has it).
_DEFAULT_NAME = "traefik-toml-proxy.invalid"
# The largest file to read, in bytes; a long chain has a few kilobytes.
_LARGEST = 2**20
# The files that a ServedCertificate makes, also one that was not finished.
_COPIES = re.compile(r"([0-9a-f]{32}-(?:cert|key)\.pem)(?:\.[0-9a-f]{8})?")


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
        # What this needs takes 10 MiB, which an agent does without.
        from .pair_reading import read_pair

        return read_pair(contents, self.cert_file, self.key_file, self.passphrase)


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
        # As in PairFiles.pair.
        from .pair_reading import make_pair

        make_pair(files.cert_file, files.key_file, _DEFAULT_NAME)
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
