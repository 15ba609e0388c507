"""A snapshot of the routes <-> the text of the one TOML file that Traefik watches. Pure.

What JupyterHub gave is in a root table of ours, which Traefik ignores (paerser/file/file.go:66-73), one line for each route:
Traefik reads the text all the same, and a table for each would take longer. Below it are the pieces of the configuration
(see ``traefik/pieces.py``). The text of a piece that has not changed is kept.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ..errors import ConfigurationError, InvalidRoute, quoted
from ..routes import Route, RouteTable, Snapshot
from ..traefik.dynamic import DynamicSettings, Objects
from ..traefik.pieces import Assembler, Piece
from .toml_text import dumps, loads, toml_string

# The root table that is ours, and the version of the form of what is in it.
_OWN_TABLE = "jupyterhub"
_FORMAT = 2

# The line before those of the routes, what such a line is, and what follows the last one.
_BEFORE_ROUTES = f"\n[{_OWN_TABLE}.routes]\n"
_ROUTE_LINE = re.compile(r"([a-z0-9-]+) = '([^']*)'")
_AFTER_ROUTES = "\n\n["

# No Hub gets this far by counting; Traefik and the probe read numbers up to a hundred times as large.
_LARGEST_REVISION = 10**16


class _RouteText(NamedTuple):
    """The text of one route.

    Attributes:
        line: Its line in our own table.
        body: Its router and its service.
        parents: The names of the router's parents in the body.
        start: Where in the body the line with the parents starts.
        end: Where that line ends; the same place if there are none.
    """

    line: bytes
    body: bytes
    parents: tuple[str, ...]
    start: int
    end: int

    @classmethod
    def of(cls, piece: Piece) -> _RouteText:
        """Make the text of a route's piece."""
        assert piece.route is not None  # noqa: S101
        objects = piece.objects()
        # The router of a child has no sub-tables, so the line with its parents can follow.
        router = _objects_text({"routers": objects.pop("routers")})
        without = cls(
            _route_line(piece.route, piece.name), router + _objects_text(objects), (), len(router), len(router)
        )
        return without.with_parents(piece.parents)

    def with_parents(self, parents: tuple[str, ...]) -> _RouteText:
        """Return the text of the same route under other parents."""
        line = f"parentRefs = [{', '.join(map(toml_string, parents))}]\n".encode() if parents else b""
        body = self.body[: self.start] + line + self.body[self.end :]
        return self._replace(body=body, parents=parents, end=self.start + len(line))


class TomlRenderer:
    """Renders one snapshot after the other, and keeps the text of what stays the same. Not for two threads at once."""

    def __init__(self, settings: DynamicSettings, *, writer: str) -> None:
        """Prepare to render.

        Args:
            settings: What all routes have in common.
            writer: Who writes the file, for its first line.

        Raises:
            ConfigurationError: If the admin's own configuration cannot be written into the file.
        """
        _check_extra(settings.extra)
        self._assembler = Assembler(settings)
        self._introduction = _introduction(writer)
        # The texts of the last document, by the objects of their pieces.
        self._routes: dict[Callable[[], Objects], _RouteText] = {}
        self._routers: dict[Callable[[], Objects], bytes] = {}
        self._remaining: tuple[Mapping[str, Any] | None, str] = (None, "")

    def render(self, snapshot: Snapshot) -> bytes:
        """Return the whole document."""
        assembly = self._assembler.assemble(snapshot)
        before, self._routes = self._routes, {}
        for piece in assembly.routes:
            text = before.get(piece.objects)
            if text is None:
                text = _RouteText.of(piece)
            elif text.parents != piece.parents:
                text = text.with_parents(piece.parents)
            self._routes[piece.objects] = text
        self._routers = {
            piece.objects: self._routers.get(piece.objects) or _objects_text(piece.objects())
            for piece in assembly.routers
        }
        if self._remaining[0] is not assembly.remaining:
            self._remaining = (assembly.remaining, "\n" + dumps(assembly.remaining) if assembly.remaining else "")
        own = f"\n[{_OWN_TABLE}]\nformat = {_FORMAT}\nrevision = {snapshot.revision}\ncount = {len(assembly.routes)}\n"
        # The remaining tree comes first: its root may hold values that are not tables.
        parts = [
            self._introduction.encode(),
            self._remaining[1].encode(),
            own.encode(),
            _objects_text(assembly.revision.objects()),
        ]
        texts = self._routes.values()
        if texts:
            parts += [_BEFORE_ROUTES.encode(), *(text.line for text in texts)]
        return b"".join((*parts, *self._routers.values(), *(text.body for text in texts)))


