"""EtcdStore: stores the routes in etcd, for any number of Traefiks. Does I/O, never blocking the event loop."""

from __future__ import annotations

import asyncio
import logging
import secrets
from dataclasses import dataclass

from ..errors import CommitFailed, EtcdRefused, EtcdUnreachable, StoreError, StoreLocked, quoted
from ..files import run_in_thread
from ..routes import Route, Snapshot
from .etcd_edits import EditWatch
from .etcd_gateway import EtcdGateway
from .etcd_messages import KeyValue, Transaction, get, is_created_at, is_modified_at, put
from .etcd_reading import read_contents, read_whole
from .etcd_settings import EtcdSettings
from .etcd_table import Head, Keys, Step, leader_value, owner_in, plan, read_head

# From this number of routes on, finding out what has changed takes longer than a thread hop.
_SMALL_TABLE_ROUTES = 500
# Seconds between two tries to become the leader, and how many more than the lease of a dead Hub to go on.
_TAKE_PAUSE = 0.2
_TAKE_MARGIN = 1.5
# Seconds for a look at the state of etcd, which others wait for, and for giving up the lease.
_LOOK_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EtcdStoreSettings:
    """The settings of a store.

    Attributes:
        keys: The keys of the table.
        owner: Who writes, for the message to a second Hub: ``process 123 on example``.
        lease_seconds: How long this Hub leads after it was last heard of.
        timeout: Seconds in which a commit must be written.
        secret: The secret path that begins the path of the revision route.
        hub_url: The URL of the Hub's own pages, for error pages; "" if there are none.
    """

    keys: Keys
    owner: str
    lease_seconds: int
    timeout: float
    secret: str
    hub_url: str = ""


