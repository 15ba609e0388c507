"""Which requests Traefik logs because their target failed, and how such a line is read. Pure.

Traefik says nothing of a target that refuses a connection or closes it, unless it logs everything, secrets too. Its access
log would tell, but collecting what it needs takes a sixth more CPU for each request, logged or not. So it is off, except on
the routers of the error pages: Traefik asks itself for a page, at a secret path that has the URL of the request that failed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote_plus

# JSON to standard output, one field.
ACCESS_LOG: dict[str, Any] = {
    "format": "json",
    # Pages of a few words have no server, only a service of Traefik's own.
    "addInternals": True,
    # The revision route is asked for all the time, and answers 418.
    "filters": {"statusCodes": ["200-417", "419-599"]},
    "fields": {"defaultMode": "drop", "names": {"RequestPath": "keep"}, "headers": {"defaultMode": "drop"}},
}

_BEGINS = '{"RequestPath":"'
# The URL is escaped by Go's url.QueryEscape, so it has no other characters.
_PAGE = re.compile(r"\d{3}/(?P<status>\d{3})/(?P<url>[\w.~%+-]*)", re.ASCII)


class FailedRequest(NamedTuple):
    """A request that got an error page because its target failed.

    Attributes:
        host: Its Host header.
        path: Its path as Traefik matched it, without the query, which may have secrets.
        status: The status that the page takes the place of: 502 for a connection that failed or was closed, 504 for one that
            timed out; or the target has answered this itself.
    """

    host: str
    path: str
    status: int


def error_path(secret_path: str) -> str:
    """Return the path that begins the paths of all error pages; it ends in a slash."""
    return f"{secret_path}/error/"


def logs_failures(extra_static: Mapping[str, Any]) -> bool:
    """Whether the access log is ours. Traefik has only one, so the admin's takes its place."""
    return "accesslog" not in map(str.lower, extra_static)


def is_access_log(line: str) -> bool:
    """Whether a line of Traefik's output is from our access log. It may have secrets."""
    return line.startswith(_BEGINS)


def failed_request(line: str, error_path: str) -> FailedRequest | None:
    """Return the request that a line of our access log is about, or None if it is about something else.

    Args:
        line: The line; its end may be cut off.
        error_path: The path that begins the paths of all error pages; see :func:`error_path`.
    """
    before = _BEGINS + error_path
    match = _PAGE.match(line, len(before)) if line.startswith(before) else None
    if match is None:
        return None
    host, slash, rest = unquote_plus(match["url"]).partition("://")[2].partition("/")
    return FailedRequest(host, slash + rest.partition("?")[0], int(match["status"]))
