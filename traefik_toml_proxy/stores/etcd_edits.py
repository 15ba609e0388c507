"""EditWatch: notices routes in etcd that somebody else than a Hub has written. Does I/O, never blocking the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable

from ..errors import EtcdCompacted, StoreError
from .etcd_gateway import EtcdGateway
from .etcd_messages import Event
from .etcd_table import Keys

# Seconds before watching again after that has failed.
_PAUSE = 0.5


class EditWatch:
    """Watches the table. A Hub writes the head in each transaction; so a change of a route without the head is by hand.

    Attributes:
        seen: Whether there was one, or may have been one, since the table was read.
    """

    def __init__(self, gateway: EtcdGateway, keys: Keys, log: logging.Logger) -> None:
        """Watch nothing yet.

        Args:
            gateway: Asks etcd.
            keys: The keys of the table.
            log: Reports what goes wrong.
        """
        self._gateway = gateway
        self._keys = keys
        self._log = log
        self._watching: asyncio.Task[None] | None = None
        self.seen = False

    async def begin(self, revision: int) -> None:
        """Forget what was seen, and watch from now on.

        Args:
            revision: The revision of etcd at which the table was read.
        """
        await self.end()
        self.seen = False
        self._watching = asyncio.create_task(self._watch(revision), name="traefik_toml_proxy edits")

    async def _watch(self, revision: int) -> None:
        start, end = self._keys.table
        while True:
            try:
                async with contextlib.aclosing(self._gateway.watch(start, end, revision + 1)) as messages:
                    async for message in messages:
                        self._look_at(message.events)
                        revision = max([revision, *(event.modified for event in message.events)])
            except EtcdCompacted as error:
                # What was missed is read again, and with it begins another watch.
                self.seen = True
                revision = max(revision, error.revision - 1)
            except StoreError as error:
                self._log.debug("The table is not watched; will retry: %s", error)
            await asyncio.sleep(_PAUSE)

    def _look_at(self, events: Iterable[Event]) -> None:
        changed: dict[int, set[bytes]] = {}
        for event in events:
            changed.setdefault(event.modified, set()).add(event.key)
        if any(self._keys.head not in keys for keys in changed.values()):
            self.seen = True

    async def end(self) -> None:
        """Watch no longer. May be called twice."""
        watching, self._watching = self._watching, None
        if watching is not None:
            watching.cancel()
            await asyncio.wait([watching])
