"""Routes: checks what JupyterHub passes, and keeps the routes in immutable tables. Pure."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, cast
from urllib.parse import quote, unquote, unquote_to_bytes, urlsplit

from .errors import InvalidRoute, quoted
from .overlay import OverlayDict

# One or more labels; no port, no wildcard, and nothing that has another meaning in Traefik's Host()
# (a non-ASCII name disables the router, `*` matches everything: pkg/muxer/http/matcher.go:71-120).
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")
# A segment that is the same decoded and in its canonical spelling, as most are: it is recognized quickly.
_PLAIN_SEGMENT = re.compile(r"[A-Za-z0-9_~@-]+")
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
# No zone in an IPv6 address: Go and Python expect different spellings of it.
_TARGET_AUTHORITY = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9_.-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]+)?")
# The URL schemes for a unix socket in JupyterHub 6, and in JupyterHub 5 (jupyterhub/app.py, _validate_bind_url).
UNIX_SCHEMES = ("http+unix", "unix+http")
# The percent-encoded absolute path of a unix socket. It must not contain NUL, which would end it.
_TARGET_SOCKET = re.compile(r"%2[Ff](?:[A-Za-z0-9_.~-]|%(?!00)[0-9A-Fa-f]{2})+")
# The longest path of a unix socket that can be connected to, in bytes (unix(7), sun_path).
LONGEST_SOCKET_PATH = 107
# RFC 3986 section 3.3 (pchar) and "/"
_TARGET_PATH = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@/%-]*")

# Python's JSON functions are recursive. What one call can write, another call from deeper in the stack must be able to read.
_MAX_DEPTH = 100
_as_json = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Place:
    """The host and path that a routespec stands for, independent of its spelling.

    Attributes:
        host: The host name in lower case, or "" for all hosts.
        segments: The percent-decoded segments of the path; a ``/`` inside one was ``%2F``.
    """

    host: str
    segments: tuple[str, ...]

    @property
    def canonical(self) -> str:
        """The canonical spelling: two routespecs are the same place if and only if it is the same.

        JupyterHub itself uses this spelling (``quote(name, safe="@~")``, jupyterhub/utils.py:503).
        """
        return self.host + "".join("/" + _canonical_segment(segment) for segment in self.segments) + "/"


def _canonical_segment(segment: str) -> str:
    """Return the canonical spelling of a decoded segment, in which a byte that is not UTF-8 is a lone surrogate."""
    if _PLAIN_SEGMENT.fullmatch(segment):
        return segment
    return quote(segment, safe="@~", errors="surrogateescape")


def parse_routespec(routespec: str) -> Place:
    """Parse ``[host]/path/`` as JupyterHub writes it.

    JupyterHub percent-encodes user and server names, but not service names (jupyterhub/user.py:684,
    services/service.py:411). So a percent sign must start an escape, and every other character stands for itself.

    Args:
        routespec: A routespec, with or without a trailing slash.

    Returns:
        The place.

    Raises:
        InvalidRoute: If requests could not be matched with it exactly.
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
        # Without the last slash, it would be the routespec of another route.
        raise InvalidRoute(routespec, "it ends in more than one slash")
    segments = tuple(_decode_segment(routespec, text) for text in texts)
    return Place(host, segments)


def _decode_segment(routespec: str, text: str) -> str:
    if _PLAIN_SEGMENT.fullmatch(text):
        return text
    broken = _BROKEN_ESCAPE.search(text)
    if broken:
        raise InvalidRoute(
            routespec,
            f"the percent sign in {quoted(text)} does not start an escape such as %25, so no request could match it",
        )
    try:
        segment = unquote_to_bytes(text).decode("utf-8")
    except UnicodeError:
        raise InvalidRoute(routespec, f"{quoted(text)} is not UTF-8") from None
    # A browser or the target would resolve the dots to another path, even in `%2F..`, which reaches the target unchanged.
    if not {".", ".."}.isdisjoint(segment.replace("\\", "/").split("/")):
        raise InvalidRoute(routespec, "it has a '.' or '..' segment, which browsers and servers resolve away")
    return segment


