"""Reads what the entry point answered to the Hub's question, and says what an admin can do about it. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import urlsplit

from ..errors import quoted
from ..seams import Answer
from ..traefik.dynamic import REVISION_HEADER

# What is read of a response besides its status.
HEADERS = (REVISION_HEADER, "Location", "Server")
_REVISION = re.compile(r"[0-9]{1,18}")
# The secret in the path of the revision route, which a redirect may repeat.
_SECRET = re.compile(r"[0-9a-f]{32}")
# Traefik answers 404 until it has loaded its first configuration; the others are about the moment, not about a rule.
_MAY_CHANGE = {404, 408, 425, 429}
# A silence of so many seconds may be that of a busy machine.
_MOMENT = 1.0
_WHERE = "traefik_url must be the URL of the entry point that traefik_entrypoint names"
_NOT_LOADED = (
    "Look in Traefik's log for an error about that file, and check that Traefik reads it; if Traefik runs in a container, "
    f"mount the folder of the file, not the file alone. {_WHERE}."
)
_ON_ROUTES = (
    "If it is a middleware of the entry point, put it into c.TraefikProxy.route_middlewares instead: there it concerns "
    "users' requests, but not the Hub's own."
)
_REDIRECT = (
    "The Hub does not follow redirects. If users come through this one, set c.TraefikProxy.traefik_url to a URL that is not "
    f"redirected, such as one with the Hub's public name. {_ON_ROUTES}"
)
_SOMETHING_ELSE = (
    f"Something else answers there: another server ({_WHERE}), or a router in extra_dynamic_config whose priority is above "
    f"those of the Hub's. {_ON_ROUTES}"
)
_ADVICE = {
    401: f"Something asks for a password, such as basicAuth or forwardAuth. {_ON_ROUTES}",
    403: f"Something forbids the Hub's own requests, such as ipAllowList or forwardAuth. {_ON_ROUTES}",
    404: _NOT_LOADED,
    407: f"Something asks for a password. {_ON_ROUTES}",
}
# OpenSSL's names for the alerts with which a server ends a handshake, in part.
_UNKNOWN_NAME = "UNRECOGNIZED_NAME"
_NEEDS_CERTIFICATE = ("CERTIFICATE_REQUIRED", "HANDSHAKE_FAILURE", "BAD_CERTIFICATE")
_NOT_TLS = (
    "WRONG_VERSION_NUMBER",
    "RECORD_LAYER_FAILURE",
    "HTTP_REQUEST",
    "UNKNOWN_PROTOCOL",
    "PACKET_LENGTH_TOO_LONG",
)
_STRICT = (
    "Traefik has no certificate for that name (tls.options.default.sniStrict). Set c.TraefikProxy.traefik_url to "
    "https://name:port with a name in the certificate; it must lead to Traefik."
)
_CLIENT_CERTIFICATE = (
    "Either client certificates are required there (tls.options.default.clientAuth), and the Hub has none, or the TLS "
    "versions and ciphers that are allowed there are not the Hub's. Require client certificates in a proxy in front of "
    "Traefik instead, and list that in c.TraefikProxy.trusted_proxies."
)
_OTHER_ALERT = f"Check tls in c.TraefikProxy.extra_dynamic_config, and the certificate. {_WHERE}."


class Refusals:
    """Finds out when nothing but refusals will come. That nobody answers is no sign, as Traefik may be starting.

    Attributes:
        certain: The last refusal, once nothing else has been answered for long enough; else None.
    """

    def __init__(self, limit: float | None) -> None:
        """Begin without any.

        Args:
            limit: For how many seconds only refusals must come; None is forever.
        """
        self.certain: Answer | None = None
        self._limit = math.inf if limit is None else limit
        self._since: float | None = None
        # The last answer that was not silence, and when it came.
        self._heard: Answer | None = None
        self._heard_at = -math.inf

    def add(self, answer: Answer, now: float) -> None:
        """Note an answer that came at ``now``, in seconds."""
        if answer.answered:
            self._heard, self._heard_at = answer, now
        if answer.refused:
            self._since = now if self._since is None else self._since
            if now - self._since >= self._limit:
                self.certain = answer
        elif answer.answered:
            self._since = None

    def outcome(self, last: Answer, now: float) -> Answer:
        """Return what to give up with at ``now``: the last answer, unless that is a silence which has only just begun.

        There is little time for the last question, and a machine that is busy may stand still for so long. It would be wrong
        to say then that nobody answers.
        """
        if last.answered or self._heard is None or now - self._heard_at > _MOMENT:
            return last
        return self._heard


def read_response(url: str, status: int, headers: Mapping[str, str]) -> Answer:
    """Return what a response says.

    Args:
        url: The entry point that was asked.
        status: The status code.
        headers: Those of its headers that are in :data:`HEADERS`.
    """
    revision = headers.get(REVISION_HEADER, "")
    if _REVISION.fullmatch(revision):
        return Answer(int(revision), answered=True, description=f"{url} serves revision {revision}", advice=_NOT_LOADED)
    redirected = 300 <= status < 400
    to = f" to {_without_query(headers['Location'])}" if redirected and "Location" in headers else ""
    by = f" by {quoted(headers['Server'])}" if "Server" in headers else ""
    return Answer(
        None,
        answered=True,
        description=f"{url} answered {_status(status)}{to}{by}, without our revision",
        advice=_REDIRECT if redirected else _advice(status),
        refused=status < 500 and status not in _MAY_CHANGE,
    )


def nothing_is_loaded(answer: Answer) -> bool:
    """Whether it is what Traefik answers where it has no route: at first, or at an entry point for the other scheme."""
    return answer.answered and answer.revision is None and answer.advice == _NOT_LOADED


def _status(status: int) -> str:
    try:
        return f"{status} ({HTTPStatus(status).phrase})"
    except ValueError:
        return str(status)


def _without_query(location: str) -> str:
    """Return the target of a redirect, quoted, without what may be secret: the query, credentials, our own secret path."""
    try:
        parts = urlsplit(location)
    except ValueError:
        return "an invalid URL"
    public = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
    return quoted(_SECRET.sub("...", public))


def _advice(status: int) -> str:
    if status >= 500:
        return f"A middleware or a server that it asks, as forwardAuth does, may be failing. {_ON_ROUTES} {_NOT_LOADED}"
    return _ADVICE.get(status, _SOMETHING_ELSE)


def no_answer(url: str, reason: str) -> Answer:
    """Return that there was no answer, and why."""
    if reason.startswith("\x15\x03"):  # a TLS alert in place of a status line (RFC 8446, section 6)
        return _wrong_scheme(url, f"{url} answered with TLS")
    return Answer(None, answered=False, description=f"no answer from {url}: {reason}", advice=_NOT_LOADED)


def failed_handshake(url: str, name: str, reason: str) -> Answer:
    """Return what a failed TLS handshake says.

    Args:
        url: The entry point that was asked.
        name: The server name that was asked for, or the address that was connected to.
        reason: OpenSSL's name for the error, such as ``TLSV1_UNRECOGNIZED_NAME``.
    """
    if any(part in reason for part in _NOT_TLS):
        return _wrong_scheme(url, f"{url} answered without TLS")
    if "ALERT" not in reason and _UNKNOWN_NAME not in reason:
        # It hung up, as Traefik may do while it is starting. Somebody is there, so it is not for a restart to mend this.
        description = f"{url} refuses new TLS connections ({reason.lower().replace('_', ' ')})"
        return Answer(None, answered=True, description=description, advice=_NOT_LOADED)
    advice = _OTHER_ALERT
    if _UNKNOWN_NAME in reason:
        advice = _STRICT
    elif any(part in reason for part in _NEEDS_CERTIFICATE):
        advice = _CLIENT_CERTIFICATE
    alert = reason.lower().replace("_", " ")
    description = f"{url} refuses new TLS connections for the server name {quoted(name)} ({alert})"
    return Answer(None, answered=True, description=description, advice=advice, refused=True)


def other_scheme(url: str) -> str:
    """Return ``url`` with https in place of http, or the other way round."""
    scheme, _, rest = url.partition(":")
    return f"{'http' if scheme == 'https' else 'https'}:{rest}"


def answered_other_scheme(answer: Answer, url: str) -> Answer:
    """Return what it means that ``url`` gave ``answer``, but the same place served our routes under the other scheme."""
    return _wrong_scheme(url, f"{answer.description}, but {other_scheme(url)} serves our routes")


def _wrong_scheme(url: str, description: str) -> Answer:
    speaks = "plain http" if url.startswith("https:") else "https"
    advice = (
        f"The entry point speaks {speaks}: begin c.TraefikProxy.traefik_url (by default made from JupyterHub.bind_url) with "
        f"{other_scheme(url).partition(':')[0]}://."
    )
    return Answer(None, answered=True, description=description, advice=advice, refused=True)