class EtcdStore:
    """Keeps the routes in etcd (see :class:`~traefik_toml_proxy.seams.Store` for the contract), one key for each.

    A commit writes only what has changed. Each of its transactions holds only if this Hub is still the leader, and nobody
    has written the table since; so two Hubs never both write. If it takes several, the first ones say so in the head, and
    where the last whole table is: readers use that until the last one is written.
    """

    def __init__(self, settings: EtcdStoreSettings, etcd: EtcdSettings, log: logging.Logger) -> None:
        """Open nothing yet.

        Args:
            settings: What to write, and where.
            etcd: How to reach etcd.
            log: Reports what in etcd cannot be used.
        """
        self._settings = settings
        self._keys = settings.keys
        self._etcd = etcd
        self._log = log
        self._gateway: EtcdGateway | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._edits: EditWatch | None = None
        self._token = secrets.token_hex(8)
        # The lease of the leader, and the revision of etcd at which this Hub became it: both are of no use to any other.
        self._lease = 0
        self._led = 0
        # What etcd has; None if that is not known.
        self._stored: dict[str, Route | None] | None = None
        self._cluster = 0
        # The revision of etcd at which the head was last written; 0 if there is none.
        self._head_at = 0
        # The revision of etcd with the last whole table, if what it has now is not whole; else 0.
        self._base = 0
        # Whether a commit has failed that may have been written, or may still be, or others have written.
        self._unsure = False

    @property
    def location(self) -> str:
        """The members, and the root of the keys."""
        return f"{self._etcd.location} below {self._keys.root}"

    @property
    def moves(self) -> int:
        """Agents look for another etcd themselves, so no proxy has to be restarted for that."""
        return 0

    async def open(self) -> Snapshot:
        """Become the leader, once the lease of a dead one has ended, and read the last whole table."""
        gateway = self._gateway = EtcdGateway(self._etcd)
        self._edits = EditWatch(gateway, self._keys, self._log)
        try:
            await self._lead_at_last(gateway)
            self._keeper = asyncio.create_task(self._keep_lease(gateway), name="traefik_toml_proxy lease")
            return await self._load(gateway, self._settings.timeout)
        except (EtcdUnreachable, EtcdRefused) as error:
            raise StoreError(
                f"Cannot keep the routes in etcd: {error}. Check c.TraefikEtcdProxy.etcd_endpoints and the other settings "
                "whose names begin with etcd."
            ) from error

    async def _load(self, gateway: EtcdGateway, timeout: float) -> Snapshot:
        """Read what etcd has; return the last whole table."""
        contents = await read_contents(gateway, self._keys, self._log, timeout=timeout)
        whole = await read_whole(gateway, self._keys, contents, self._log, timeout=timeout)
        self._stored, self._head_at, self._cluster = contents.routes, contents.modified, contents.cluster
        self._base = contents.head.base if contents.head else 0
        self._unsure = False
        if self._edits is not None:
            await self._edits.begin(contents.revision)
        return Snapshot(whole.head.revision if whole.head else 0, await run_in_thread(whole.table, self._log))

    # Leading.

    async def _lead_at_last(self, gateway: EtcdGateway) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._settings.lease_seconds + _TAKE_MARGIN
        while True:
            owner = await self._try_to_lead(gateway, self._settings.timeout)
            if owner is None:
                return
            if loop.time() >= deadline:
                raise self._locked(owner)
            await asyncio.sleep(_TAKE_PAUSE)

    async def _try_to_lead(self, gateway: EtcdGateway, timeout: float) -> str | None:
        """Become the leader if there is none; return who is, if that is somebody else."""
        if not self._lease or not await gateway.keep_alive(self._lease, timeout=timeout):
            self._lease = await gateway.grant(self._settings.lease_seconds, timeout=timeout)
        value = leader_value(self._settings.owner, self._token)
        outcome = await gateway.transact(
            Transaction(
                [is_created_at(self._keys.leader, 0)],
                [put(self._keys.leader, value, self._lease)],
                [get(self._keys.leader)],
            ),
            timeout=timeout,
        )
        if outcome.succeeded:
            self._led = outcome.revision
            return None
        (leader,) = outcome.ranges[0].found
        if leader.value == value:  # the answer of an earlier try got lost
            self._led = leader.created
            return None
        return owner_in(leader.value)

    async def _keep_lease(self, gateway: EtcdGateway) -> None:
        """Renew the lease. If it is lost all the same, damage() says so, and the next commit leads again."""
        while True:
            await asyncio.sleep(self._settings.lease_seconds / 4)
            try:
                await gateway.keep_alive(self._lease, timeout=self._settings.lease_seconds)
            except StoreError as error:
                self._log.debug("The lease of the leader could not be renewed: %s", error)

    def _locked(self, owner: str) -> StoreLocked:
        return StoreLocked(self.location, quoted(owner), "give this Hub its own etcd_root")

    # Committing.

    async def commit(self, snapshot: Snapshot) -> None:
        """Write what has changed; it is one transaction, unless that is very much."""
        gateway = self._opened
        try:
            await self._commit(gateway, snapshot)
        except EtcdUnreachable as error:
            raise self._failed(error.reason) from error
        except EtcdRefused as error:
            raise self._failed(f"etcd answered {error.reason}") from error

    def _failed(self, reason: str) -> CommitFailed:
        advice = (
            "etcd may still write the change; it is put right as soon as etcd answers."
            if self._unsure or self._base
            else ""
        )
        return CommitFailed(self.location, reason, advice)

    async def _commit(self, gateway: EtcdGateway, snapshot: Snapshot) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._settings.timeout
        mark = secrets.token_hex(6)
        while True:
            if self._stored is None or self._unsure:
                await self._load(gateway, deadline - loop.time())
            assert self._stored is not None  # noqa: S101
            if max(len(self._stored), len(snapshot.table)) <= _SMALL_TABLE_ROUTES:
                steps = plan(self._keys, self._stored, snapshot.table)
            else:
                steps = await run_in_thread(plan, self._keys, self._stored, snapshot.table)
            base = self._base or self._head_at or self._led
            for number, step in enumerate(steps):
                last = step is steps[-1]
                head = Head(
                    snapshot.revision,
                    self._settings.secret,
                    len(snapshot.table),
                    f"{mark}.{number}",
                    self._settings.hub_url,
                    0 if last else base,
                )
                if not await self._write(gateway, step, head, deadline - loop.time()):
                    break
            else:
                return
            if loop.time() >= deadline:
                raise EtcdUnreachable(gateway.location, "others keep changing the table")

    async def _write(self, gateway: EtcdGateway, step: Step, head: Head, timeout: float) -> bool:
        """Write one transaction; return whether it was. If not, etcd has something else than was known.

        Raises:
            StoreLocked: If somebody else leads.
            EtcdUnreachable: If it is not known whether it was.
            EtcdRefused: If etcd does not want to.
        """
        keys = self._keys
        transaction = Transaction(
            [is_created_at(keys.leader, self._led), is_modified_at(keys.head, self._head_at)],
            [*step.operations, put(keys.head, head.to_bytes())],
            [get(keys.leader), get(keys.head)],
        )
        # Also if this is cancelled; and if it is not written, what etcd has must be read again.
        self._unsure = True
        try:
            outcome = await gateway.transact(transaction, timeout=timeout)
        except EtcdRefused as error:
            self._unsure = not error.is_certain
            raise
        written_at = outcome.revision
        if not outcome.succeeded:
            leader, found = (next(iter(part.found), None) for part in outcome.ranges)
            if found is None or not _has_mark(found, head.mark):
                await self._look_who_leads(gateway, leader, timeout)
                return False
            written_at = found.modified  # an earlier try was carried out, but its answer got lost
        assert self._stored is not None  # noqa: S101
        for routespec, route in step.routes.items():
            if route is None:
                self._stored.pop(routespec, None)
            else:
                self._stored[routespec] = route
        self._head_at, self._base, self._cluster = written_at, head.base, outcome.cluster
        self._unsure = False
        return True

    async def _look_who_leads(self, gateway: EtcdGateway, leader: KeyValue | None, timeout: float) -> None:
        """Lead again, if nobody does.

        Raises:
            StoreLocked: If somebody else leads.
        """
        if leader is not None and leader.created == self._led:
            return
        owner = await self._try_to_lead(gateway, timeout)
        if owner is not None:
            raise self._locked(owner)

    # Looking.

    async def damage(self) -> str | None:
        """Return what others have done to the table, or what is not known about it; None while etcd does not answer."""
        if self._gateway is None or not self._led:
            return None
        if self._unsure or self._base:
            return "may hold a change that failed"
        keys = self._keys
        look = Transaction([], [get(keys.leader), get(keys.head), get(*keys.routes, count_only=True)])
        try:
            outcome = await self._gateway.transact(look, timeout=_LOOK_SECONDS)
        except StoreError:
            return None
        leader, head = (next(iter(part.found), None) for part in outcome.ranges[:2])
        if leader is not None and leader.created != self._led:
            return None  # there is another writer now; the next commit raises that
        damage = self._difference(head, outcome.cluster, outcome.ranges[2].total)
        if damage is not None:
            self._stored = None
        return damage or ("has lost the lock of this Hub" if leader is None else None)

    def _difference(self, head: KeyValue | None, cluster: int, count: int) -> str | None:
        if cluster != self._cluster:
            return "was replaced by another etcd"
        if (head.modified if head else 0) != self._head_at:
            return "was changed by somebody else" if head else "was emptied"
        if self._stored is None or count != len(self._stored) or (self._edits is not None and self._edits.seen):
            return "has other routes than were written"
        return None

    async def close(self) -> None:
        """Give up the lease; the table stays."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            await asyncio.wait([keeper])
        edits, self._edits = self._edits, None
        if edits is not None:
            await edits.end()
        gateway, self._gateway = self._gateway, None
        lease, self._lease, self._led, self._stored = self._lease, 0, 0, None
        if gateway is not None:
            try:
                if lease:
                    await gateway.revoke(lease, timeout=_LOOK_SECONDS)
            except StoreError as error:
                self._log.debug("The lease of the leader ends by itself: %s", error)
            finally:
                await gateway.close()

    @property
    def _opened(self) -> EtcdGateway:
        if self._gateway is None or not self._led:
            raise StoreError(f"{self.location} is not open")
        return self._gateway


def _has_mark(item: KeyValue, mark: str) -> bool:
    try:
        return read_head(item.value).mark == mark
    except ValueError:
        return False
