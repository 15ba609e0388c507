"""Routes: what JupyterHub asks for, checked, and the table that holds them. Pure."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any, cast
from urllib.parse import quote, unquote_to_bytes, urlsplit

from .errors import InvalidRoute, quoted

# One label or more; no port, no wildcard, nothing that Traefik's Host() reads in its own way
# (a non-ASCII name disables the router, `*` matches everything: pkg/muxer/http/matcher.go:71-120).
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
# No zone in an IPv6 address: Go reads another spelling of it than Python.
_TARGET_AUTHORITY = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9_.-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]+)?")
# How JupyterHub 6 writes the URL of a server on a unix socket, and how 5 did (jupyterhub/app.py, _validate_bind_url).
UNIX_SCHEMES = ("http+unix", "unix+http")
# The percent-encoded absolute path of a unix socket, without a NUL, which would end it.
_TARGET_SOCKET = re.compile(r"%2[Ff](?:[A-Za-z0-9_.~-]|%(?!00)[0-9A-Fa-f]{2})+")
# RFC 3986 section 3.3 (pchar) and "/"
_TARGET_PATH = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@/%-]*")

# Python reads and writes JSON by recursion: what fits at one depth of the stack must fit at any other.
_DEEPEST = 100


@dataclass(frozen=True, slots=True)
class Place:
    """Where a routespec is in the address space of the public entry point.

    Attributes:
        host: The host name in lower case, or "" for every host.
        segments: The path between its slashes, percent-decoded; a ``/`` inside one was ``%2F``.
    """

    host: str
    segments: tuple[str, ...]

    @property
    def canonical(self) -> str:
        """The one spelling of this place: two routespecs are the same place if and only if this is equal.

        It is the spelling that JupyterHub itself makes (``quote(name, safe="@~")``, jupyterhub/utils.py:503).
        """
        return self.host + "".join("/" + _spelled(segment) for segment in self.segments) + "/"


def _spelled(segment: str) -> str:
    """Return a decoded segment in its canonical spelling; a byte that is not UTF-8 may stand in it as a lone surrogate."""
    return quote(segment, safe="@~", errors="surrogateescape")


@lru_cache(maxsize=64)  # a route is read when it is checked, and once more when it is rendered
def parse_routespec(routespec: str) -> Place:
    """Read ``[host]/path/`` as JupyterHub writes it.

    User and server names arrive percent-encoded, service names raw (jupyterhub/user.py:684, services/service.py:411), so
    a percent sign must begin an escape, and everything else stands for itself.

    Args:
        routespec: With or without a trailing slash.

    Returns:
        The place it names.

    Raises:
        InvalidRoute: If no request could be matched to it exactly.
    """
    host, slash, path = routespec.partition("/")
    if not slash:
        raise InvalidRoute(routespec, "it has no path; a routespec is [host]/path/")
    host = host.lower()
    if host and not (_HOST.fullmatch(host) and len(host) <= 253):
        raise InvalidRoute(
            routespec,
            f"{quoted(host)} is not a host name (letters, digits, '-', '_' and '.', no port; use punycode for others)",
        )
    texts = path.removesuffix("/").split("/") if path else []
    if texts and not texts[-1]:
        # Its form without the last slash would be the address of another route.
        raise InvalidRoute(routespec, "it ends in more than one slash")
    segments = tuple(_decode_segment(routespec, text) for text in texts)
    return Place(host, segments)


def _decode_segment(routespec: str, text: str) -> str:
    broken = _BROKEN_ESCAPE.search(text)
    if broken:
        raise InvalidRoute(
            routespec,
            f"the percent sign in {quoted(text)} does not begin an escape such as %25, so no request could reach it",
        )
    try:
        segment = unquote_to_bytes(text).decode("utf-8")
    except UnicodeError:
        raise InvalidRoute(routespec, f"{quoted(text)} is not UTF-8") from None
    # Whoever resolves the dots (a browser, the target) would leave this route; `%2F..` reaches the target as well.
    if not {".", ".."}.isdisjoint(segment.replace("\\", "/").split("/")):
        raise InvalidRoute(routespec, "it has a '.' or '..' segment, which browsers and servers resolve away")
    return segment


def check_target(routespec: str, target: str) -> None:
    """Check that a target is a URL that requests can be sent to.

    Args:
        routespec: For the error only.
        target: ``http[s]://host[:port][/path]``, or ``http+unix://socket[/path]`` with the percent-encoded absolute path of
            a unix socket (jupyterhub/objects.py, Server.host); the path is put before the path of each request.

    Raises:
        InvalidRoute: If it is anything else. Not every proxy can reach every target: see ``RoutingProxy._check_route``.
    """

    def refuse(reason: str) -> InvalidRoute:
        return InvalidRoute(routespec, f"its target {quoted(target)} {reason}")

    try:
        url = urlsplit(target)
        port = url.port
        if "[" in url.netloc:  # Python 3.10 does not check what is in the brackets
            ipaddress.IPv6Address(url.hostname or "")
    except ValueError as error:
        raise refuse(f"is not a URL ({quoted(str(error))})") from None
    # urlsplit drops tabs and line ends, so look at the text itself.
    if not target.isascii() or not target.isprintable() or " " in target:
        raise refuse("has characters that must be percent-encoded in a URL")
    if url.scheme not in ("http", "https", *UNIX_SCHEMES):
        raise refuse("does not begin with http:// or https://")
    if "@" in url.netloc:
        raise refuse("has a user name or password, which no proxy would send")
    if url.netloc.endswith(":") or port == 0:
        raise refuse("has no usable port")
    if "?" in target or "#" in target:
        raise refuse("has a query or a fragment, which no proxy can put before a request's path")
    if not (_TARGET_SOCKET if url.scheme in UNIX_SCHEMES else _TARGET_AUTHORITY).fullmatch(url.netloc):
        raise refuse("has no host that can be connected to")
    if not _TARGET_PATH.fullmatch(url.path) or _BROKEN_ESCAPE.search(url.path):
        raise refuse("has characters in its path that must be percent-encoded")
    if not {b".", b".."}.isdisjoint(unquote_to_bytes(url.path).split(b"/")):
        raise refuse("has a '.' or '..' segment in its path")


def data_to_json(routespec: str, data: object) -> str:
    """Return ``data`` as JSON text (ASCII) that gives exactly the same dict back.

    Args:
        routespec: For the error only.
        data: The dict that JupyterHub attaches to a route.

    Raises:
        InvalidRoute: If it is not a dict, or JSON would give back another one (a tuple, a key that is not text, NaN…), or
            it is nested so deeply that it could not be read everywhere.
    """
    try:
        text = json.dumps(data, allow_nan=False, separators=(",", ":"))
        copy = json.loads(text)
        same = copy == data and isinstance(data, dict)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRoute(routespec, f"its data is not JSON ({quoted(str(error))})") from None
    if not same:
        raise InvalidRoute(routespec, "its data is not a dict that JSON gives back unchanged")
    if _is_deep(copy):
        raise InvalidRoute(routespec, f"its data is nested more than {_DEEPEST} levels deep")
    return text


def _is_deep(data: dict[str, Any]) -> bool:
    level: list[Any] = [data]
    for _ in range(_DEEPEST):
        inside = chain.from_iterable(item.values() if isinstance(item, dict) else item for item in level)
        level = [item for item in inside if isinstance(item, (dict, list))]
        if not level:
            return False
    return True


@dataclass(frozen=True, slots=True)
class Route:
    """One route, checked: whatever is in here can be served and written down exactly.

    Attributes:
        routespec: As JupyterHub gave it; the key under which it is known.
        target: As JupyterHub gave it.
        data_json: The data dict as JSON text, so that no two readers share a dict.
        place: The canonical spelling of the routespec (see :attr:`Place.canonical`).
    """

    routespec: str
    target: str
    data_json: str
    place: str

    @classmethod
    def checked(cls, routespec: str, target: str, data: object) -> Route:
        """Make a route of what JupyterHub hands over.

        Raises:
            InvalidRoute: If it cannot be served exactly.
        """
        place = parse_routespec(routespec).canonical
        check_target(routespec, target)
        # The same string object where the spelling is JupyterHub's own: at 10,000 users it counts.
        return cls(routespec, target, data_to_json(routespec, data), routespec if place == routespec else place)

    def as_dict(self) -> dict[str, Any]:
        """Return a fresh dict in the form of JupyterHub's ``Proxy.get_all_routes``."""
        return {"routespec": self.routespec, "target": self.target, "data": self.data}

    @property
    def data(self) -> dict[str, Any]:
        """A fresh copy of the data dict."""
        return cast("dict[str, Any]", json.loads(self.data_json))


