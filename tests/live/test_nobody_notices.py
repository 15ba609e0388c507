"""A route change never drops a request, a download or a websocket."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from support import load
from support.waiting import PATIENCE

from traefik_toml_proxy import TraefikTomlProxy

ROUTES = 200
REQUESTS = 20_000
WEBSOCKETS = 20


@asynccontextmanager
async def _process(what: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run support/load.py in a process; it is killed at the end if it still runs."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(Path(load.__file__)), what, stdin=pipe, stdout=pipe, env=dict(os.environ)
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _said(process: asyncio.subprocess.Process, *, within: float = 20) -> str:
    assert process.stdout is not None
    return (await asyncio.wait_for(process.stdout.readline(), within * PATIENCE)).decode().strip()


async def _tell(process: asyncio.subprocess.Process, what: dict[str, Any]) -> None:
    assert process.stdin is not None
    process.stdin.write(json.dumps(what).encode() + b"\n")
    await process.stdin.drain()


class Changes:
    """Changes routes in every way, as fast as possible."""

    def __init__(self, proxy: TraefikTomlProxy, one: str, two: str) -> None:
        self.proxy, self.one, self.two = proxy, one, two
        self.added = self.deleted = self.moved = 0

    async def until(self, done: asyncio.Task[str]) -> None:
        """Change routes in batches, one by one, and one of them over and over, until ``done`` is done."""
        await asyncio.gather(self._in_batches(done), self._one_by_one(done), self._over_and_over(done))

    async def _add(self, routespec: str) -> None:
        await self.proxy.add_route(routespec, self.two, {"user": routespec})
        self.added += 1

    async def _delete(self, routespec: str) -> None:
        await self.proxy.delete_route(routespec)
        self.deleted += 1

    async def _in_batches(self, done: asyncio.Task[str]) -> None:
        # Below the path of a route that is in use, and next to it.
        routespecs = [f"/user/{name}{n}/" for n in range(ROUTES // 2) for name in ("busy/server-", "busy")]
        while not done.done():
            await asyncio.gather(*map(self._add, routespecs))
            await asyncio.gather(*map(self._delete, routespecs))

    async def _one_by_one(self, done: asyncio.Task[str]) -> None:
        number = 0
        while not done.done():
            number += 1
            await self._add(f"/user/single-{number}/")
            await self._delete(f"/user/single-{number}/")

    async def _over_and_over(self, done: asyncio.Task[str]) -> None:
        while not done.done():
            for target in (self.two, self.one):
                await self.proxy.add_route("/user/moving/", target, {})
                self.moved += 1


@pytest.mark.timeout(180)
async def test_route_changes_drop_nothing(proxy: TraefikTomlProxy) -> None:
    """While 200 routes come and go, 20,000 requests, 20 websockets and a download of 100 MB succeed."""
    async with _process("serve") as servers, _process("use") as users:
        urls = json.loads(await _said(servers))
        await proxy.add_route("/", urls["two"], {"hub": True})
        await proxy.add_route("/user/busy/", urls["one"], {"user": "busy", "server_name": ""})
        await proxy.add_route("/user/tornado/", urls["tornado"], {"user": "tornado", "server_name": ""})
        await proxy.add_route("/user/moving/", urls["one"], {"user": "moving", "server_name": ""})
        plan = load.Plan(
            requests=REQUESTS,
            workers=8,
            websockets=WEBSOCKETS,
            plain_url=f"{proxy.public_url}/user/busy/",
            moving_url=f"{proxy.public_url}/user/moving/",
            websocket_url=f"{proxy.public_url.replace('http', 'ws', 1)}/user/tornado/echo",
            download_url=f"{proxy.public_url}/user/tornado/download",
        )
        await _tell(users, asdict(plan))
        assert await _said(users) == "ready"
        changes = Changes(proxy, urls["one"], urls["two"])
        done = asyncio.create_task(_said(users, within=150))
        await changes.until(done)
        result = load.Result(**json.loads(await done))

    assert (result.failed, result.failures) == (0, [])
    assert result.requests == REQUESTS
    assert result.websockets == WEBSOCKETS
    assert result.messages > WEBSOCKETS * 10
    assert result.download_sha256 == load.download_sha256()
    assert set(result.moving_answers) == {"one", "two"}
    assert result.moving_requests > 100
    # There were enough changes.
    assert changes.added == changes.deleted
    assert changes.added >= 2 * ROUTES
    assert changes.moved >= 10
