"""Membership: says in etcd, under a lease, what a replica serves. Does I/O, never blocking the event loop."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from ..errors import EtcdCompacted, EtcdRefused, StoreError, quoted
from ..stores.etcd_gateway import EtcdGateway
from ..stores.etcd_messages import Json, KeyValue, Outcome, Range, Transaction, get, has_lease, is_created_at, put
from ..stores.etcd_table import Head, Keys, Report, read_head, read_report
from .peers import Peers
from .readiness import Served

# Seconds in which etcd must have answered, and before it is asked again if it has not: the lease counts from the question.
_TRY_SECONDS = 1.5
_PAUSE = 0.1


class Membership:
    """Renews the lease, and writes the report whenever it has changed.

    The report and the head of the table are written and read in one transaction. So each table that the Hub writes later
    waits for this replica, and it is enough that it serves that head before it becomes ready.

    Attributes:
        renewed: When the lease was last renewed, at the earliest, on ``clock``; None if never.
        is_member: Whether it has the lease, as far as is known.
        required: The table when the Hub began to wait for this replica; None if there was none, or once that is served.
        is_replaced: Whether another agent, which was started later, has the same name, so that the Hub waits for that one.
        behind_since: Since when, on the monotonic clock, another ready replica serves a later table; None if none does.
        has_withdrawn: Whether the Hub does not wait for this replica, and may have changed routes that it still serves.
    """

    renewed: float | None = None
    is_member: bool = False
    required: Served | None = None
    is_replaced: bool = False
    behind_since: float | None = None
    has_withdrawn: bool = False

    def __init__(
        self,
        gateway: EtcdGateway,
        key: bytes,
        keys: Keys,
        *,
        lease_seconds: int,
        clock: Callable[[], float],
        report: Callable[[Served | None], Report],
        serves: Callable[[], Served | None],
        compare: Callable[[int, int], None],
        withdraws: Callable[[], bool],
        peers: Peers,
        log: logging.Logger,
    ) -> None:
        """Write nothing yet.

        Args:
            gateway: Asks etcd.
            key: The key of this replica.
            keys: The keys of the table.
            lease_seconds: How long the Hub waits for this replica after it was last heard of.
            clock: Tells the time in seconds, also while the machine is suspended.
            report: Returns what to say, when the entry point serves this.
            serves: Returns what the entry point serves.
            compare: Gets the cluster and the revision of the head, at each renewal.
            withdraws: Returns whether the Hub is not to wait for this replica, because nobody is served here.
            peers: The other agents, which may have to hear from etcd before the Hub goes on.
            log: Reports that etcd does not answer.
        """
        self._gateway = gateway
        self._key, self._keys = key, keys
        self._lease_seconds = lease_seconds
        # Seconds from one renewal of the lease to the next, at most.
        self._interval = lease_seconds / 6
        self._clock = clock
        self._report, self._serves = report, serves
        self._compare, self._withdraws = compare, withdraws
        self._peers = peers
        self._log = log
        self._lease = 0
        # Those before, whose end etcd may not have carried out yet.
        self._ended: set[int] = set()
        self._written: bytes | None = None
        # What was last said to be served.
        self._said: Served | None = None
        self._changed = asyncio.Event()
        self._logged = False

    def changed(self) -> None:
        """Write the report soon, as the entry point serves something else."""
        self._catch_up()
        self._changed.set()

    def _catch_up(self) -> None:
        served = self._serves()
        if self.required is not None and served is not None and served.is_at_least(self.required):
            self.required = None

    async def run(self) -> None:
        """Stay a member for ever."""
        while True:
            pause = _PAUSE
            try:
                if self._withdraws():
                    await self._withdraw()
                else:
                    await self._renew()
                self._logged = False
                age = self._interval if self.renewed is None else self._clock() - self.renewed
                if self.has_withdrawn or self.is_replaced:
                    pause = self._interval
                elif age < self._interval:
                    pause = self._interval - age
            except StoreError as error:
                if not self._logged:
                    self._logged = True
                    self._log.warning("etcd does not know that this replica is alive; will retry: %s", error)
            except Exception:  # noqa: BLE001 - a bug: log the traceback; the next try may succeed
                self._log.exception("Renewing the lease failed unexpectedly; will retry")
            waiting = asyncio.ensure_future(self._changed.wait())
            try:
                await asyncio.wait([waiting], timeout=pause)
            finally:
                waiting.cancel()
            self._changed.clear()

    async def _renew(self) -> None:
        began, timeout, known = self._clock(), _TRY_SECONDS, self._peers.revision
        age = self._interval if self.renewed is None else began - self.renewed
        # The Hub waits for a report, which does not have to wait for the lease if that has just been renewed.
        renews = not self.is_member or age >= self._interval / 2
        if self.renewed is not None:
            self._peers.renewing(age)
        if self._lease and renews and not await self._gateway.keep_alive(self._lease, timeout=timeout):
            self._lose()
        if not self._lease:
            self._lease = await self._gateway.grant(self._lease_seconds, timeout=timeout)
            began = self._clock()
        serves = self._serves() if self._peers.are_heard() else self._said
        value = self._report(serves).to_bytes()
        say = [] if self.is_member and value == self._written else [put(self._key, value, self._lease)]
        look = [get(self._keys.head), get(*self._keys.replicas)]
        try:
            outcome = await self._gateway.transact(
                Transaction(self._condition() if say else [], [*say, *look], look), timeout=timeout
            )
        except EtcdRefused as error:
            if error.is_not_found:  # the lease has just ended
                self._lose()
            raise
        if say and outcome.succeeded:
            self._written, self._said = value, serves
        renewed = began if renews or self.renewed is None else self.renewed
        self._learn(outcome, await self._last_whole(outcome, timeout), renewed, known)

    def _condition(self) -> list[Json]:
        """Return on what condition to write the report: that no other agent has the name.

        One that starts takes it all the same, as the lease of the one before may not have ended yet.
        """
        if self.is_member:
            return [has_lease(self._key, self._lease)]
        return [] if self.renewed is None else [is_created_at(self._key, 0)]

    async def _withdraw(self) -> None:
        """End the lease, until this replica serves somebody again."""
        if self._lease:
            await self._gateway.revoke(self._lease, timeout=_TRY_SECONDS)
            self._lose()
            self._log.warning("Nobody is served here, so the Hub goes on without this replica for now")
        self.has_withdrawn = True

    def _give_way(self) -> None:
        if not self.is_replaced:
            self._log.error(
                "Another agent has the name of this one, %s: set replica_name, which must be different for each agent",
                quoted(self._keys.replica_of(self._key)),
            )
        self._lose()
        self.is_replaced = True

    def _lose(self) -> None:
        self._ended.add(self._lease)
        self._lease, self.is_member, self._written = 0, False, None

    async def _last_whole(self, outcome: Outcome, timeout: float) -> Served | None:
        """Return the last whole table. The one of the head may be in the middle of a change, whose Hub may be dead."""
        head = self._head_in(outcome.ranges[0])
        if head is not None and head.base:
            try:
                head = self._head_in(await self._gateway.range(self._keys.head, timeout=timeout, revision=head.base))
            except EtcdCompacted:
                self._log.debug("etcd no longer keeps the last whole table")
        return None if head is None else Served(head.secret, head.revision)

    def _learn(self, outcome: Outcome, current: Served | None, renewed: float, known: int) -> None:
        heads, replicas = outcome.ranges
        head = next(iter(heads.found), None)
        self._compare(outcome.cluster, head.modified if head else 0)
        own = next((item for item in replicas.found if item.key == self._key), None)
        if own is None:
            self._lose()  # somebody has deleted it, so the Hub does not wait for this replica
            self._changed.set()
            return
        if own.lease != self._lease:
            if own.lease in self._ended:
                self._lose()
            else:
                self._give_way()
            return
        if self._written != own.value:
            self._changed.set()  # the answer to an earlier try got lost
        # Another Hub may have taken over meanwhile, and its tables have another secret.
        superseded = self.required is not None and current is not None and current.secret != self.required.secret
        if not self.is_member or superseded:
            self.required = current
        self.is_member, self.is_replaced, self.has_withdrawn, self.renewed = True, False, False, renewed
        self._catch_up()
        if not any(self._is_later(item, current) for item in replicas.found):
            self.behind_since = None
        elif self.behind_since is None:
            self.behind_since = time.monotonic()
        self._peers.learn(outcome.cluster, outcome.revision, replicas.found, known=known)

    def _is_later(self, item: KeyValue, current: Served | None) -> bool:
        """Whether a replica is ready, and serves a later table of the current Hub than this one does."""
        try:
            report = read_report(item.value)
        except ValueError:
            return False
        if not report.ready or report.revision is None or current is None or report.secret != current.secret:
            return False
        own = self._serves()
        return own is None or not own.is_at_least(Served(report.secret, report.revision))

    def _head_in(self, found: Range) -> Head | None:
        try:
            return read_head(found.found[0].value) if found.found else None
        except ValueError as error:
            self._log.warning("The table in etcd cannot be used: %s", error)
            return None

    async def leave(self) -> None:
        """End the lease; the Hub no longer waits for this replica. Does not raise."""
        lease = self._lease
        self._lose()
        if lease:
            try:
                await self._gateway.revoke(lease, timeout=1)
            except StoreError as error:
                self._log.debug("The lease ends by itself: %s", error)
