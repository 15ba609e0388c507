"""Two Hubs with one table in etcd: the older one is frozen at a random moment, and must not write when it thaws."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from support import frozen_writer
from support.etcd import Etcd, running_etcd
from support.etcd_stores import etcd_store
from support.processes import MARK
from support.store_contract import route_of, routes_of
from support.waiting import PATIENCE, within

from traefik_toml_proxy.routes import RouteTable, Snapshot

# How often; the release test takes 50.
FREEZES = int(os.environ.get("TEST_FREEZES", "5"))
LEASE_SECONDS = 2


@asynccontextmanager
async def writer(etcd: Etcd, root: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run the older Hub; it leads when the block begins."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, frozen_writer.__file__, etcd.members[0].url, root, "older", str(LEASE_SECONDS)),
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | MARK,
    )
    try:
        assert process.stdout is not None
        assert await within(20 * PATIENCE, process.stdout.readline()) == b"leads\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_a_frozen_hub_that_thaws_is_refused(tmp_path: Path) -> None:
    """Wherever it was frozen: while it waits for an answer, or before it asks. The table of the newer Hub stays as it is."""
    async with running_etcd(tmp_path) as etcd:
        for number in range(FREEZES):
            root = f"/test/{number}"
            async with writer(etcd, root) as older:
                await asyncio.sleep(random.uniform(0.05, 0.3))
                older.send_signal(signal.SIGSTOP)
                newer = etcd_store(etcd.settings, root, lease_seconds=20)
                snapshot = await newer.open()
                table = RouteTable([route_of("newer")])
                await newer.commit(Snapshot(snapshot.revision + 1, table))
                older.send_signal(signal.SIGCONT)
                assert older.stdout is not None
                assert await within(20 * PATIENCE, older.stdout.readline()) == b"refused\n"
                assert await newer.damage() is None
                await newer.close()
            after = etcd_store(etcd.settings, root)
            assert routes_of(await after.open()) == set(table)
            await after.close()
            assert json.loads(etcd.control("get", f"{root}/table/head", "--print-value-only"))["secret"] == "/secret"
