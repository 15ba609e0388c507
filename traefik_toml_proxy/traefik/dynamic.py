"""A snapshot of the routes <-> the text of Traefik's dynamic configuration. Pure.

What JupyterHub gave is in a root table of ours that Traefik passes over (paerser/file/file.go:66-73), a line for each route:
Traefik reads the text all the same, and tables of their own would take it longer. Below, each route has a router and a
service. The texts of a route that has not changed are kept, not made again. Many routes are in two layers (see
``layers.py``): then a route's router is the child of a parent router.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from ..errors import ConfigurationError, InvalidRoute, shown
from ..routes import Route, RouteTable, Snapshot, parse_routespec
from .layers import FLAT, Parent, arrange
from .layers import key as key_of
from .rules import go_string, priority, router_name, rule
from .toml_text import dumps, loads, toml_string
from .tree import deep_merge

# The header on the revision route's answer.
REVISION_HEADER = "X-Jupyterhub-Routes-Revision"

# The root table that is ours, the form of what is in it, and the name of the revision route's router and middleware.
_OWN_TABLE = "jupyterhub"
_FORMAT = 2
_REVISION_NAME = "jupyterhub-revision"

# Before every route (a path has far fewer segments), so that asking costs the same however many routes there are.
_REVISION_PRIORITY = 1_000_000

# What an admin can give to the router of a route and leave it where it is: its parent decides all the rest.
_CHILD_MAY_HAVE = frozenset({"middlewares", "service"})

# The line before those of the routes, what such a line is, and what follows the last one.
_BEFORE_ROUTES = f"\n[{_OWN_TABLE}.routes]\n"
_ROUTE_LINE = re.compile(r"([a-z0-9-]+) = '([^']*)'")
_AFTER_ROUTES = "\n\n["

# No Hub gets so far by counting; Traefik and the probe read numbers up to a hundred times as large.
_LARGEST_REVISION = 10**16

# Stand for the revision and the number of routes in the text that is kept; no other text has these but by a miracle.
_ANY_REVISION = 7_302_918_465_530_917_264
_ANY_COUNT = 7_302_918_465_530_917_281


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate and its key, as paths that Traefik can open."""

    cert_file: str
    key_file: str

    def as_tree(self) -> dict[str, Any]:
        """Return Traefik's form of it."""
        return {"certFile": self.cert_file, "keyFile": self.key_file}


@dataclass(frozen=True, slots=True)
class DynamicSettings:
    """What all routes have in common.

    Attributes:
        entry_point: The name of the public entry point; every router names it, or it would join all of them.
        revision_path: The secret path that tells which revision is live.
        writer: Who writes the file, for its first line.
        default_certificate: Without one, Traefik makes an RSA key at each reload (pkg/tls/tlsmanager.go:363-378).
        router_tls: Whether each router asks for TLS itself (where the entry point does not).
        extra: The admin's own dynamic configuration; merged over ours, theirs wins.
    """

    entry_point: str
    revision_path: str
    writer: str
    default_certificate: Certificate | None = None
    router_tls: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if _OWN_TABLE in {key.lower() for key in self.extra}:
            raise ConfigurationError(
                f"extra_dynamic_config has a root table {_OWN_TABLE!r}, where the routes are kept; name it otherwise."
            )
        # The routes of the next start are read from the same file, so what is not read back would cost them.
        try:
            loads(dumps(self.extra))
        except ValueError as error:
            raise ConfigurationError(
                f"extra_dynamic_config cannot be written as TOML and read back: {error}"
            ) from error
        http = self.extra.get("http", {})
        tables = [http, *http.values()] if isinstance(http, Mapping) else [http]
        if not all(isinstance(table, Mapping) for table in tables):
            raise ConfigurationError("extra_dynamic_config: 'http', and all in it, must be tables (dicts).")
        if not all(isinstance(router, Mapping) for router in http.get("routers", {}).values()):
            raise ConfigurationError("extra_dynamic_config: all in 'http.routers' must be tables (dicts).")


class _Fragment(NamedTuple):
    """The text of one route, and what it was made of.

    Attributes:
        route: The route.
        name: The name of its router and service.
        parents: The names of its router's parents; none in a flat table.
        line: The line in our own table.
        text: The router and the service.
        around: What stands in it before and after the names of the parents.
    """

    route: Route
    name: str
    parents: tuple[str, ...]
    line: bytes
    text: bytes
    around: tuple[bytes, bytes]

    def with_parents(self, parents: tuple[str, ...]) -> _Fragment:
        """Return the fragment of the same route under other parents."""
        return self._replace(parents=parents, text=_listed(parents).join(self.around))