def check_target(routespec: str, target: str) -> None:
    """Check that a target is a URL that requests can be sent to.

    Args:
        routespec: The routespec, for the error message.
        target: ``http[s]://host[:port][/path]``, or ``http+unix://socket[/path]`` with the percent-encoded absolute path of
            a unix socket (jupyterhub/objects.py, Server.host). The path is prepended to the path of each request.

    Raises:
        InvalidRoute: If it is anything else. A proxy may not be able to reach every target: see
            ``RoutingProxy._check_route``.
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
    # urlsplit drops tabs and line ends, so check the text itself.
    if not target.isascii() or not target.isprintable() or " " in target:
        raise refuse("has characters that must be percent-encoded in a URL")
    if url.scheme not in ("http", "https", *UNIX_SCHEMES):
        raise refuse("does not start with http:// or https://")
    if "@" in url.netloc:
        raise refuse("has a user name or password, which proxies do not send")
    if url.netloc.endswith(":") or port == 0:
        raise refuse("has no usable port")
    if "?" in target or "#" in target:
        raise refuse("has a query or a fragment, which cannot be prepended to the path of a request")
    if not (_TARGET_SOCKET if url.scheme in UNIX_SCHEMES else _TARGET_AUTHORITY).fullmatch(url.netloc):
        raise refuse("has no host to connect to")
    if url.scheme in UNIX_SCHEMES and len(unquote_to_bytes(url.netloc)) > LONGEST_SOCKET_PATH:
        raise refuse(
            f"is a unix socket with a path of more than {LONGEST_SOCKET_PATH} bytes, which nobody can connect to"
        )
    if not _TARGET_PATH.fullmatch(url.path) or _BROKEN_ESCAPE.search(url.path):
        raise refuse("has characters in its path that must be percent-encoded")
    if not {b".", b".."}.isdisjoint(unquote_to_bytes(url.path).split(b"/")):
        raise refuse("has a '.' or '..' segment in its path")


def data_to_json(routespec: str, data: object, *, was_json: bool = False) -> str:
    """Return ``data`` as ASCII JSON text that can be parsed to exactly the same dict.

    Args:
        routespec: The routespec, for the error message.
        data: The dict that JupyterHub attaches to a route.
        was_json: Whether ``json.loads`` has returned it, so that JSON cannot change it.

    Raises:
        InvalidRoute: If it is not a dict, or is nested too deeply, or would be changed by JSON (such as a tuple, NaN, or a
            key that is not a string).
    """
    try:
        text = _as_json(data)
        copy: Any = data if was_json else json.loads(text)
        same = copy == data and isinstance(data, dict)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRoute(routespec, f"its data is not JSON ({quoted(str(error))})") from None
    if not same:
        raise InvalidRoute(routespec, "its data is not a dict that JSON preserves exactly")
    if _is_too_deep(copy):
        raise InvalidRoute(routespec, f"its data is nested more than {_MAX_DEPTH} levels deep")
    return text


def _is_too_deep(data: dict[str, Any]) -> bool:
    level: list[Any] = [data]
    for _ in range(_MAX_DEPTH):
        inside = chain.from_iterable(item.values() if isinstance(item, dict) else item for item in level)
        level = [item for item in inside if isinstance(item, (dict, list))]
        if not level:
            return False
    return True


@dataclass(frozen=True, slots=True)
class Route:
    """One checked route, which can be served and stored exactly.

    Attributes:
        routespec: The routespec as JupyterHub passed it; it identifies the route.
        target: The target as JupyterHub passed it.
        data_json: The data dict as JSON text, so that callers never share a dict.
        place: The canonical spelling of the routespec (see :attr:`Place.canonical`).
    """

    routespec: str
    target: str
    data_json: str
    place: str

    @classmethod
    def checked(cls, routespec: str, target: str, data: object) -> Route:
        """Check what JupyterHub passes, and return it as a route.

        Raises:
            InvalidRoute: If it cannot be served exactly.
        """
        return cls._checked(routespec, target, data, was_json=False)

    @classmethod
    def read(cls, routespec: str, target: str, data: object) -> Route:
        """Check what was read from a file or a database, whose data ``json.loads`` has returned, and return it as a route.

        Raises:
            InvalidRoute: If it cannot be served exactly.
        """
        return cls._checked(routespec, target, data, was_json=True)

    @classmethod
    def _checked(cls, routespec: str, target: str, data: object, *, was_json: bool) -> Route:
        place = parse_routespec(routespec).canonical
        check_target(routespec, target)
        text = data_to_json(routespec, data, was_json=was_json)
        # Use one string object if both are equal: with 10,000 users, the memory matters.
        return cls(routespec, target, text, routespec if place == routespec else place)

    def as_dict(self) -> dict[str, Any]:
        """Return a new dict in the form of JupyterHub's ``Proxy.get_all_routes``."""
        return {"routespec": self.routespec, "target": self.target, "data": self.data}

    @property
    def parsed_place(self) -> Place:
        """The place, which is read from its canonical spelling: quicker than parsing the routespec with all checks again."""
        host, _, path = self.place.partition("/")
        return Place(host, tuple(map(unquote, path.split("/")[:-1])))

    @property
    def data(self) -> dict[str, Any]:
        """A new copy of the data dict."""
        return cast("dict[str, Any]", json.loads(self.data_json))


@dataclass(frozen=True, slots=True)
class Change:
    """A request to add or delete one route.

    Attributes:
        routespec: The routespec of the route.
        route: The route to add, which replaces one with the same routespec; None to delete it.
    """

    routespec: str
    route: Route | None


