"""Reads a whole table from etcd, as it was at one revision. Does I/O, never blocking the event loop."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from ..errors import EtcdCompacted, EtcdUnreachable, quoted
from ..routes import Route, RouteTable
from .etcd_gateway import EtcdGateway
from .etcd_messages import KeyValue, Transaction, get
from .etcd_table import Head, Keys, read_head, read_route

# How many keys to read at once.
_PAGE = 500


@dataclass(frozen=True, slots=True)
class Contents:
    """What etcd has at one revision.

    Attributes:
        cluster: The id of the cluster.
        revision: The revision of etcd.
        modified: The revision of etcd at which the head was last set; 0 if there is none.
        head: The head; None if there is none, or it cannot be read.
        routes: The routes by routespec; None for what is not a valid route.
    """

    cluster: int
    revision: int
    modified: int
    head: Head | None
    routes: dict[str, Route | None]

    def table(self, log: logging.Logger) -> RouteTable:
        """Return the valid routes, without those that have the place of another one, which only an editor can write."""
        places: dict[str, Route] = {}
        for route in self.routes.values():
            if route is not None and places.setdefault(route.place, route) is not route:
                log.warning("Leaving out a route in etcd: %s has the place of another one", quoted(route.routespec))
        return RouteTable(places.values())


async def read_contents(gateway: EtcdGateway, keys: Keys, log: logging.Logger, *, timeout: float) -> Contents:
    """Read what etcd has now, which may be in the middle of a change that takes several transactions.

    Raises:
        EtcdUnreachable: If it could not be read in time.
        EtcdRefused: If etcd does not want to.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    while True:
        now = await gateway.transact(Transaction([], [get(keys.head)]), timeout=deadline - loop.time())
        try:
            return await read_contents_at(
                gateway, keys, log, now.revision, timeout=deadline - loop.time(), cluster=now.cluster
            )
        except EtcdCompacted:
            if loop.time() >= deadline:
                raise EtcdUnreachable(gateway.location, "its revisions are compacted while they are read") from None


async def read_whole(
    gateway: EtcdGateway, keys: Keys, contents: Contents, log: logging.Logger, *, timeout: float
) -> Contents:
    """Return the last whole table: ``contents``, or what there was before the change that it is in the middle of.

    If that is no longer kept, it is ``contents`` all the same: each route in it is valid, but some may be of a change that
    was never completed.

    Raises:
        EtcdUnreachable: If it could not be read in time.
        EtcdRefused: If etcd does not want to.
    """
    if contents.head is None or not contents.head.base:
        return contents
    try:
        return await read_contents_at(gateway, keys, log, contents.head.base, timeout=timeout, cluster=contents.cluster)
    except EtcdCompacted:
        log.warning(
            "%s: a change of many routes was interrupted, and etcd no longer keeps the table before it; using what there is",
            keys.root,
        )
        return contents


async def read_contents_at(
    gateway: EtcdGateway, keys: Keys, log: logging.Logger, revision: int, *, timeout: float, cluster: int
) -> Contents:
    """Read what etcd had at a revision.

    Raises:
        EtcdCompacted: If it is no longer kept.
        EtcdUnreachable: If it could not be read in time.
        EtcdRefused: If etcd does not want to.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    start, end = keys.table
    routes: dict[str, Route | None] = {}
    head, modified = None, 0
    while True:
        page = await gateway.range(start, end, timeout=deadline - loop.time(), limit=_PAGE, revision=revision)
        for item in page.found:
            if item.key == keys.head:
                head, modified = _head_of(item, log), item.modified
            elif item.key.startswith(keys.routes[0]):
                routespec = keys.routespec_of(item.key)
                routes[routespec] = route_of(routespec, item.value, log)
        if len(page.found) >= page.total:
            return Contents(cluster, revision, modified, head, routes)
        start = page.found[-1].key + b"\0"


def _head_of(item: KeyValue, log: logging.Logger) -> Head | None:
    try:
        return read_head(item.value)
    except ValueError as error:
        log.warning("%s cannot be used: %s", quoted(repr(item.key)), error)
        return None


def route_of(routespec: str, value: bytes, log: logging.Logger) -> Route | None:
    """Return the route, or None if it is not valid, which is logged."""
    try:
        return read_route(routespec, value)
    except ValueError as error:
        log.warning("Leaving out a route in etcd: %s", error)
        return None