class DynamicRenderer:
    """Renders snapshots one after the other, and keeps the text of the routes that stay the same.

    Not for two threads at once. What is kept belongs to the last table that was rendered.
    """

    def __init__(self, settings: DynamicSettings) -> None:
        self.settings = settings
        self._keys: dict[str, str] = {}
        self._order: list[str] = []
        self._fragments: dict[str, _Fragment] = {}
        self._parents: dict[Parent, bytes] = {}
        self._kept_head: str | None = None

    def render(self, snapshot: Snapshot) -> bytes:
        """Return the whole dynamic configuration as TOML text, routes in the order of their keys (see ``layers.py``)."""
        before, fragments = self._fragments, {}
        routes = self._by_key(snapshot.table)
        # In order but for what is new at the end, which sorts quickly.
        order = [key for key in self._order if key in routes] + [key for key in routes if key not in before]
        order.sort()
        layers = FLAT if self._must_be_flat(routes) else arrange(order)
        for key, parents in zip(order, layers.parents_of or [()] * len(order), strict=True):
            route, kept = routes[key], before.get(key)
            # Mostly the very same object: comparing that is much quicker than comparing what is in it.
            if kept is None or not (kept.route is route or kept.route == route) or bool(kept.parents) != bool(parents):
                fragments[key] = self._fragment(route, parents)
            else:
                fragments[key] = kept if kept.parents == parents else kept.with_parents(parents)
        self._fragments, self._order = fragments, order
        self._parents = {parent: self._parents.get(parent) or self._parent_text(parent) for parent in layers.parents}
        parts = [self._head(snapshot.revision, len(fragments)).encode()]
        if fragments:
            parts += [_BEFORE_ROUTES.encode(), *(fragment.line for fragment in fragments.values())]
        parts += self._parents.values()
        parts += (fragment.text for fragment in fragments.values())
        return b"".join(parts)

    def _by_key(self, table: RouteTable) -> dict[str, Route]:
        known, self._keys = self._keys, {}
        routes = {}
        for route in table:
            routespec = route.routespec
            key = self._keys[routespec] = known.get(routespec) or key_of(parse_routespec(routespec))
            routes[key] = route
        return routes

    def _must_be_flat(self, routes: Mapping[str, Route]) -> bool:
        """Return whether the admin gives the router of a route something that only a router at the top may have."""
        routers = self.settings.extra.get("http", {}).get("routers", {})
        at_top = {name for name, router in routers.items() if not _CHILD_MAY_HAVE.issuperset(router)}
        if not at_top:
            return False
        kept = self._fragments
        names = (kept[key].name if key in kept else router_name(route) for key, route in routes.items())
        return not at_top.isdisjoint(names)

    def _head(self, revision: int, count: int) -> str:
        """Return what comes before the routes; the same but for two numbers, unless the admin adds to our routers."""
        if self._kept_head is None or _objects(self.settings.extra):
            self._kept_head = self._make_head()
        return self._kept_head.replace(str(_ANY_REVISION), str(revision)).replace(str(_ANY_COUNT), str(count))

    def _make_head(self) -> str:
        writer = ascii(self.settings.writer)[1:-1].replace("{", "(")
        extra = self.settings.extra
        if _objects(extra):
            names = {fragment.name for fragment in self._fragments.values()}
            extra = _without(extra, names.union(parent.name for parent in self._parents))
        tree = _without_empty_sections(deep_merge(_base_tree(self.settings), extra))
        return (
            f"# Written by {writer}.\n"
            "# Do not edit: the next change of a route overwrites it, and so does the proxy when it sees an edit.\n"
            "# Put your own settings into c.TraefikProxy.extra_dynamic_config in jupyterhub_config.py.\n\n"
            + dumps(tree)
        )

    def _fragment(self, route: Route, parents: tuple[str, ...]) -> _Fragment:
        name = router_name(route)
        where = {"parentRefs": parents} if parents else _at_top(self.settings)
        text = b"\n" + dumps(self._with_extra(_route_tree(route, name, where), name)).encode()
        # Quotes inside of strings have a backslash, so nothing else looks like these names.
        before, _, after = text.partition(_listed(parents)) if parents else (text, b"", b"")
        return _Fragment(route, name, parents, _route_line(route, name), text, (before, after))

    def _parent_text(self, parent: Parent) -> bytes:
        router = {"rule": parent.rule, **_at_top(self.settings), "priority": parent.priority}
        return b"\n" + dumps(self._with_extra({"http": {"routers": {parent.name: router}}}, parent.name)).encode()

    def _with_extra(self, tree: dict[str, Any], name: str) -> dict[str, Any]:
        """Return ``tree`` with what the admin adds to the router and service called ``name``."""
        extra = {kind: {name: every[name]} for kind, every in _objects(self.settings.extra).items() if name in every}
        return deep_merge(tree, {"http": extra}) if extra else tree


