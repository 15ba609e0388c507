"""agent.replica: how an agent asks for what its Traefik serves."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from support.waiting import eventually, meanwhile

from traefik_toml_proxy.agent import replica as module
from traefik_toml_proxy.agent.replica import Replica
from traefik_toml_proxy.routes import RouteTable, Snapshot
from traefik_toml_proxy.seams import Answer
from traefik_toml_proxy.stores.etcd_table import Head


class SlowProbe:
    """A Traefik that has loaded what was written when it has been asked for it four times, for as long as asking takes."""

    def __init__(self, *_: object, **__: object) -> None:
        self.waits = 0

    async def ask(self) -> Answer:
        return Answer(1 if self.waits < 4 else 2, answered=True, description="")

    async def wait(self, revision: int, timeout: float) -> Answer:  # noqa: ARG002 - the probe's
        self.waits += 1
        await asyncio.sleep(0)
        return await self.ask()

    async def close(self) -> None:
        """Nothing is open."""


async def test_a_traefik_that_loads_for_long_is_asked_until_it_has_loaded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without a pause in between: the Hub waits for the answer."""
    monkeypatch.setattr(module, "EntryPointProbe", SlowProbe)
    # The pause when all is well.
    monkeypatch.setattr(module, "_CHECK_SECONDS", 1000)

    async def opened() -> Snapshot:
        return Snapshot(0, RouteTable())

    async def done(*_: object) -> None:
        return None

    store: Any = SimpleNamespace(location=str(tmp_path / "x"), open=opened, commit=done, damage=done, close=done)
    replica = Replica(
        lambda _: store,
        lambda _: cast("Any", None),
        "http://127.0.0.1:1",
        revision_name=lambda: "revision",
        server_name=lambda: None,
        changed=lambda: None,
        restart=done,
        log=logging.getLogger("agent"),
    )
    replica.offer(Head(2, "/secret", 0, ""), RouteTable())
    async with meanwhile(replica.run()):
        await eventually(lambda: replica.serves is not None and replica.serves.revision == 2)
    await replica.close()
