"""Converts each snapshot to the pieces of Traefik's dynamic configuration. Pure.

A piece is the configuration of one route, of some routers above them, or of the revision. What has not changed since the
last snapshot is the same object as before, so a renderer needs to convert only what has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from ..routes import Place, Route, RouteTable, Snapshot, parse_routespec
from .dynamic import (
    Certificate,
    DynamicSettings,
    Objects,
    parent_objects,
    remaining_tree,
    revision_header,
    revision_router,
    route_objects,
)
from .error_pages import error_page_objects
from .front import front_names, front_objects, front_router_objects, nowhere_objects
from .layers import Layers, arrange
from .layers import key as key_of
from .transports import Transports
from .tree import deep_merge


class Piece(NamedTuple):
    """The configuration of one route, of some routers above them, or of the revision.

    Attributes:
        name: The name of all its objects, or of the first one.
        objects: Makes the objects, on demand to save memory, and without ``parentRefs`` in the router of a route. As long as
            they do not change, this is the same callable as before, even if the parents of the route change.
        parents: The names of the parents of a route's router.
        route: The route, if the piece belongs to one.
    """

    name: str
    objects: Callable[[], Objects]
    parents: tuple[str, ...] = ()
    route: Route | None = None


class Assembly(NamedTuple):
    """The whole configuration of one snapshot.

    Attributes:
        remaining: The tree of everything that is not in a piece; the same object as before if it has not changed.
        revision: The piece of the header that tells the revision.
        routers: The pieces of the routers above the routes: the front routers, the one for requests without a route, and the
            parents of regions, outer ones first.
        routes: The pieces of the routes, in the order of their keys (see ``layers.py``).
    """

    remaining: Mapping[str, Any]
    revision: Piece
    routers: list[Piece]
    routes: list[Piece]


class Assembler:
    """Converts a sequence of snapshots to pieces. Not thread-safe."""

    def __init__(self, settings: DynamicSettings) -> None:
        self.settings = settings
        self._fronts = front_names(settings)
        # The last assembly: keys by routespec, pieces of routes by key, and pieces of other routers by what they depend on.
        self._keys: dict[str, str] = {}
        self._routes: dict[str, Piece] = {}
        self._routers: dict[object, Piece] = {}
        self._remaining: dict[str, Any] | None = None
        self._transports = Transports()
        self._certificate: Certificate | None = None

    def assemble(self, snapshot: Snapshot) -> Assembly:
        """Return the pieces of a snapshot."""
        names = self.settings.names
        before, pieces = self._routes, {}
        routes = self._by_key(snapshot.table)
        # Everything but the new keys at the end is sorted already, so sorting is quick.
        order = [known for known in before if known in routes] + [new for new in routes if new not in before]
        order.sort()
        layers = arrange(order, names)
        for key, parents in zip(order, layers.parents_of or [self._fronts] * len(order), strict=True):
            route, piece = routes[key], before.get(key)
            # The common case first: the very same route. Comparing identity is much quicker than comparing content.
            if piece is not None and (piece.route is route or piece.route == route):
                pieces[key] = piece if piece.parents == parents else piece._replace(parents=parents)
                continue
            name = names.route(route)
            pieces[key] = Piece(name, partial(route_objects, self.settings, route, name), parents, route)
        self._routes = pieces
        self._routers = self._above(order, layers)
        revision = Piece(names.revision, partial(revision_header, self.settings, snapshot.revision))
        return Assembly(self._remaining_tree(), revision, list(self._routers.values()), list(pieces.values()))

    def _by_key(self, table: RouteTable) -> dict[str, Route]:
        # In a few passes over all routes, each quicker than a loop that does everything for one route after the other.
        routespecs = [route.routespec for route in table]
        known = zip(table, map(self._keys.get, routespecs), strict=True)
        keys = [key_of(route.parsed_place) if key is None else key for route, key in known]
        self._keys = dict(zip(routespecs, keys, strict=True))
        return dict(zip(keys, table, strict=True))

    def _above(self, keys: Sequence[str], layers: Layers) -> dict[object, Piece]:
        """Return the pieces of the routers above the routes, by what they depend on."""
        settings = self.settings
        made: dict[object, Piece] = {}

        def add(depends_on: object, name: str, make: Callable[..., Objects], *arguments: object) -> None:
            made[depends_on] = self._routers.get(depends_on) or Piece(name, partial(make, settings, *arguments))

        answers_others = settings.shared_places is None and settings.error_pages is not None
        if keys or answers_others:  # a parent without children is an error (pkg/server/router/router.go)
            places = self._outermost_places()
            add(places, settings.names.front, front_router_objects, places)
        if answers_others:
            parents = (*self._fronts, *layers.without_catch_all)
            add(parents, settings.names.nowhere, nowhere_objects, parents)
        for parent in layers.parents:
            add(parent, parent.name, parent_objects, parent, self._fronts)
        return made

    def _outermost_places(self) -> tuple[Place, ...]:
        """Return the places that contain all routes."""
        shared = self.settings.shared_places
        if shared is None or Place("", ()) in shared:
            return (Place("", ()),)
        # Compared as texts, since all routes are compared at each change. A place without a host is for all hosts.
        around_all = tuple(map(key_of, shared))
        beside = [
            parse_routespec(routespec)
            for routespec, key in self._keys.items()
            if not key.startswith(around_all) and not key[key.find("/") :].startswith(around_all)
        ]
        found: list[Place] = []
        for place in sorted({*shared, *beside}, key=key_of):
            around = found[-1] if found else None
            if around is None or not key_of(place).startswith(key_of(around)):
                found.append(place)
        return tuple(found)

    def _remaining_tree(self) -> dict[str, Any]:
        """Return the tree of everything that is not in a piece.

        It only changes if the admin adds to such objects, or with the certificates.
        """
        certificate, transports = self.settings.default_certificate(), self.settings.transports()
        changed = (certificate, transports) != (self._certificate, self._transports)
        if self._remaining is None or self.settings.extra_objects() or changed:
            above = [*self._fronts, *(piece.name for piece in self._routers.values())]
            routes = [piece.name for piece in self._routes.values()]
            in_pieces = {
                "routers": {*routes, *above},
                "services": set(routes),
                "middlewares": {self.settings.names.revision},
            }
            self._remaining = remaining_tree(self.settings, certificate, self._objects_of_all(transports), in_pieces)
            self._certificate, self._transports = certificate, transports
        return self._remaining

    def _objects_of_all(self, transports: Transports) -> Objects:
        """Return the objects that do not depend on the routes."""
        settings = self.settings
        objects: Objects = deep_merge(revision_router(settings), front_objects(settings))
        if settings.error_pages is not None:
            objects = deep_merge(objects, error_page_objects(settings, settings.error_pages))
        return deep_merge(objects, {"serversTransports": transports.as_objects(settings.names)})