class RouteTable:
    """An immutable set of routes.

    A routespec has only one route, and a place has only one routespec: ``/a@b/`` and ``/a%40b/`` are the same place, and
    requests could match either of two routes there.
    """

    __slots__ = ("_by_place", "_by_routespec", "_most_segments")

    def __init__(self, routes: Iterable[Route] = ()) -> None:
        """Make a table of ``routes``.

        Raises:
            InvalidRoute: If two of them have the same place, but different routespecs.
        """
        self._by_routespec = OverlayDict[Route]()
        self._by_place = OverlayDict[str]()
        # An upper bound for the segments of a place, so that `match` can ignore the further segments of a request.
        self._most_segments = 0
        for route in routes:
            self._apply(Change(route.routespec, route))

    def __len__(self) -> int:
        return len(self._by_routespec)

    def __iter__(self) -> Iterator[Route]:
        return (route for _, route in self._by_routespec.items())

    def get(self, routespec: str) -> Route | None:
        """Return the route that was added under exactly this routespec, or None."""
        return self._by_routespec.get(routespec)

    def match(self, host: str, path: str) -> Route | None:
        """Return the route for a request: the one with the longest matching prefix of its path.

        Every proxy of this package routes like this, except for paths that Go rewrites before Traefik sees them: those with
        both a raw forbidden character and an escaped reserved one (docs/reference/differences.rst). A prefix consists of
        whole segments, which are compared after percent-decoding, as in configurable-http-proxy (lib/trie.js,
        lib/configproxy.js:451-464), but here ``%2F`` does not end a segment. Routes for the host of the request take
        precedence over those for all hosts.

        Args:
            host: The Host header. Case, a port, and a trailing dot are ignored.
            path: The path of the request as sent, without the query. A percent sign that does not start an escape stands
                for itself.

        Returns:
            The route, or None if none matches, or if the path does not start with a slash (``OPTIONS *``).
        """
        if not path.startswith("/"):
            return None
        spelling, spellings = "", ["/"]
        for text in path.split("/", self._most_segments + 1)[1 : self._most_segments + 1]:
            spelling += "/" + _canonical_segment(unquote_to_bytes(text).decode("utf-8", "surrogateescape"))
            spellings.append(spelling + "/")
        name = host.lower().partition(":")[0].removesuffix(".")
        # A host with a slash could match a routespec with a host and a path.
        for start in ("",) if "/" in name else (name, ""):
            for spelling in reversed(spellings):
                routespec = self._by_place.get(start + spelling)
                if routespec is not None:
                    return self._by_routespec.get(routespec)
        return None

    def with_changes(self, changes: Iterable[Change]) -> tuple[RouteTable, list[bool | InvalidRoute]]:
        """Return a table with ``changes`` applied in order.

        Returns:
            The new table, or this one if nothing changed; and for each change, whether it changed anything, or the error
            if it was refused.
        """
        after = RouteTable()
        after._by_routespec = self._by_routespec.copy()
        after._by_place = self._by_place.copy()
        after._most_segments = self._most_segments
        outcomes: list[bool | InvalidRoute] = []
        touched = set()
        for change in changes:
            try:
                outcomes.append(after._apply(change))
            except InvalidRoute as refusal:
                outcomes.append(refusal)
            touched.add(change.routespec)
        # One change may undo another.
        is_same = all(after.get(routespec) == self.get(routespec) for routespec in touched)
        return (self if is_same else after), outcomes

    def changes_since(self, before: RouteTable) -> list[Change]:
        """Return what makes ``before`` this table. What is deleted comes first, because another route may have its place."""
        # Tables share the routes that they have in common, and there may be thousands: to compare them would take longer.
        changes = [Change(*each) for each in self._by_routespec.differences(before._by_routespec)]
        return sorted(changes, key=lambda change: change.route is not None)

    def _apply(self, change: Change) -> bool:
        """Apply one change to this table. Call only while the table is being made."""
        before = self._by_routespec.get(change.routespec)
        route = change.route
        if route == before:
            return False
        if route is None:
            assert before is not None  # noqa: S101 - or nothing would change
            self._by_routespec.delete(change.routespec)
            self._by_place.delete(before.place)
            return True
        existing = self._by_place.get(route.place)
        if existing not in (None, route.routespec):
            raise InvalidRoute(
                route.routespec,
                f"{quoted(str(existing))} is the same place in another spelling, and already has a route",
            )
        self._by_routespec.set(route.routespec, route)
        self._by_place.set(route.place, route.routespec)
        self._most_segments = max(self._most_segments, route.place.count("/") - 1)
        return True


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The route table at one revision.

    Attributes:
        revision: A number that grows with each snapshot of a store, even across restarts.
        table: The routes.
    """

    revision: int
    table: RouteTable
