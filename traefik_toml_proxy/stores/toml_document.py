"""Converts a snapshot of the routes to the text of the TOML file that Traefik watches, and back. Pure.

The routes as JupyterHub gave them are in a root table that Traefik ignores (paerser/file/file.go:66-73), one line for each
route: Traefik parses the text anyway, and a line takes less time than a table. Below it are the pieces of Traefik's
configuration (see ``traefik/pieces.py``). The text of a piece is reused as long as the piece does not change.
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
from .toml_text import dump_table, dumps, loads, toml_string

# Our root table, and the version of its format.
#
# 1: each route has a table of its own, in which the data is a string with JSON; there is no count.
# 2: each route has a line (see _route_line). The first files had no count either.
#
# A newer format has its number in the same place, so that every older version can tell that it is newer (_NUMBER).
_OWN_TABLE = "jupyterhub"
_FORMAT = 2
_NUMBER = re.compile(rf"^\[{_OWN_TABLE}\]\nformat = ([0-9]{{1,9}})$", re.MULTILINE)
_NAMESPACE = re.compile(
    rf'^\[{_OWN_TABLE}\]\nformat = [0-9]+\nrevision = [0-9]+\ncount = [0-9]+\nnamespace = "([a-z0-9-]+)"$', re.MULTILINE
)

# The header before the lines of the routes, the form of such a line, and what follows the last one.
_BEFORE_ROUTES = f"\n[{_OWN_TABLE}.routes]\n"
_ROUTE_LINE = re.compile(r"([a-z0-9_-]+) = '([^']*)'")
_AFTER_ROUTES = "\n\n["

# No Hub ever counts this far; Traefik and the probe can read numbers up to a hundred times as large.
_LARGEST_REVISION = 10**16


class NewerFormat(ValueError):
    """A newer version of this package has written the file.

    Attributes:
        found: The number of its format.
        known: The newest format that this version reads.
        writer: The first line of the file, which names the version.
    """

    def __init__(self, found: int, writer: str) -> None:
        super().__init__(f"the routes in it have format {found}; this version reads formats up to {_FORMAT}")
        self.found = found
        self.known = _FORMAT
        self.writer = writer


class _RouteText(NamedTuple):
    """The text of one route.

    Attributes:
        line: The line of the route in our own table.
        body: The text of its router and its service.
        parents: The names of the router's parents, which are part of the body.
        start: The position in the body where the line with the parents starts.
        end: The position where that line ends.
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
        # The router of a child has no sub-tables, so the line with its parents can be appended.
        router = _objects_text({"routers": objects.pop("routers")})
        without = cls(
            _route_line(piece.route, piece.name), router + _objects_text(objects), (), len(router), len(router)
        )
        return without.with_parents(piece.parents)

    def with_parents(self, parents: tuple[str, ...]) -> _RouteText:
        """Return the text of the same route with other parents."""
        line = f"parentRefs = [{', '.join(map(toml_string, parents))}]\n".encode()
        body = self.body[: self.start] + line + self.body[self.end :]
        return self._replace(body=body, parents=parents, end=self.start + len(line))


class TomlRenderer:
    """Renders a sequence of snapshots, and reuses the text of what has not changed. Not thread-safe.

    Attributes:
        namespace: What begins all names in the documents, or "".
    """

    def __init__(self, settings: DynamicSettings, *, writer: str) -> None:
        """Check the settings.

        Args:
            settings: What all routes have in common.
            writer: The program and process that write the file, for its first line.

        Raises:
            ConfigurationError: If the admin's own configuration cannot be written to the file.
        """
        _check_extra(settings.extra)
        self.namespace = settings.names.namespace
        self._assembler = Assembler(settings)
        self._introduction = _introduction(writer)
        # The texts in the last document, by the ``objects`` attribute of their pieces.
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
            elif text.parents is not piece.parents:
                text = text.with_parents(piece.parents)
            self._routes[piece.objects] = text
        self._routers = {
            piece.objects: self._routers.get(piece.objects) or _objects_text(piece.objects())
            for piece in assembly.routers
        }
        if self._remaining[0] is not assembly.remaining:
            self._remaining = (assembly.remaining, "\n" + dumps(assembly.remaining) if assembly.remaining else "")
        own = f"\n[{_OWN_TABLE}]\nformat = {_FORMAT}\nrevision = {snapshot.revision}\ncount = {len(assembly.routes)}\n"
        if self.namespace:
            own += f"namespace = {toml_string(self.namespace)}\n"
        # The remaining tree comes first: its root may hold values that are not tables.
        parts = [
            self._introduction.encode(),
            self._remaining[1].encode(),
            own.encode(),
            _objects_text(assembly.revision.objects()),
        ]
        texts = self._routes.values()
        if texts:
            parts += [_BEFORE_ROUTES.encode(), *[text.line for text in texts]]
        return b"".join([*parts, *self._routers.values(), *[text.body for text in texts]])


