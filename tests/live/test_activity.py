"""Traefik's connections tell when each route was last used: requests, websockets, uploads; but not pongs, or downloads."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from dateutil.parser import isoparse
from support.backend import get
from support.certificates import make_certificate
from support.fixtures import BackendMaker, ProxyMaker
from support.inside import traefik_pid
from support.killed_hub import Hub
from support.pinging_server import PingingServer
from support.servers import answering
from support.traefik import ForeignTraefik
from support.waiting import eventually
from tornado.websocket import WebSocketClientConnection, websocket_connect

from traefik_toml_proxy import TraefikTomlProxy
from traefik_toml_proxy.runtime.last_seen import LastSeen

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="sock_diag is a part of Linux")

ADA, BOB = "/user/ada/", "/user/bob/"
# The kernel counts in ticks of a few milliseconds.
_TICK = timedelta(seconds=0.05)


def _sampling(proxy: TraefikTomlProxy) -> TraefikTomlProxy:
    proxy.track_activity = True
    proxy.activity_interval = 0.05
    return proxy


@pytest_asyncio.fixture
async def proxy(make_proxy: ProxyMaker) -> TraefikTomlProxy:
    """A started proxy that samples often."""
    proxy = _sampling(make_proxy())
    await proxy.start()
    return proxy


async def _known(proxy: TraefikTomlProxy) -> dict[str, datetime]:
    """Return when each route was last used, where that is known."""
    routes = await proxy.get_all_routes()
    return {
        routespec: isoparse(route["data"]["last_activity"])
        for routespec, route in routes.items()
        if "last_activity" in route["data"]
    }


async def _used(
    proxy: TraefikTomlProxy,
    routespec: str,
    *,
    after: datetime | None = None,
    by: Callable[[], Awaitable[object]] | None = None,
) -> datetime:
    """Wait until a route is known to have been used (again).

    Args:
        proxy: The proxy.
        routespec: The route.
        after: Earlier use does not count.
        by: Uses the route. This is repeated, because Linux counts in ticks of up to 10 ms: what happens right after that
            time may seem to have come before it.
    """

    async def used() -> datetime | None:
        if by:
            await by()
        at = (await _known(proxy)).get(routespec)
        return at if at and (after is None or at > after) else None

    at: datetime = await eventually(used, what=f"{routespec} was used after {after}")
    return at


async def _later_sample(proxy: TraefikTomlProxy, server: PingingServer) -> None:
    """Wait until a sample has been taken that began after this call: it shows another route in use."""
    if BOB not in await proxy.get_all_routes():
        await proxy.add_route(BOB, server.url, {})
    for _ in range(2):
        before = datetime.now(timezone.utc)
        await _used(proxy, BOB, after=before, by=lambda: get(proxy.public_url, BOB))


@pytest_asyncio.fixture
async def bob() -> AsyncIterator[PingingServer]:
    """A server whose use shows that a sample was taken."""
    async with PingingServer().listening() as server:
        yield server


@contextlib.asynccontextmanager
async def _websocket(proxy: TraefikTomlProxy) -> AsyncIterator[WebSocketClientConnection]:
    websocket = await websocket_connect(f"{proxy.public_url.replace('http', 'ws', 1)}{ADA}ws")
    try:
        yield websocket
    finally:
        websocket.close()
        while await websocket.read_message() is not None:
            pass


async def test_requests_are_use(proxy: TraefikTomlProxy, make_backend: BackendMaker) -> None:
    """Each is, of its own route only, and at its own time; a route that was never used has none."""
    await proxy.add_route(ADA, (await make_backend("ada")).url, {"user": "ada", "server_name": ""})
    await proxy.add_route(BOB, (await make_backend("bob")).url, {})
    await proxy.add_route("/user/eve/", (await make_backend("eve")).url, {})
    times: list[datetime] = []
    for _ in range(3):
        before = datetime.now(timezone.utc)
        after = times[-1] if times else None
        times.append(await _used(proxy, ADA, after=after, by=lambda: get(proxy.public_url, ADA)))
        assert before - _TICK < times[-1] < datetime.now(timezone.utc) + _TICK
    await get(proxy.public_url, BOB)
    first = await _used(proxy, BOB)

    known = await _known(proxy)
    assert known.keys() == {ADA, BOB}
    await _used(proxy, BOB, after=first, by=lambda: get(proxy.public_url, BOB))
    assert (await _known(proxy))[ADA] == known[ADA] >= times[-1]
    assert (await proxy.get_all_routes())[ADA]["data"].keys() == {"user", "server_name", "last_activity"}


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
async def test_a_websocket_is_used_by_messages_and_not_by_pongs(
    make_proxy: ProxyMaker, bob: PingingServer, tmp_path: Path, tls: bool
) -> None:
    """Jupyter's servers ping each open page, whether or not somebody is there."""
    context = None
    if tls:
        pair = make_certificate(tmp_path, "server")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.cert, pair.key)
    proxy = _sampling(make_proxy(extra_static_config={"serversTransport": {"insecureSkipVerify": True}}))
    await proxy.start()
    async with PingingServer().listening(tls=context) as server:
        await proxy.add_route(ADA, server.url, {})
        async with _websocket(proxy) as websocket:
            # It was first used by the request that opened it; the first sample of a connection cannot tell pongs apart.
            await _later_sample(proxy, bob)
            opened = (await _known(proxy))[ADA]
            await eventually(lambda: server.pongs >= 5)
            await _later_sample(proxy, bob)
            assert (await _known(proxy))[ADA] == opened

            await websocket.write_message("x")
            typed = await _used(proxy, ADA, after=opened)
            await eventually(lambda: server.pongs >= 10)
            await _later_sample(proxy, bob)
            assert (await _known(proxy))[ADA] == typed


