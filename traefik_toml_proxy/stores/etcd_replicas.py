"""ReplicasCheck: reads in etcd which revision all replicas serve. Does I/O, never blocking the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from ..errors import StoreError, quoted
from ..seams import NO_METRICS, Answer, Metrics
from .etcd_gateway import EtcdGateway
from .etcd_settings import EtcdSettings
from .etcd_table import Keys, Report, read_report

# Seconds for one look, and between two while etcd does not answer.
_LOOK_SECONDS = 2.0
_PAUSE = 0.1
_NOBODY = (
    "Start the agents (python -m traefik_toml_proxy agent) with the same etcd_endpoints and etcd_root as this Hub, or look "
    "at their logs"
)
_ETCD_IS_DOWN = "Check that the members of etcd run, and that a majority of them reach each other"


class ReplicasCheck:
    """A :class:`~traefik_toml_proxy.seams.LiveCheck` over all replicas that have a lease.

    A revision is live when at least one replica, and each of them, reports that revision or a later one. Reports come from
    an agent that has asked its own entry point. They are read after the commit: a replica that joins later must serve that
    commit before it is ready.
    """

    def __init__(
        self, etcd: EtcdSettings, keys: Keys, secret: str, log: logging.Logger, metrics: Metrics = NO_METRICS
    ) -> None:
        """Ask nothing yet.

        Args:
            etcd: How to reach etcd.
            keys: The keys of the table.
            secret: The secret path of this Hub; what a replica serves of another one does not count.
            log: Reports what in etcd cannot be used.
            metrics: Is told how many replicas there are.
        """
        self._metrics = metrics
        self._gateway = EtcdGateway(etcd)
        self._keys = keys
        self._secret = secret
        self._log = log

    async def ask(self) -> Answer:
        """Read the reports once."""
        try:
            reports, _ = await self._read(_LOOK_SECONDS)
        except StoreError as error:
            return _no_answer(error)
        return self._answer(reports)

    async def wait(self, revision: int, timeout: float, *, if_refused: float | None = None) -> Answer:  # noqa: ARG002
        """Read the reports, and watch them, until ``revision`` or a later one is live everywhere.

        Nothing is refused here, so ``if_refused`` is of no use.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        waiting = asyncio.create_task(self._watch(revision, deadline), name="traefik_toml_proxy replicas")
        try:
            await asyncio.wait([waiting], timeout=timeout)
            if waiting.done():
                return waiting.result()
        finally:
            waiting.cancel()
            await asyncio.wait([waiting])
        return await self.ask()

    async def _watch(self, revision: int, deadline: float) -> Answer:
        """Return when that revision is live."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                reports, at = await self._read(max(_PAUSE, deadline - loop.time()))
                answer = self._answer(reports)
                if answer.serves(revision):
                    return answer
                start, end = self._keys.replicas
                async with contextlib.aclosing(self._gateway.watch(start, end, at + 1)) as messages:
                    async for message in messages:
                        for event in message.events:
                            self._note(reports, event.key, event.value)
                        answer = self._answer(reports)
                        if answer.serves(revision):
                            return answer
            except StoreError as error:
                self._log.debug("The replicas cannot be watched; will retry: %s", error)
                await asyncio.sleep(_PAUSE)

    async def _read(self, timeout: float) -> tuple[dict[str, Report | None], int]:
        found = await self._gateway.range(*self._keys.replicas, timeout=timeout)
        reports: dict[str, Report | None] = {}
        for item in found.found:
            self._note(reports, item.key, item.value)
        return reports, found.revision

    def _note(self, reports: dict[str, Report | None], key: bytes, value: bytes | None) -> None:
        name = self._keys.replica_of(key)
        if value is None:
            reports.pop(name, None)
            return
        try:
            reports[name] = read_report(value)
        except ValueError as error:
            self._log.warning("The report of the replica %s cannot be used: %s", quoted(name), error)
            reports[name] = None

    def _answer(self, reports: dict[str, Report | None]) -> Answer:
        self._metrics.replicas(len(reports), sum(report is not None and report.ready for report in reports.values()))
        if not reports:
            return Answer(
                None,
                answered=False,
                description=f"no answer: no replica has a lease below {self._keys.root}",
                advice=_NOBODY,
            )
        served = {name: self._revision_in(report) for name, report in reports.items()}
        # Those that serve nothing of this Hub come first.
        slowest = min(served, key=lambda name: -1 if served[name] is None else served[name] or 0)
        revision = served[slowest]
        what = "nothing of this Hub" if revision is None else f"revision {revision}"
        return Answer(
            revision,
            answered=True,
            description=f"of {len(reports)} replicas, {quoted(slowest)} serves {what}",
            advice=f"Look at the log of the agent {quoted(slowest)}.",
        )

    def _revision_in(self, report: Report | None) -> int | None:
        return report.revision if report is not None and report.secret == self._secret else None

    async def close(self) -> None:
        """Close the connections. May be called twice."""
        await self._gateway.close()


def _no_answer(error: StoreError) -> Answer:
    return Answer(None, answered=False, description=f"no answer ({error})", advice=_ETCD_IS_DOWN)