@dataclass(frozen=True, slots=True)
class Change:
    """One wish: a route to have (``route``), or, with None, a routespec to be without.

    Attributes:
        routespec: The key it is about.
        route: The route to add or to put in the place of another one with the same routespec.
    """

    routespec: str
    route: Route | None


class RouteTable:
    """The routes at one moment; never changed, only replaced by another table.

    It keeps two rules: a routespec has one route, and a place has one routespec (``/a@b/`` and ``/a%40b/`` are the same
    place, and two routes there would fight over each request).
    """

    __slots__ = ("_by_place", "_by_routespec", "_most_segments")

    def __init__(self, routes: Iterable[Route] = ()) -> None:
        """Make a table of ``routes``.

        Raises:
            InvalidRoute: If two of them are the same place.
        """
        self._by_routespec: dict[str, Route] = {}
        self._by_place: dict[str, str] = {}
        # No place ever had more, so a request's further segments need not be looked at.
        self._most_segments = 0
        for route in routes:
            self._apply(Change(route.routespec, route))

    def __len__(self) -> int:
        return len(self._by_routespec)

    def __iter__(self) -> Iterator[Route]:
        return iter(self._by_routespec.values())

    def get(self, routespec: str) -> Route | None:
        """Return the route that was added under exactly this routespec, or None."""
        return self._by_routespec.get(routespec)

    def match(self, host: str, path: str) -> Route | None:
        """Return the route that a request takes: the one that is the longest prefix of its path.

        This is how every proxy of this package routes. A prefix consists of whole segments, which are compared after
        percent-decoding, as in configurable-http-proxy (lib/trie.js, lib/configproxy.js:451-464); but ``%2F`` does not end
        a segment. Routes for the request's host come before those for all hosts.

        Args:
            host: The Host header; letter case, a port, and a dot at the end do not matter.
            path: The path of the request as it was sent, without the query. A percent sign that does not begin an escape
                stands for itself.

        Returns:
            The route, or None if there is none, or if the path does not begin with a slash (``OPTIONS *``).
        """
        if not path.startswith("/"):
            return None
        spelling, spellings = "", ["/"]
        for text in path.split("/", self._most_segments + 1)[1 : self._most_segments + 1]:
            spelling += "/" + _spelled(unquote_to_bytes(text).decode("utf-8", "surrogateescape"))
            spellings.append(spelling + "/")
        name = host.lower().partition(":")[0].removesuffix(".")
        # A slash would make the beginning of a path out of a host name.
        for start in ("",) if "/" in name else (name, ""):
            for spelling in reversed(spellings):
                routespec = self._by_place.get(start + spelling)
                if routespec is not None:
                    return self._by_routespec[routespec]
        return None

    def with_changes(self, changes: Iterable[Change]) -> tuple[RouteTable, list[bool | InvalidRoute]]:
        """Apply ``changes`` one after the other.

        Returns:
            The table afterwards (this one itself, where all is as before), and for each change whether it changed
            anything, or why it was refused.
        """
        after = RouteTable()
        after._by_routespec = self._by_routespec.copy()
        after._by_place = self._by_place.copy()
        after._most_segments = self._most_segments
        outcomes: list[bool | InvalidRoute] = []
        for change in changes:
            try:
                outcomes.append(after._apply(change))
            except InvalidRoute as refusal:
                outcomes.append(refusal)
        return (self if after._by_routespec == self._by_routespec else after), outcomes

    def _apply(self, change: Change) -> bool:
        """Carry out one change; only ever called before anybody else has seen this table."""
        before = self._by_routespec.get(change.routespec)
        route = change.route
        if route == before:
            return False
        if route is None:
            place = self._by_routespec.pop(change.routespec).place
            del self._by_place[place]
            return True
        there = self._by_place.get(route.place, route.routespec)
        if there != route.routespec:
            raise InvalidRoute(
                route.routespec,
                f"{quoted(there)} is the same place in another spelling, and is already routed",
            )
        self._by_routespec[route.routespec] = route
        self._by_place[route.place] = route.routespec
        self._most_segments = max(self._most_segments, route.place.count("/") - 1)
        return True


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The route table at one revision.

    Attributes:
        revision: Grows with each snapshot of a store, also over restarts.
        table: The routes.
    """

    revision: int
    table: RouteTable
