"""Reads the certificates for Traefik's connections to https targets, and watches them. Does I/O, never on the event loop."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from ..errors import ConfigurationError, StoreError
from ..publisher import RoutePublisher
from ..seams import NO_METRICS, Metrics
from ..session import CleanupStack
from ..tasks import LoggedOnce
from ..threads import in_thread
from ..traefik.transports import Transport, Transports

# Seconds between two looks at the files. What is in them counts when two looks in a row find the same, because files that
# belong together are not replaced at once.
_INTERVAL = 3.0

# JupyterHub does not renew its certificates, so the log says daily that they are about to expire.
_NOTICE = timedelta(days=30)
_A_DAY = timedelta(days=1)
_LONG_AGO = datetime.min.replace(tzinfo=timezone.utc)

_PEM = serialization.Encoding.PEM


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportFiles:
    """The files of a transport, with absolute paths.

    Attributes:
        authorities: The PEM file with the certificates of all trusted authorities.
        certificate: The PEM file with the certificate to show to servers; None for none.
        key: The PEM file with the key of that certificate.
        advice: Where the files come from, for error messages; whole sentences.
    """

    authorities: Path
    certificate: Path | None = None
    key: Path | None = None
    advice: str


class WatchedTransports:
    """The transports as their files were when they last fit."""

    def __init__(self, internal: TransportFiles | None = None, extra: TransportFiles | None = None) -> None:
        """Set the files; nothing is read before :meth:`read`.

        Args:
            internal: The files for the Hub, users' servers and services; None without ``internal_ssl``.
            extra: The files for extra routes; None for Traefik's default transport.
        """
        self._internal = internal
        self._extra = extra
        self._current = self._committed = Transports()
        # What the last look at the files found: the transports, or why there are none; and what was logged last.
        self._found: Transports | str = ""
        self._problem = ""
        self._next_warning = _LONG_AGO

    def current(self) -> Transports:
        """Return what the next commit of the routes is to have."""
        return self._current

    def read(self) -> None:
        """Read the files. Blocks.

        Raises:
            ConfigurationError: If a file cannot be used, or the key is not that of the certificate. Traefik would not say
                so, but answer all requests with 500 or 502.
        """
        self._current = self._committed = self._read()

    def _read(self) -> Transports:
        internal, extra = self._internal, self._extra
        return Transports(internal=_read(internal) if internal else None, extra=_read(extra) if extra else None)

    def watch(
        self,
        publisher: RoutePublisher,
        cleanup: CleanupStack,
        log: logging.Logger,
        metrics: Metrics = NO_METRICS,
    ) -> None:
        """From now on, use what is in the files whenever they have changed and fit; log once if they do not.

        Args:
            publisher: Commits the new transports, in between the changes of routes.
            cleanup: Ends it.
            log: Where it is logged.
            metrics: Is told when the first of the certificates of ``internal_ssl`` expires.
        """
        if self._internal or self._extra:
            watching = self._watch(publisher, log, metrics)
            cleanup.add_task(asyncio.create_task(watching, name="traefik_toml_proxy transports"))

    async def _watch(self, publisher: RoutePublisher, log: logging.Logger, metrics: Metrics) -> None:
        errors = LoggedOnce("Looking at the certificates for https targets", log)
        while True:
            await asyncio.sleep(_INTERVAL)
            with errors:
                self._warn_of_expiry(log, metrics)
                await self._look(publisher, log)

    def _warn_of_expiry(self, log: logging.Logger, metrics: Metrics) -> None:
        now = datetime.now(timezone.utc)
        if self._internal is None or self._current.internal is None or now < self._next_warning:
            return
        self._next_warning = now + _A_DAY
        expiry = _expiry(self._current.internal)
        metrics.certificate("internal_ssl", expiry)
        if expiry < now + _NOTICE:
            log.warning(
                "A certificate of internal_ssl expires on %s; then Traefik cannot reach the Hub and users' servers. %s",
                f"{expiry:%Y-%m-%d}",
                self._internal.advice,
            )

    async def _look(self, publisher: RoutePublisher, log: logging.Logger) -> None:
        try:
            found: Transports | str = await in_thread(self._read)
        except ConfigurationError as error:
            found = str(error)
        has_settled, self._found = found == self._found, found
        if not has_settled:
            return
        problem = found if isinstance(found, str) else await self._use(found, publisher, log)
        if problem and problem != self._problem:
            log.error("%s Until then, Traefik uses the certificates that it has.", problem)
        elif self._problem and not problem:
            log.info("The certificates for https targets can be used again")
        self._problem = problem

    async def _use(self, found: Transports, publisher: RoutePublisher, log: logging.Logger) -> str:
        """Commit what was found, if it is new; return why that failed, or ""."""
        if found == self._committed:
            return ""
        self._current = found
        try:
            await publisher.commit_again()
        except StoreError as error:
            return str(error)
        self._committed = found
        self._next_warning = _LONG_AGO
        log.info("The certificates for https targets have changed: Traefik uses the new ones")
        return ""


def _read(files: TransportFiles) -> Transport:
    authorities = _certificates(files.authorities, files)
    if files.certificate is None or files.key is None:
        return Transport(_pem(authorities))
    certificates = _certificates(files.certificate, files)
    key = _key(files.key, files)
    if certificates[0].public_key() != key.public_key():
        raise _unusable(files.key, f"it is not the key of the certificate in {files.certificate}", files)
    text = key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Transport(_pem(authorities), _pem(certificates), text.decode())


def _expiry(transport: Transport) -> datetime:
    """Return when the first of all certificates of a transport expires."""
    certificates = x509.load_pem_x509_certificates((transport.authorities + transport.certificate).encode())
    return min(certificate.not_valid_after_utc for certificate in certificates)


def _certificates(path: Path, files: TransportFiles) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise _unusable(path, str(error.strerror), files) from error
    except ValueError as error:
        raise _unusable(path, "it has no certificate in PEM format", files) from error


def _key(path: Path, files: TransportFiles) -> PrivateKeyTypes:
    try:
        # To validate an RSA key would take 100 ms, in which no other thread runs. It is compared with the certificate later.
        return serialization.load_pem_private_key(path.read_bytes(), None, unsafe_skip_rsa_key_validation=True)
    except OSError as error:
        raise _unusable(path, str(error.strerror), files) from error
    except TypeError as error:
        raise _unusable(path, "the key is encrypted, which Traefik does not support", files) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _unusable(path, "it has no key in PEM format", files) from error


def _pem(certificates: list[x509.Certificate]) -> str:
    return b"".join(certificate.public_bytes(_PEM) for certificate in certificates).decode()


def _unusable(path: Path, reason: str, files: TransportFiles) -> ConfigurationError:
    return ConfigurationError(f"{path} cannot be used: {reason}. {files.advice}")
