"""Measurements below the public interface: the one module that imports internals of the package. I/O: writes the file.

They can be made of this checkout's version only.
"""

from __future__ import annotations

import time
from pathlib import Path

from traefik_toml_proxy.routes import Change, Route, RouteTable, Snapshot
from traefik_toml_proxy.runtime.certificate import ServedCertificate

from .contenders.ours import Ours
from .workload import new_entries


async def commit_times(contender: Ours, count: int) -> list[float]:
    """Add ``count`` routes to a table, one by one, and commit each change to the proxy's store, without Traefik.

    Returns:
        How many milliseconds each took: to change the table, render it and write it.
    """
    contender.prepare()
    table = RouteTable(Route.checked(*entry) for entry in contender.settings.existing_entries())
    store = contender.proxy._make_store(ServedCertificate(Path(contender.proxy.state_dir)))  # noqa: SLF001 - the very store that the proxy writes with
    await store.open()
    times = []
    try:
        await store.commit(Snapshot(1, table))
        for number, entry in enumerate(new_entries(0, count, contender.settings.servers)):
            begin = time.perf_counter()
            table, _ = table.with_changes([Change(entry.routespec, Route.checked(*entry))])
            await store.commit(Snapshot(number + 2, table))
            times.append((time.perf_counter() - begin) * 1000)
    finally:
        await store.close()
    return times
