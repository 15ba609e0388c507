"""Follower: keeps up with the table in etcd. Does I/O, never blocking the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable

from ..errors import InvalidRoute, StoreError
from ..files import run_in_thread
from ..routes import Change, RouteTable
from ..stores.etcd_gateway import EtcdGateway
from ..stores.etcd_messages import Event
from ..stores.etcd_reading import read_contents, read_whole, route_of
from ..stores.etcd_table import Head, Keys, read_head

# Seconds in which a whole table must have been read.
_READ_SECONDS = 30.0
# Seconds before trying again after etcd did not answer.
_PAUSE = 0.5
# Seconds for which what was seen may differ from what etcd has.
_LATEST = 2.0


class Follower:
    """Reads the table, then watches it, and hands on each whole one.

    An empty etcd has no table, so nothing is handed on: users keep the last one until a Hub writes it again.
    """

    def __init__(
        self, gateway: EtcdGateway, keys: Keys, offer: Callable[[Head, RouteTable], None], log: logging.Logger
    ) -> None:
        """Read nothing yet.

        Args:
            gateway: Asks etcd.
            keys: The keys of the table.
            offer: Gets each whole table; it must not take long.
            log: Reports what in etcd cannot be used.
        """
        self._gateway = gateway
        self._keys = keys
        self._offer = offer
        self._log = log
        self._table = RouteTable()
        self._cluster = 0
        self._head_at = 0
        # Since when the head is known to be another one, on the clock of the event loop.
        self._behind: float | None = None
        self._following: asyncio.Task[None] | None = None
        self._logged: str | None = None

    async def run(self) -> None:
        """Follow for ever."""
        while True:
            following = asyncio.create_task(self._follow(), name="traefik_toml_proxy follower")
            self._following = following
            try:
                await asyncio.wait([following])
            finally:
                following.cancel()
                await asyncio.wait([following])
            self._report(None if following.cancelled() else following.exception())
            await asyncio.sleep(_PAUSE)

    def _report(self, error: BaseException | None) -> None:
        if error is None:
            return
        if not isinstance(error, StoreError):
            self._log.error("Following the table in etcd failed unexpectedly; will retry", exc_info=error)
        elif str(error) != self._logged:
            self._logged = str(error)
            self._log.warning("The routes are no longer followed; will retry: %s", error)

    def compare(self, cluster: int, head_at: int) -> None:
        """Take note of what the head is now; start over if it was not seen to change, as with another etcd.

        Args:
            cluster: The id of the cluster.
            head_at: The revision of etcd at which the head was last set; 0 if there is none.
        """
        now = asyncio.get_running_loop().time()
        if cluster == self._cluster and head_at == self._head_at:
            self._behind = None
        elif self._behind is None:
            self._behind = now
        elif now - self._behind > _LATEST and self._following is not None:
            self._behind = None
            self._following.cancel()

    async def _follow(self) -> None:
        contents = await read_contents(self._gateway, self._keys, self._log, timeout=_READ_SECONDS)
        whole = await read_whole(self._gateway, self._keys, contents, self._log, timeout=_READ_SECONDS)
        self._table = await run_in_thread(contents.table, self._log)
        self._cluster, self._head_at = contents.cluster, contents.modified
        self._logged = None
        if whole.head is not None and not whole.head.base:
            same = whole is contents
            self._offer(whole.head, self._table if same else await run_in_thread(whole.table, self._log))
        start, end = self._keys.table
        async with contextlib.aclosing(self._gateway.watch(start, end, contents.revision + 1)) as messages:
            async for message in messages:
                self._apply(message.events)

    def _apply(self, events: Iterable[Event]) -> None:
        changes: list[Change] = []
        head = None
        head_key, (first, _) = self._keys.head, self._keys.routes
        for event in events:
            if event.key == head_key:
                self._head_at = event.modified if event.value is not None else 0
                head = self._head_in(event.value)
            elif event.key.startswith(first):
                routespec = self._keys.routespec_of(event.key)
                route = None if event.value is None else route_of(routespec, event.value, self._log)
                changes.append(Change(routespec, route))
        self._table, outcomes = self._table.with_changes(changes)
        for outcome in outcomes:
            if isinstance(outcome, InvalidRoute):
                self._log.warning("Leaving out a route in etcd: %s", outcome)
        if head is not None and not head.base:
            self._offer(head, self._table)

    def _head_in(self, value: bytes | None) -> Head | None:
        if value is None:
            return None
        try:
            return read_head(value)
        except ValueError as error:
            self._log.warning("The table in etcd cannot be used: %s", error)
            return None
