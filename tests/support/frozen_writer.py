"""A Hub-like process that writes to a table in etcd all the time, until it is refused: then it says so, and ends.

``python frozen_writer.py <endpoint> <root> <name> <lease>``
"""

from __future__ import annotations

import asyncio
import logging
import sys

from traefik_toml_proxy.errors import CommitFailed, StoreLocked
from traefik_toml_proxy.routes import Route, RouteTable, Snapshot
from traefik_toml_proxy.stores.etcd_settings import EtcdSettings
from traefik_toml_proxy.stores.etcd_store import EtcdStore, EtcdStoreSettings
from traefik_toml_proxy.stores.etcd_table import Keys


async def main(endpoint: str, root: str, name: str, lease: str) -> None:
    """Write for ever."""
    settings = EtcdStoreSettings(
        keys=Keys.below(root), owner=name, lease_seconds=int(lease), timeout=10, secret=f"/{name}"
    )
    store = EtcdStore(settings, EtcdSettings(endpoints=(endpoint,)), logging.getLogger(name))
    snapshot = await store.open()
    print("leads", flush=True)
    try:
        for revision in range(snapshot.revision + 1, 10**9):
            route = Route.checked("/user/ada/", f"http://127.0.0.1:{revision % 60_000 + 1}", {"by": name})
            try:
                await store.commit(Snapshot(revision, RouteTable([route])))
            except CommitFailed as error:
                print(f"failed {error}", flush=True)
    except StoreLocked:
        print("refused", flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
