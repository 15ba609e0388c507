"""Looks at what is live: the file with the routes, the entry point, and who serves it. Does blocking I/O in a thread."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509

from ..errors import StoreTooNew
from ..findings import Finding, fine, unknown, wrong
from ..routes import RouteTable, Snapshot
from ..seams import Answer
from ..stores.toml_document import NewerFormat, read_snapshot
from ..traefik.outside import RUNS_APART, OutsideTraefik, port_of
from ..traefik.tls import validity_problem
from . import tls
from .checks import rejections
from .diagnosis import Watched, why
from .outside import find_traefik
from .probe import EntryPointProbe

_LIVE = "live"
# Seconds to wait for a revision that was perhaps written just now, and until a login page or the like is no passing answer.
_LIVE_SECONDS = 2.0
_REFUSED_SECONDS = 0.5
_TIMEOUT = 2.0
_END_OF_LOG = 2**16
_SECRET_PATH = re.compile(r"(/[0-9a-f]{32})/revision\b")
# All characters that Traefik may refuse to accept encoded.
_ENCODED = "%2F%5C%3B%25%3F%23"


@dataclass(frozen=True, slots=True)
class Stored:
    """What is in the file with the routes.

    Attributes:
        file: The file.
        snapshot: The routes, and their revision.
        secret_path: What begins the paths that only the proxy knows; "" if there is none. Never shown.
    """

    file: Path
    snapshot: Snapshot
    secret_path: str


def read_stored(file: Path) -> Stored | None:
    """Return what is in the file with the routes, or None if there is no such file or it is empty.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it has been changed by others.
    """
    try:
        text = file.read_text("utf-8")
    except FileNotFoundError:
        return None
    snapshot = read_snapshot(text)
    secret = _SECRET_PATH.search(text)
    return Stored(file, snapshot, secret[1] if secret else "") if snapshot else None


def look_at_stored(file: Path) -> Iterator[Finding]:
    """Say what is in the file with the routes."""
    about = "routes"
    try:
        stored = read_stored(file)
    except NewerFormat as error:
        yield wrong(about, str(StoreTooNew(str(file), error.found, error.known, error.writer)))
    except OSError as error:
        yield wrong(about, f"{file} cannot be read: {error.strerror}.", "Look again as the user that the Hub runs as.")
    except ValueError as error:
        yield wrong(
            about, f"{file} cannot be used: {error}.", "Start the Hub: it sets the file aside and writes a new one."
        )
    else:
        count = len(stored.snapshot.table) if stored else 0
        yield fine(about, f"{count} in {file}" if stored else f"none yet: {file} is written when the Hub starts")


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryPoint:
    """The public entry point, as the Hub reaches it.

    Attributes:
        url: ``http[s]://host:port``.
        name: Its name in Traefik's static configuration.
        server_name: The server name to ask for with https, or None.
    """

    url: str
    name: str
    server_name: str | None = None

    def ask(self, path: str, revision: int = 0, *, timeout: float = 0.0) -> Answer:
        """Ask for the revision at a secret path, until that revision is there or the time is up."""

        async def asked() -> Answer:
            probe = EntryPointProbe(self.url, path, server_name=lambda: self.server_name, request_timeout=_TIMEOUT)
            try:
                return await (probe.wait(revision, timeout, if_refused=_REFUSED_SECONDS) if timeout else probe.ask())
            finally:
                await probe.close()

        return asyncio.run(asked())


def ask_what_is_live(point: EntryPoint, stored: Stored) -> Answer:
    """Return which revision is live; the last one that was written gets a little time."""
    return point.ask(f"{stored.secret_path}/revision", stored.snapshot.revision, timeout=_LIVE_SECONDS)


def look_at_own(
    point: EntryPoint, file: Path, own: int | None, log: Path, *, hub_runs: bool | None
) -> Iterator[Finding]:
    """Look whether the Traefik that the Hub has started serves the routes.

    Args:
        point: The entry point.
        file: The file with the routes.
        own: Its process; None if it does not run.
        log: The file with its output.
        hub_runs: Whether the Hub runs; None if that is not known.
    """
    stored = _stored_or_none(file)
    if own is None and hub_runs:
        yield wrong(
            _LIVE,
            "The Hub runs, but its Traefik does not.",
            "The Hub starts it again and again; its log says why that fails.",
        )
        return
    if own is None or stored is None:
        yield fine(_LIVE, "nothing, because the Hub does not run")
        return
    answer = ask_what_is_live(point, stored)
    if answer.serves(stored.snapshot.revision):
        yield _is_live(stored, point, answer)
        return
    rejected = rejections(_end_of(log))
    advice = f"Traefik says: {rejected[-1]}" if rejected else answer.advice
    yield wrong(_LIVE, _not_live(stored, answer), advice)


def _stored_or_none(file: Path) -> Stored | None:
    try:
        return read_stored(file)
    except (OSError, ValueError):
        return None  # another look says so


def _is_live(stored: Stored, point: EntryPoint, answer: Answer) -> Finding:
    return fine(_LIVE, f"revision {answer.revision}, with {len(stored.snapshot.table)} routes, at {point.url}")


def _not_live(stored: Stored, answer: Answer) -> str:
    return f"Revision {stored.snapshot.revision} of the routes in {stored.file} is not live: {answer.description}."


def _end_of(log: Path) -> list[str]:
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - _END_OF_LOG))
            return file.read(_END_OF_LOG).decode(errors="replace").splitlines()
    except OSError:
        return []


def look_at_outside(point: EntryPoint, watched: Watched, trusted_proxies: Sequence[str]) -> Iterator[Finding]:
    """Look at a Traefik that others run: whether it serves the routes, and how it is configured.

    Args:
        point: The entry point.
        watched: What it is to do.
        trusted_proxies: The proxies in front of it.
    """
    file = watched.file.resolve()
    folder = watched.folder.resolve() if watched.folder else file.parent
    traefik = find_traefik(point.url, file, folder)
    stored = _stored_or_none(file) or Stored(file, Snapshot(0, RouteTable()), "")
    answer = ask_what_is_live(point, stored)
    if stored.secret_path and answer.serves(stored.snapshot.revision):
        yield _is_live(stored, point, answer)
        yield from _paths(point, stored.secret_path)
        yield from _made_key(point)
    else:
        # The running Hub has another secret path.
        elsewhere = (
            point.ask(f"{stored.secret_path}/anywhere").revision if answer.answered and stored.secret_path else None
        )
        reason = why(point.url, watched, answer, elsewhere, _LIVE_SECONDS)
        if stored.secret_path:
            yield wrong(_LIVE, _not_live(stored, answer), str(reason) if reason else answer.advice)
        elif reason is not None:
            yield reason
        else:
            yield unknown(_LIVE, f"The Hub has not written {file} yet.", "Start it, and look again.")
    yield from _static(traefik, point, trusted_proxies)


def _static(traefik: OutsideTraefik | None, point: EntryPoint, trusted_proxies: Sequence[str]) -> Iterator[Finding]:
    """Look at its static configuration, as far as that can be seen."""
    if traefik is None or traefik.options is None:
        reason = f"Its static configuration is {traefik.source}." if traefik else "It is not among the processes here."
        yield unknown(
            RUNS_APART,
            f"{reason} Its time-outs are not known.",
            f'Check that entryPoints.{point.name}.transport.respondingTimeouts.readTimeout is "0s", and '
            'providers.providersThrottleDuration "0s".',
        )
        return
    harmful = list(traefik.harmful_settings(point.name, trusted_proxies))
    yield from harmful or [fine(RUNS_APART, traefik.name)]


def _paths(point: EntryPoint, secret_path: str) -> Iterator[Finding]:
    """Look whether Traefik leaves the paths of requests as they are, by paths that nobody else knows."""
    if point.ask(f"{secret_path}//revision").revision is not None:
        yield wrong(
            RUNS_APART,
            "It changes the paths of users' requests before it passes them on: // becomes /, and .. is resolved.",
            f"Set entryPoints.{point.name}.http.sanitizePath = false there.",
        )
    if point.ask(f"{secret_path}/{_ENCODED}").refused and not point.ask(f"{secret_path}/nothing").refused:
        yield wrong(
            RUNS_APART,
            "It refuses paths with encoded characters such as %2F, which names of files and users can have.",
            f"Set all of allowEncodedSlash and the like to true in entryPoints.{point.name}.http.encodedCharacters there.",
        )


def _made_key(point: EntryPoint) -> Iterator[Finding]:
    """Look whether Traefik has no certificate, and so makes a key at every change (pkg/tls/generate, DefaultCertificate)."""
    if not point.url.startswith("https:"):
        return
    try:
        names = x509.load_der_x509_certificate(_served(point.url, "localhost")).subject.rfc4514_string()
    except (OSError, ValueError):
        return  # it refuses names that it has no certificate for
    if "TRAEFIK DEFAULT CERT" in names:
        yield wrong(
            RUNS_APART,
            "It has no default certificate, so it makes a new key at every change, which takes most of the time.",
            "Set c.JupyterHub.ssl_cert and ssl_key, or tls.stores.default.defaultCertificate in a file of its own.",
        )


def look_at_served_certificate(url: str, domains: tuple[str, ...]) -> Iterator[Finding]:
    """Look at the certificates from Let's Encrypt that Traefik serves.

    Args:
        url: The entry point, which has https.
        domains: The names that they are for.
    """
    for domain in domains:
        about = f"certificate of {domain}"
        try:
            certificate = x509.load_der_x509_certificate(_served(url, domain))
        except (OSError, ValueError) as error:
            yield unknown(about, f"{url} shows none: {error}.")
            continue
        after, now = certificate.not_valid_after_utc, datetime.now(timezone.utc)
        problem = validity_problem(certificate.not_valid_before_utc, after, now)
        if certificate.issuer == certificate.subject:
            yield wrong(
                about,
                "There is none yet from Let's Encrypt, so browsers do not trust this Hub.",
                "Traefik's output in the Hub's log says why. Port 443 of the name must lead here, or port 80 with "
                'c.TraefikProxy.letsencrypt_challenge = "http".',
            )
        elif problem:
            yield wrong(about, f"It {problem}.", "Traefik renews it; its output in the Hub's log says why it did not.")
        else:
            yield fine(about, f"valid for {(after - now).days} more days")


def _served(url: str, domain: str) -> bytes:
    with tls.connect(urlsplit(url).hostname or "", port_of(url), domain, _TIMEOUT) as connection:
        return connection.getpeercert(binary_form=True) or b""
