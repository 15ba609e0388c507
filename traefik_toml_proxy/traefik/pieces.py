"""Snapshots -> the pieces of Traefik's dynamic configuration, one after the other. Pure.

A piece is what one route, one parent or the revision route consists of. What has not changed since the last snapshot is the
same object as before, so whoever turns pieces into text, or anything else, does so only for those that have changed.
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
from .layers import FLAT, Parent, arrange, key

# What an admin can add to the router of a route that is a child; everything else belongs to its parent.
_CHILD_MAY_HAVE = frozenset({"middlewares", "service"})


class Piece(NamedTuple):
    """One part of the configuration.

    Attributes:
        name: The name of all its objects.
        objects: Makes its objects, but for ``parentRefs`` in the router; they are made on demand to save memory. The same
            callable as before while the objects are the same, even if the parents are others.
        parents: The names of its router's parents; none if it is not a child.
        route: The route that it is for, if it is for one.
    """

    name: str
    objects: Callable[[], Objects]
    parents: tuple[str, ...] = ()
    route: Route | None = None


class Assembly(NamedTuple):
    """The whole configuration of one snapshot.

    Attributes:
        remaining: The tree of everything that is in no piece; the same object as before if it has not changed.
        revision: The header with the revision.
        routers: The router of the revision route, then the parent routers, outer ones before inner ones; no parents if there
            are few routes.
        routes: The routes, in the order of their keys (see ``layers.py``).
    """

    remaining: Mapping[str, Any]
    revision: Piece
    routers: list[Piece]
    routes: list[Piece]


class Assembler:
    """Turns one snapshot after the other into pieces. Not for two threads at once."""

    def __init__(self, settings: DynamicSettings) -> None:
        self.settings = settings
        self._revision_router = Piece(settings.names.revision, partial(revision_router, settings))
        # What the last assembly has, by key.
        self._keys: dict[str, str] = {}
        self._routes: dict[str, Piece] = {}
        self._parents: dict[Parent, Piece] = {}
        self._remaining: dict[str, Any] | None = None

    def assemble(self, snapshot: Snapshot) -> Assembly:
        """Return the pieces of a snapshot."""
        settings = self.settings
        before, pieces = self._routes, {}
        routes = self._by_key(snapshot.table)
        # Sorted already, but for the new keys at the end, so sorting again is quick.
        order = [known for known in before if known in routes] + [new for new in routes if new not in before]
        order.sort()
        layers = FLAT if self._must_be_flat(routes) else arrange(order, settings.names)
        for key_, parents in zip(order, layers.parents_of or [()] * len(order), strict=True):
            route, piece = routes[key_], before.get(key_)
            # Mostly the very same route: comparing identity is much quicker than comparing what is in it.
            if (
                piece is None
                or not (piece.route is route or piece.route == route)
                or bool(piece.parents) != bool(parents)
            ):
                name = settings.names.route(route)
                piece = Piece(
                    name, partial(route_objects, settings, route, name, is_child=bool(parents)), parents, route
                )
            elif piece.parents != parents:
                piece = piece._replace(parents=parents)
            pieces[key_] = piece
        self._routes = pieces
        self._parents = {parent: self._parents.get(parent) or self._parent(parent) for parent in layers.parents}
        revision = Piece(settings.names.revision, partial(revision_header, settings, snapshot.revision))
        routers = [self._revision_router, *self._parents.values()]
        return Assembly(self._remaining_tree(), revision, routers, list(pieces.values()))

    def _by_key(self, table: RouteTable) -> dict[str, Route]:
        known, self._keys = self._keys, {}
        routes = {}
        for route in table:
            routespec = route.routespec
            found = self._keys[routespec] = known.get(routespec) or key(parse_routespec(routespec))
            routes[found] = route
        return routes

    def _parent(self, parent: Parent) -> Piece:
        return Piece(parent.name, partial(parent_objects, self.settings, parent))

    def _must_be_flat(self, routes: Mapping[str, Route]) -> bool:
        """Return whether the admin adds something to the router of a route that only a router at the top may have."""
        at_top = {
            name
            for name, router in self.settings.extra_objects().get("routers", {}).items()
            if not _CHILD_MAY_HAVE.issuperset(router) or any(isinstance(value, Mapping) for value in router.values())
        }
        if not at_top:
            return False
        kept = self._routes
        names = (kept[key].name if key in kept else self.settings.names.route(route) for key, route in routes.items())
        return not at_top.isdisjoint(names)

    def _remaining_tree(self) -> dict[str, Any]:
        """Return what is in no piece; always the same, unless the admin adds to objects that come and go."""
        if self._remaining is None or self.settings.extra_objects():
            routes = {piece.name for piece in self._routes.values()}
            parents = {parent.name for parent in self._parents}
            revision = {self.settings.names.revision}
            taken = {"routers": routes | parents | revision, "services": routes, "middlewares": revision}
            self._remaining = remaining_tree(self.settings, taken)
        return self._remaining