async def test_an_idle_websocket_is_not_used(proxy: TraefikTomlProxy, bob: PingingServer) -> None:
    """Nor one on which only the server speaks."""
    async with PingingServer(pinged=False).listening() as server:
        await proxy.add_route(ADA, server.url, {})
        async with _websocket(proxy) as websocket:
            await websocket.write_message("x" * 100_000)
            await websocket.read_message()
            await _later_sample(proxy, bob)
            before = (await _known(proxy))[ADA]
            await _later_sample(proxy, bob)

            assert (await _known(proxy))[ADA] == before


async def test_a_download_is_used_at_its_start(proxy: TraefikTomlProxy, bob: PingingServer) -> None:
    """What counts is what the user sends."""
    go_on = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + bytes(100_000))
        await go_on.wait()
        writer.write(bytes(200_000))
        await writer.drain()
        await reader.read()

    async with answering(answer) as url:
        await proxy.add_route(ADA, url, {})
        download = asyncio.create_task(get(proxy.public_url, ADA))
        started = await _used(proxy, ADA)
        await _later_sample(proxy, bob)
        go_on.set()
        assert len((await download).body) == 300_000
        await _later_sample(proxy, bob)

        assert (await _known(proxy))[ADA] == started


async def test_an_upload_is_used_all_the_time(proxy: TraefikTomlProxy, make_backend: BackendMaker) -> None:
    """Not only at its start, however long it lasts."""
    await proxy.add_route(ADA, (await make_backend("ada")).url, {})
    _, writer = await asyncio.open_connection("127.0.0.1", int(proxy.public_url.rpartition(":")[2]))
    try:
        writer.write(f"POST {ADA} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n".encode())
        at = await _used(proxy, ADA)

        async def upload() -> None:
            writer.write(bytes(10))

        for _ in range(3):
            at = await _used(proxy, ADA, after=at, by=upload)
    finally:
        writer.close()


async def test_a_server_that_soon_closes_idle_connections_is_used(make_proxy: ProxyMaker) -> None:
    """Such a connection may not last until a sample, but the kernel remembers for a minute that the server has closed it."""
    closed = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK")
        await writer.drain()
        await asyncio.sleep(0.01)
        writer.close()
        await reader.read()
        closed.set()

    proxy = _sampling(make_proxy())
    # A sample is taken at the start, and then only when the routes are listed.
    proxy.activity_interval = 3600
    await proxy.start()
    async with answering(answer) as url:
        await proxy.add_route(ADA, url, {})
        before = datetime.now(timezone.utc)
        assert (await get(proxy.public_url, ADA)).body == b"OK"
        await closed.wait()
        after = datetime.now(timezone.utc)

        # The kernel tells when the connection was closed, so to half a second.
        assert before - timedelta(seconds=0.5) < await _used(proxy, ADA) < after + timedelta(seconds=0.5)


@pytest.mark.parametrize("host", ["::1", "::ffff:127.0.0.1", "localhost"])
async def test_targets_of_all_kinds_are_followed(proxy: TraefikTomlProxy, host: str) -> None:
    """IPv6, IPv4 in the form of IPv6, and names."""
    try:
        async with PingingServer().listening("::1" if host == "::1" else "127.0.0.1") as server:
            port = server.url.rpartition(":")[2]
            await proxy.add_route(ADA, f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}", {})
            assert (await get(proxy.public_url, ADA)).status == 200
            await _used(proxy, ADA)
    except OSError as error:
        pytest.skip(f"no {host} here: {error}")


