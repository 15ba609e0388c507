"""Converts each snapshot to the pieces of Traefik's dynamic configuration. Pure.

A piece is the configuration of one route, one parent router or the revision route. What has not changed since the last
snapshot is the same object as before, so a renderer needs to convert only what has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from ..routes import Route, RouteTable, Snapshot, parse_routespec
from .dynamic import (
    DynamicSettings,
    Objects,
    parent_objects,
    remaining_tree,
    revision_header,
    revision_router,
    route_objects,
)
from .layers import FLAT, Parent, arrange
from .layers import key as key_of

# The keys that an admin may add to the router of a route when it is a child; all others belong to its parent.
_CHILD_MAY_HAVE = frozenset({"middlewares", "service"})


class Piece(NamedTuple):
    """The configuration of one route, one parent router or the revision route.

    Attributes:
        name: The name of all its objects.
        objects: Makes the objects, on demand to save memory, and without ``parentRefs`` in the router. As long as they do
            not change, this is the same callable as before, even if the parents change.
        parents: The names of its router's parents; empty if it is not a child.
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
        routers: The piece of the revision route's router, then those of the parent routers, outer ones first; there are no
            parents if there are few routes.
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
        self._revision_router = Piece(settings.names.revision, partial(revision_router, settings))
        # The last assembly: keys by routespec, pieces by key, and pieces by parent.
        self._keys: dict[str, str] = {}
        self._routes: dict[str, Piece] = {}
        self._parents: dict[Parent, Piece] = {}
        self._remaining: dict[str, Any] | None = None

    def assemble(self, snapshot: Snapshot) -> Assembly:
        """Return the pieces of a snapshot."""
        settings = self.settings
        before, pieces = self._routes, {}
        routes = self._by_key(snapshot.table)
        # Everything but the new keys at the end is sorted already, so sorting is quick.
        order = [known for known in before if known in routes] + [new for new in routes if new not in before]
        order.sort()
        layers = FLAT if self._must_be_flat(routes) else arrange(order, settings.names)
        for key, parents in zip(order, layers.parents_of or [()] * len(order), strict=True):
            route, piece = routes[key], before.get(key)
            # The common case first: the very same route. Comparing identity is much quicker than comparing content.
            if piece is not None and (piece.route is route or piece.route == route):
                if piece.parents == parents:
                    pieces[key] = piece
                    continue
                if piece.parents and parents:
                    pieces[key] = piece._replace(parents=parents)
                    continue
            name = settings.names.route(route)
            objects = partial(route_objects, settings, route, name, is_child=bool(parents))
            pieces[key] = Piece(name, objects, parents, route)
        self._routes = pieces
        self._parents = {parent: self._parents.get(parent) or self._parent(parent) for parent in layers.parents}
        revision = Piece(settings.names.revision, partial(revision_header, settings, snapshot.revision))
        routers = [self._revision_router, *self._parents.values()]
        return Assembly(self._remaining_tree(), revision, routers, list(pieces.values()))

    def _by_key(self, table: RouteTable) -> dict[str, Route]:
        # In a few passes over all routes, each quicker than a loop that does everything for one route after the other.
        routespecs = [route.routespec for route in table]
        known = zip(routespecs, map(self._keys.get, routespecs), strict=True)
        keys = [key_of(parse_routespec(routespec)) if key is None else key for routespec, key in known]
        self._keys = dict(zip(routespecs, keys, strict=True))
        return dict(zip(keys, table, strict=True))

    def _parent(self, parent: Parent) -> Piece:
        return Piece(parent.name, partial(parent_objects, self.settings, parent))

    def _must_be_flat(self, routes: Mapping[str, Route]) -> bool:
        """Return whether the admin adds something to the router of a route that Traefik forbids in a child."""
        top_level = {
            name
            for name, router in self.settings.extra_objects().get("routers", {}).items()
            if not _CHILD_MAY_HAVE.issuperset(router) or any(map(_has_tables, router.values()))
        }
        if not top_level:
            return False
        kept = self._routes
        names = (kept[key].name if key in kept else self.settings.names.route(route) for key, route in routes.items())
        return not top_level.isdisjoint(names)

    def _remaining_tree(self) -> dict[str, Any]:
        """Return the tree of everything that is not in a piece. It only changes if the admin adds to such objects."""
        if self._remaining is None or self.settings.extra_objects():
            routes = {piece.name for piece in self._routes.values()}
            parents = {parent.name for parent in self._parents}
            revision = {self.settings.names.revision}
            in_pieces = {"routers": routes | parents | revision, "services": routes, "middlewares": revision}
            self._remaining = remaining_tree(self.settings, in_pieces)
        return self._remaining


def _has_tables(value: object) -> bool:
    return isinstance(value, Mapping) or (isinstance(value, (list, tuple)) and any(map(_has_tables, value)))