def _check_extra(extra: Mapping[str, Any]) -> None:
    if _OWN_TABLE in {key.lower() for key in extra}:
        raise ConfigurationError(
            f"extra_dynamic_config has a root table {_OWN_TABLE!r}, which is reserved for the routes; rename it."
        )
    # The routes are in the same file. If it could not be read back, the next start would lose them.
    try:
        loads(dumps(extra))
    except ValueError as error:
        raise ConfigurationError(f"extra_dynamic_config cannot be written as TOML and read back: {error}") from error


def _introduction(writer: str) -> str:
    # Traefik takes {{ for the start of a template, even in a comment.
    safe_writer = ascii(writer)[1:-1].replace("{", "(")
    return (
        f"# Written by {safe_writer}.\n"
        "# Do not edit: the proxy overwrites this file whenever a route changes, or when it sees an edit.\n"
        "# To add settings of your own, use c.TraefikProxy.extra_dynamic_config in jupyterhub_config.py.\n"
    )


def _objects_text(objects: Objects) -> bytes:
    return "".join(
        dump_table(("http", kind, name), table) for kind, by_name in objects.items() for name, table in by_name.items()
    ).encode()


def _route_line(route: Route, name: str) -> bytes:
    """Return the line with a route as JupyterHub gave it: JSON in a TOML literal string, which has no escapes.

    An apostrophe would end the string, and ``{{`` would start a Go template (see ``toml_text.py``). JSON has these only
    inside its own strings, so they are written as JSON escapes.
    """
    given = (
        f'{{"routespec":{json.dumps(route.routespec)},"target":{json.dumps(route.target)},"data":{route.data_json}}}'
    )
    escaped = given.replace("'", "\\u0027").replace("{{", "\\u007b\\u007b")
    return f"{name} = '{escaped}'\n".encode()


def namespace_in(text: str) -> str:
    """Return what begins all names in a document, or "".

    Args:
        text: Its beginning, without a route or with some, or any other text.
    """
    found = _NAMESPACE.search(text)
    return found[1] if found else ""


def read_snapshot(text: str) -> Snapshot | None:
    """Read back what :meth:`TomlRenderer.render` wrote.

    Args:
        text: The text of the whole file.

    Returns:
        The snapshot, or None for an empty file.

    Raises:
        NewerFormat: If a newer version of this package has written it.
        ValueError: If the text is not TOML, was not written by this package, or has an invalid route.
    """
    if not text.strip():
        return None
    number = _NUMBER.search(text)
    if number and int(number[1]) > _FORMAT:
        raise NewerFormat(int(number[1]), text.partition("\n")[0])
    own: Any = _read_lines(text)
    if own is None:
        # The file has no routes, or has been edited.
        own = loads(text).get(_OWN_TABLE)
    if not isinstance(own, dict):
        raise ValueError(f"it has no table [{_OWN_TABLE}], so this package did not write it")
    if own.get("format") not in (1, _FORMAT):
        raise ValueError(f"the routes in it have format {own.get('format')!r}; this version reads 1 to {_FORMAT}")
    revision, entries = own.get("revision"), own.get("routes", {})
    if type(revision) is not int or not 0 <= revision < _LARGEST_REVISION or not isinstance(entries, dict):
        raise ValueError(f"the table [{_OWN_TABLE}] has been changed")
    # The first files had no count. One that has no routes either may have lost its end.
    count = own.get("count", len(entries) or None)
    if count != len(entries):
        raise ValueError(
            f"it should have {count} routes, but has {len(entries)}: its end is missing, or it has been edited"
        )
    try:
        return Snapshot(revision, RouteTable(_read_route(entry) for entry in entries.values()))
    except InvalidRoute as error:
        raise ValueError(str(error)) from error


def _read_lines(text: str) -> dict[str, Any] | None:
    """Return our own table, or None if the lines of the routes are not as they were written.

    This keeps long texts away from ``toml.loads``, which passes the whole text to single C functions that hold the GIL. With
    10,000 routes, each of these calls would block the event loop, even from another thread.

    Raises:
        ValueError: If the text before the routes is not TOML, or a route appears twice.
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


def _read_route(entry: Any) -> Route:
    try:
        match _given(entry):
            case {"routespec": str(routespec), "target": str(target), "data": data}:
                return Route.read(routespec, target, data)
    except RecursionError as error:
        raise ValueError(f"the data of a route in it is nested too deeply: {quoted(str(entry))}") from error
    raise ValueError(f"a route in it is incomplete: {quoted(str(entry))}")


def _given(entry: Any) -> Any:
    """Return what is in the entry of one route, in whatever format it is."""
    match entry:
        case str(line):
            return json.loads(line)
        case {"data": str(data)}:
            return {**entry, "data": json.loads(data)}
    return None