def _check_extra(extra: Mapping[str, Any]) -> None:
    if _OWN_TABLE in {key.lower() for key in extra}:
        raise ConfigurationError(
            f"extra_dynamic_config has a root table {_OWN_TABLE!r}, where the routes are kept; name it otherwise."
        )
    # The next start reads the routes from the same file, so a part that cannot be read back would lose them.
    try:
        loads(dumps(extra))
    except ValueError as error:
        raise ConfigurationError(f"extra_dynamic_config cannot be written as TOML and read back: {error}") from error


def _introduction(writer: str) -> str:
    # Traefik takes {{ for the start of a template, in comments, too.
    shown = ascii(writer)[1:-1].replace("{", "(")
    return (
        f"# Written by {shown}.\n"
        "# Do not edit: the next change of a route overwrites it, and so does the proxy when it sees an edit.\n"
        "# Put your own settings into c.TraefikProxy.extra_dynamic_config in jupyterhub_config.py.\n"
    )


def _objects_text(objects: Objects) -> bytes:
    return b"\n" + dumps({"http": objects}).encode()


def _route_line(route: Route, name: str) -> bytes:
    """Return the line that holds what JupyterHub gave: JSON in a TOML literal string, which has no escapes.

    It must have no apostrophe, which would end the string, and no ``{{``, which would begin a Go template (see
    ``toml_text.py``). JSON has them only inside of its own strings, where escapes can stand for them.
    """
    given = (
        f'{{"routespec":{json.dumps(route.routespec)},"target":{json.dumps(route.target)},"data":{route.data_json}}}'
    )
    escaped = given.replace("'", "\\u0027").replace("{{", "\\u007b\\u007b")
    return f"{name} = '{escaped}'\n".encode()


def read_snapshot(text: str) -> Snapshot | None:
    """Read back what :meth:`TomlRenderer.render` wrote.

    Args:
        text: The text of the whole file.

    Returns:
        The snapshot, or None for an empty file.

    Raises:
        ValueError: If it is not TOML, not ours, or holds a route that could not have been written.
    """
    if not text.strip():
        return None
    own: Any = _read_lines(text)
    if own is None:
        # There is no route in it, or somebody has edited it.
        own = loads(text).get(_OWN_TABLE)
    if not isinstance(own, dict):
        raise ValueError(f"it has no table [{_OWN_TABLE}], so this package did not write it")
    if own.get("format") != _FORMAT:
        raise ValueError(f"the routes in it have format {own.get('format')!r}; this version reads {_FORMAT}")
    revision, entries = own.get("revision"), own.get("routes", {})
    if type(revision) is not int or not 0 <= revision < _LARGEST_REVISION or not isinstance(entries, dict):
        raise ValueError(f"the table [{_OWN_TABLE}] has been changed")
    if own.get("count") != len(entries):
        raise ValueError(
            f"it says that it has {own.get('count')} routes, and {len(entries)} are there: "
            "its end is missing, or somebody has edited it"
        )
    try:
        return Snapshot(revision, RouteTable(_read_route(entry) for entry in entries.values()))
    except InvalidRoute as error:
        raise ValueError(str(error)) from error


def _read_lines(text: str) -> dict[str, Any] | None:
    """Return our own table from a text in which each route still has the line that was written for it, else None.

    ``toml.loads`` passes its whole text to single C functions, which let no other thread run: with 10,000 routes, each call
    would hold the event loop.

    Raises:
        ValueError: If what comes before the routes is not TOML, or a route is there twice.
    """
    head, routes_follow, rest = text.partition(_BEFORE_ROUTES)
    if not routes_follow:
        return None
    matches = [_ROUTE_LINE.fullmatch(line) for line in rest.partition(_AFTER_ROUTES)[0].split("\n")]
    if not all(matches):
        return None
    routes = {match[1]: match[2] for match in matches if match}
    if len(routes) < len(matches):
        raise ValueError("it has a route twice")
    own = loads(head).get(_OWN_TABLE)
    return {**own, "routes": routes} if isinstance(own, dict) else None


def _read_route(line: Any) -> Route:
    if not isinstance(line, str):
        raise ValueError(f"a route in it is incomplete: {quoted(str(line))}")
    try:
        match json.loads(line):
            case {"routespec": str(routespec), "target": str(target), "data": data}:
                return Route.checked(routespec, target, data)
    except RecursionError as error:
        raise ValueError(f"the data of a route in it is nested too deeply: {quoted(line)}") from error
    raise ValueError(f"a route in it is incomplete: {quoted(line)}")