def _listed(names: tuple[str, ...]) -> bytes:
    return ", ".join(map(toml_string, names)).encode()


def _base_tree(settings: DynamicSettings) -> dict[str, Any]:
    router: dict[str, Any] = {
        "rule": f"Path({go_string(settings.revision_path)})",
        **_at_top(settings),
        "priority": _REVISION_PRIORITY,
        "middlewares": [_REVISION_NAME],
        # Always there, and answers 418 (pkg/server/service/internalhandler.go:49).
        "service": "noop@internal",
    }
    tree: dict[str, Any] = {
        _OWN_TABLE: {"format": _FORMAT, "revision": _ANY_REVISION, "count": _ANY_COUNT},
        "http": {
            "routers": {_REVISION_NAME: router},
            "middlewares": {
                _REVISION_NAME: {"headers": {"customResponseHeaders": {REVISION_HEADER: str(_ANY_REVISION)}}}
            },
        },
    }
    if settings.default_certificate:
        tree["tls"] = {"stores": {"default": {"defaultCertificate": settings.default_certificate.as_tree()}}}
    return tree


def _at_top(settings: DynamicSettings) -> dict[str, Any]:
    """Return what each router has that is no child; a child must not (pkg/server/router/router.go:90-165)."""
    return {"entryPoints": [settings.entry_point], **({"tls": {}} if settings.router_tls else {})}


def _route_tree(route: Route, name: str, where: Mapping[str, Any]) -> dict[str, Any]:
    place = parse_routespec(route.routespec)
    router = {"rule": rule(place), **where, "priority": priority(place), "service": name}
    server: dict[str, Any] = {"url": route.target}
    if urlsplit(route.target).path:
        # Without it Traefik drops the path of the target (pkg/proxy/httputil/proxy.go:96-102).
        server["preservePath"] = True
    return {
        "http": {
            "routers": {name: router},
            "services": {name: {"loadBalancer": {"servers": [server]}}},
        },
    }


def _route_line(route: Route, name: str) -> bytes:
    """Return the line that holds what JupyterHub gave: JSON in a TOML literal string, so nearly as it is.

    It must have no apostrophe, which would end the string, and no ``{{``, which would begin a Go template (see
    ``toml_text.py``); JSON has them only in strings of its own, which take escapes.
    """
    given = (
        f'{{"routespec":{json.dumps(route.routespec)},"target":{json.dumps(route.target)},"data":{route.data_json}}}'
    )
    escaped = given.replace("'", "\\u0027").replace("{{", "\\u007b\\u007b")
    return f"{name} = '{escaped}'\n".encode()


def _objects(extra: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the routers and services in the admin's own configuration."""
    http = extra.get("http", {})
    return {kind: http[kind] for kind in ("routers", "services") if http.get(kind)}


def _without(extra: Mapping[str, Any], names: set[str]) -> dict[str, Any]:
    """Return ``extra`` without the routers and services called ``names``: those are merged where they belong."""
    tree = deep_merge({}, extra)
    for kind in _objects(extra):
        tree["http"][kind] = {name: value for name, value in tree["http"][kind].items() if name not in names}
    return tree


def _without_empty_sections(tree: dict[str, Any]) -> dict[str, Any]:
    """Return ``tree`` without empty tables in its upper two levels, for which Traefik refuses the whole file.

    (``routers cannot be a standalone element``: paerser/parser/nodes_metadata.go:81,137. Deeper ones can mean something:
    ``tls`` in a router.)
    """
    result = {}
    for key, value in tree.items():
        kept = {k: v for k, v in value.items() if v != {}} if isinstance(value, dict) else value
        if kept != {}:
            result[key] = kept
    return result


def read_snapshot(text: str) -> Snapshot | None:
    """Read back what :meth:`DynamicRenderer.render` wrote.

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
    """Return our own table from a text in which each route still has a line of its own, just as it was written; else None.

    ``toml.loads`` gives its whole text to single calls of C, which let no other thread run: with the text of 10,000 routes
    each would hold the event loop.

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
        raise ValueError("a route is in it twice")
    own = loads(head).get(_OWN_TABLE)
    return {**own, "routes": routes} if isinstance(own, dict) else None


def _read_route(line: Any) -> Route:
    if not isinstance(line, str):
        raise ValueError(f"a route in it is incomplete: {shown(str(line))}")
    try:
        match json.loads(line):
            case {"routespec": str(routespec), "target": str(target), "data": data}:
                return Route.checked(routespec, target, data)
    except RecursionError as error:
        raise ValueError(f"the data of a route in it is nested too deeply: {shown(line)}") from error
    raise ValueError(f"a route in it is incomplete: {shown(line)}")
