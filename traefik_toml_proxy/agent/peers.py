"""Peers: who the other agents are, and how fresh. Does I/O, never blocking the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from ..errors import StoreError
from ..files import run_in_thread, write_private
from ..stores.etcd_gateway import EtcdGateway
from ..stores.etcd_messages import KeyValue
from ..stores.etcd_table import Keys, read_report
from .health import ask_ages
from .readiness import Limits, Peer

# Seconds before the replicas are watched again after that has failed.
_PAUSE = 0.5


class Peers:
    """Knows the other agents, from the renewals of this one and from a watch. Asks them while etcd does not answer.

    Without etcd, replicas stay ready as long as none of them is fresher, also when their leases have ended. The first one
    that hears from etcd again would then be the only one that the Hub waits for, while others are ready, too. So it reports
    nothing new until each of them has heard from etcd as well, or has had the time to see that it is left behind.

    Attributes:
        urls: Where the other agents answer, by name.
        remembered: Where they answered when this agent ran last, for as long as it has not heard from etcd.
        answers: What they have answered, by name; None for those that have not.
    """

    def __init__(
        self,
        gateway: EtcdGateway,
        keys: Keys,
        name: str,
        *,
        lease_seconds: float,
        limits: Limits,
        clock: Callable[[], float],
        log: logging.Logger,
    ) -> None:
        """Ask nothing yet.

        Args:
            gateway: Asks etcd.
            keys: The keys of the table.
            name: What this replica is called in etcd.
            lease_seconds: The seconds of a lease, after which a replica has noticed that others are fresher.
            limits: How fresh a replica must be.
            clock: Tells the time in seconds, also while the machine is suspended.
            log: Reports what in etcd cannot be used.
        """
        self._gateway = gateway
        self._keys = keys
        self._own = keys.replica(name)
        self._lease_seconds = lease_seconds
        self._limits = limits
        self._clock = clock
        self._log = log
        self._cluster = 0
        self._revision = 0
        self._learned = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None
        # Those that may be ready without a lease, and until when that is possible.
        self._unheard: dict[str, str] = {}
        self._until = 0.0
        self.urls: dict[str, str] = {}
        self.remembered: dict[str, str] = {}
        self.answers: Mapping[str, Peer | None] = {}

    def recall(self, file: Path) -> None:
        """Read who the others were when this agent ran last. Blocks. What cannot be read is forgotten."""
        try:
            found = json.loads(file.read_bytes())
            self.remembered = {str(name): str(url) for name, url in found.items()}
        except (OSError, ValueError, AttributeError) as error:
            self._log.debug("Other agents are not known from before: %s", error)

    async def remember(self, file: Path) -> None:
        """Write who the others are, if that has changed."""
        if not self._learned.is_set() or self.urls == self.remembered:
            return
        self.remembered = dict(self.urls)
        try:
            await run_in_thread(write_private, file, json.dumps(self.remembered).encode())
        except OSError as error:
            self._log.warning("The other agents cannot be written to %s: %s", file, error)

    @property
    def revision(self) -> int:
        """The revision of etcd up to which the other agents are known."""
        return self._revision

    def learn(self, cluster: int, revision: int, found: Iterable[KeyValue], *, known: int) -> None:
        """Take note of all replicas in etcd.

        Args:
            cluster: The id of the cluster.
            revision: The revision of etcd at which they were read.
            found: Their keys and values, this one included.
            known: What :attr:`revision` was before etcd was asked.
        """
        # The same cluster never answers with an earlier revision, unless a backup was put back.
        is_other = cluster != self._cluster or revision < known
        if not is_other and revision < self._revision:
            return  # the watch has seen later ones
        if is_other and self._watching is not None:
            self._watching.cancel()  # that is at a lower revision, and a watch from a later one is silent
        self._cluster, self._revision = cluster, revision
        self.urls = {}
        for item in found:
            self._note(item.key, item.value)
        self._learned.set()

    def _note(self, key: bytes, value: bytes | None) -> None:
        name = self._keys.replica_of(key)
        if value is None:
            self.urls.pop(name, None)
        elif key != self._own:
            try:
                self.urls[name] = read_report(value).url
            except ValueError as error:
                self._log.debug("A replica cannot be asked: %s", error)

    async def watch(self) -> None:
        """Follow the replicas in etcd for ever: a new one is known at once, and not only at the next renewal."""
        await self._learned.wait()
        while True:
            watching = self._watching = asyncio.create_task(self._watch(), name="traefik_toml_proxy replicas")
            try:
                await asyncio.wait([watching])
            finally:
                watching.cancel()
                await asyncio.wait([watching])

    async def _watch(self) -> None:
        """Watch until etcd fails; pause then."""
        start, end = self._keys.replicas
        try:
            async with contextlib.aclosing(self._gateway.watch(start, end, self._revision + 1)) as messages:
                async for message in messages:
                    for event in message.events:
                        self._note(event.key, event.value)
                        self._revision = max(self._revision, event.modified)
        except StoreError as error:
            self._log.debug("The replicas in etcd are not watched; will retry: %s", error)
        except Exception:  # noqa: BLE001 - a bug: log the traceback; the renewals tell the replicas as well
            self._log.exception("Watching the replicas in etcd failed unexpectedly; will retry")
        await asyncio.sleep(_PAUSE)

    def renewing(self, age: float) -> None:
        """Take note that the lease is about to be renewed: from then on the Hub waits for this replica, but for no others.

        Args:
            age: How many seconds ago it was last renewed.
        """
        if age > self._limits.fresh:
            self._unheard |= self.urls
            self._until = self._clock() + self._lease_seconds

    def are_heard(self) -> bool:
        """Whether no other replica is ready without a lease, as far as is known."""
        if self._unheard and self._clock() >= self._until:
            self._unheard = {}
        return not self._unheard

    async def ask(self, age: float | None) -> None:
        """Ask the others how fresh they are, if this one has not heard from etcd for a while, or has just heard again.

        Args:
            age: How many seconds ago it has; None if never.
        """
        silent = age is not None and age > self._limits.fresh
        urls = self.remembered if age is None else self._unheard | (self.urls if silent else {})
        if not urls:
            return
        ages = await ask_ages(urls)
        now = self._clock()
        self.answers = {name: None if each is None else Peer(now, now - each) for name, each in ages.items()}
        for name, its_age in ages.items():
            # Then it is judged by its own lease, which the Hub knows as well.
            if not silent and its_age is not None and its_age <= self._limits.oldest:
                self._unheard.pop(name, None)