async def test_two_routes_with_one_target_are_used_together(
    proxy: TraefikTomlProxy, make_backend: BackendMaker
) -> None:
    """Their connections are the same."""
    backend = await make_backend("both")
    await proxy.add_route(ADA, backend.url, {})
    await proxy.add_route(BOB, backend.url, {})
    await get(proxy.public_url, ADA)

    assert await _used(proxy, ADA) == await _used(proxy, BOB)


async def test_a_route_that_is_added_again_starts_anew(
    proxy: TraefikTomlProxy, bob: PingingServer, make_backend: BackendMaker
) -> None:
    """Even if Traefik has kept its connections."""
    backend = await make_backend("ada")
    await proxy.add_route(ADA, backend.url, {})
    await get(proxy.public_url, ADA)
    before = await _used(proxy, ADA)
    await proxy.delete_route(ADA)
    await proxy.add_route(ADA, backend.url, {})
    assert ADA not in await _known(proxy)
    await _later_sample(proxy, bob)
    assert ADA not in await _known(proxy)
    await get(proxy.public_url, ADA)

    assert await _used(proxy, ADA) > before


async def test_times_outlast_a_restart_of_traefik(
    proxy: TraefikTomlProxy, bob: PingingServer, make_backend: BackendMaker
) -> None:
    """What the new process sends counts, and what is known from before stays known."""
    await proxy.add_route(ADA, (await make_backend("ada")).url, {})
    await get(proxy.public_url, ADA)
    before = await _used(proxy, ADA)
    old = traefik_pid(proxy)
    os.kill(old, signal.SIGKILL)
    await eventually(lambda: traefik_pid(proxy) != old)
    await eventually(lambda: _answers(proxy))
    await _later_sample(proxy, bob)
    assert (await _known(proxy))[ADA] == before
    assert await _used(proxy, ADA, after=before, by=lambda: get(proxy.public_url, ADA)) > before


async def _answers(proxy: TraefikTomlProxy) -> bool:
    with contextlib.suppress(OSError):
        # No route has this path: a request for one would count as its use.
        return (await get(proxy.public_url, "/nowhere")).status == 404
    return False


async def test_a_hub_that_takes_over_a_traefik_knows_what_is_used(
    make_proxy: ProxyMaker, make_backend: BackendMaker, traits: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its connections from before, and new ones."""
    lengths, record = [timedelta(0)], LastSeen.record

    def note(self: LastSeen, *what: Any) -> None:
        *_, began, ended = what
        lengths.append(ended - began)
        record(self, *what)

    monkeypatch.setattr(LastSeen, "record", note)
    ada, bob = await make_backend("ada"), await make_backend("bob")
    hub = await Hub.started(traits, {ADA: ada.url, BOB: bob.url})
    await hub.kill()
    try:
        asked = datetime.now(timezone.utc)
        await get(traits["public_url"], ADA)
        answered = datetime.now(timezone.utc)
        proxy = _sampling(make_proxy())
        await proxy.start()
        assert traefik_pid(proxy) == hub.traefik_pid

        before = await _used(proxy, ADA)
        # A sample takes long on a busy machine, and what it shows counts as late as it may have been.
        assert asked - 2 * _TICK < before < answered + 2 * _TICK + max(lengths)
        assert BOB not in await _known(proxy)
        await get(traits["public_url"], BOB)
        assert await _used(proxy, BOB) > before
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(hub.traefik_pid, signal.SIGKILL)


async def test_a_traefik_that_the_hub_did_not_start_is_watched(
    tmp_path: Path, make_proxy: ProxyMaker, make_backend: BackendMaker
) -> None:
    """If the Hub may look into its process."""
    async with ForeignTraefik(tmp_path, provider={"directory": str(tmp_path)}) as traefik:
        proxy = make_proxy(
            should_start=False,
            dynamic_config_file=str(tmp_path / "routes.toml"),
            traefik_url=traefik.url,
            traefik_entrypoint="web",
        )
        await _sampling(proxy).add_route(ADA, (await make_backend("ada")).url, {})
        await get(traefik.url, ADA)
        await _used(proxy, ADA)


async def test_it_can_be_turned_off(make_proxy: ProxyMaker, make_backend: BackendMaker) -> None:
    """Then nothing is looked at, and nothing is said."""
    proxy = _sampling(make_proxy())
    proxy.track_activity = False
    await proxy.start()
    await proxy.add_route(ADA, (await make_backend("ada")).url, {})
    await get(proxy.public_url, ADA)
    names = {task.get_name() for task in asyncio.all_tasks()}

    assert "traefik_toml_proxy watcher" in names
    assert "traefik_toml_proxy activity" not in names
    assert await _known(proxy) == {}
