"""InProcessProxy in a process of its own: what it tells the Hub, and how it is told what to do. The faults are elsewhere."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from prometheus_client import REGISTRY
from support.in_process import InProcessMaker, ServerMaker, connect
from support.ports import free_port
from support.processes import alive
from support.waiting import eventually, within

from traefik_toml_proxy.conformance.backend import Exchange
from traefik_toml_proxy.errors import ConfigurationError, InvalidRoute
from traefik_toml_proxy.inprocess import listeners
from traefik_toml_proxy.proxies.inprocess import InProcessProxy

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def make_apart(make_in_process: InProcessMaker, tmp_path: Path) -> InProcessMaker:
    """Make proxies in processes of their own."""

    def make(**more: Any) -> InProcessProxy:
        return make_in_process(where="process", state_dir=str(tmp_path / "state"), **more)

    return make


async def test_its_reports_reach_the_log(
    make_apart: InProcessMaker, serve: ServerMaker, caplog: pytest.LogCaptureFixture
) -> None:
    """A line for each request that failed and, if wanted, for each request; the query is in neither."""
    caplog.set_level(logging.INFO, "hub")
    proxy = make_apart(access_log=True)
    await proxy.start()
    await serve(proxy)
    await proxy.add_route("/user/eve/", f"http://127.0.0.1:{free_port()}", {})
    failed = REGISTRY.get_sample_value("traefik_toml_proxy_failed_requests_total") or 0
    async with connect(proxy) as connection:
        assert (await within(20, connection.request("GET", "/user/ada/a?secret"))).status == 200
        assert (await within(20, connection.request("GET", "/user/eve/b?secret"))).status == 503

    await eventually(lambda: "GET '/user/ada/a' (route '/user/ada/'): 200" in caplog.text.replace("127.0.0.1 ", ""))
    await eventually(lambda: "(route '/user/eve/') failed: " in caplog.text)
    assert "secret" not in caplog.text
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert [record.getMessage()[:40] for record in warnings] == ["GET '/user/eve/b' from 127.0.0.1 to 'htt"]
    assert (REGISTRY.get_sample_value("traefik_toml_proxy_failed_requests_total") or 0) == failed + 1


@pytest.mark.parametrize("where", ["thread", "process"])
async def test_a_socket_of_systemd_that_is_not_used_is_named(
    make_in_process: InProcessMaker,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
) -> None:
    """Also if the Hub cannot start, which may be for this: only systemd may open a port below 1024."""
    with socket.create_server(("127.0.0.1", 0)) as passed, socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setattr(listeners, "_FIRST_INHERITED", passed.fileno())
        monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
        monkeypatch.setenv("LISTEN_FDS", "1")
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ConfigurationError, match="Another program listens there"):
            await make_in_process(where=where, state_dir=str(tmp_path / "state"), public_url=url).start()
        assert f"systemd has opened 127.0.0.1:{passed.getsockname()[1]} for the Hub" in caplog.text


async def test_what_users_do_reaches_the_metrics_and_the_hub(make_apart: InProcessMaker, serve: ServerMaker) -> None:
    """When a route was last used is exact at once; the metrics are a second old."""

    async def switch(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 101 Yes\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        await exchange.reader.read()
        exchange.last = True

    proxy = make_apart()
    await proxy.start()
    await serve(proxy, "/user/ada/", handler=switch)
    server = await serve(proxy, "/user/bob/")
    await proxy.add_route("/user/eve/", server.url, {})

    async def last_activity(name: str) -> str | None:
        text: str | None = (await proxy.get_all_routes())[f"/user/{name}/"]["data"].get("last_activity")
        return text

    assert [await last_activity(name) for name in ("ada", "bob", "eve")] == [None] * 3
    async with connect(proxy) as connection, connect(proxy) as other:
        await other.request("GET", "/user/bob/")
        assert await last_activity("bob")
        await connection.send(
            b"GET /user/ada/ HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        )
        await within(20, connection.head())
        before = await last_activity("ada")
        await connection.send(b"data")

        async def is_later() -> bool:
            return await last_activity("ada") != before

        await eventually(is_later)
        assert await last_activity("eve") is None

        def websockets() -> float | None:
            return REGISTRY.get_sample_value("traefik_toml_proxy_open_connections", {"kind": "websocket"})

        await eventually(lambda: websockets() == 1)
    await proxy.delete_route("/user/bob/")
    await proxy.add_route("/user/bob/", server.url, {})
    assert await last_activity("bob") is None


async def test_thousands_of_routes_at_once(make_apart: InProcessMaker, serve: ServerMaker) -> None:
    """They go in pieces, and the Hub goes on meanwhile."""
    proxy = make_apart()
    await proxy.start()
    server = await serve(proxy)
    held = 0.0
    adding = asyncio.gather(*(proxy.add_route(f"/user/{n}/", server.url, {"user": str(n)}) for n in range(3000)))
    while not adding.done():
        before = time.thread_time()  # what others do on this machine does not matter
        await asyncio.sleep(0)
        held = max(held, time.thread_time() - before)
    await adding
    assert held < 0.5
    async with connect(proxy) as connection:
        for path, status in (("/user/0/", 200), ("/user/2999/", 200), ("/user/3000/", 404)):
            assert (await within(20, connection.request("GET", path))).status == status
        await asyncio.gather(*(proxy.delete_route(f"/user/{n}/") for n in range(1, 3000)))
        for path, status in (("/user/0/", 200), ("/user/2999/", 404)):
            assert (await within(20, connection.request("GET", path))).status == status


async def test_a_stop_lets_answers_end(make_apart: InProcessMaker, serve: ServerMaker) -> None:
    """Those that are under way; and nothing listens any more."""

    async def answer(exchange: Exchange) -> None:
        await asyncio.sleep(0.5)
        await exchange.reply(body=b"whole")

    proxy = make_apart()
    await proxy.start()
    server = await serve(proxy, handler=answer)
    async with connect(proxy) as connection:
        asking = asyncio.ensure_future(connection.request("GET", "/user/ada/"))
        await eventually(lambda: server.exchanges)
        await within(20, proxy.stop())
        last = await within(20, asking)
        assert (last.body, last.head.get("Connection")) == (b"whole", "close")
    with pytest.raises(OSError, match=r"refused|failed"):
        await connect(proxy).__aenter__()


async def test_a_unix_socket(make_apart: InProcessMaker, tmp_path: Path) -> None:
    """With the permissions that were asked for, also when the process is started again; and it is gone at the end."""
    path = tmp_path / "public.sock"
    proxy = make_apart(public_url=f"http+unix://{quote(str(path), safe='')}", socket_mode=0o600)
    await proxy.start()
    record = Path(proxy.state_dir, "in-process.json")
    pid = json.loads(record.read_text())["identity"]["pid"]
    assert path.stat().st_mode & 0o777 == 0o600
    assert await ask_unix(path) == b"HTTP/1.1 200 "
    os.kill(pid, signal.SIGKILL)
    await eventually(lambda: not alive(pid))
    assert await within(20, ask_unix(path)) == b"HTTP/1.1 200 "
    await proxy.stop()
    assert not path.exists()


async def ask_unix(path: Path) -> bytes:
    """Return the first bytes of an answer."""
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b"GET /_chp_healthz HTTP/1.1\r\nHost: h\r\n\r\n")
    try:
        return await reader.readexactly(13)
    finally:
        writer.close()


async def test_a_route_that_is_too_long_is_refused(make_apart: InProcessMaker, serve: ServerMaker) -> None:
    """At once, and those that are added at the same time are not."""
    proxy = make_apart()
    await proxy.start()
    server = await serve(proxy)
    adding = [proxy.add_route(f"/user/{n}/", server.url, {"x": n * "\U0001f600"}) for n in (0, 80_000, 2**20)]
    outcomes = await asyncio.gather(*adding, return_exceptions=True)

    assert outcomes[:2] == [None, None]
    assert isinstance(outcomes[2], InvalidRoute)
    assert sorted(await proxy.get_all_routes()) == ["/user/0/", "/user/80000/", "/user/ada/"]


async def test_an_address_that_is_taken_is_named(make_apart: InProcessMaker) -> None:
    """As with the thread; and no process is left."""
    taken = free_port()
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", taken)
    async with server:
        with pytest.raises(ConfigurationError, match="Another program listens there"):
            await make_apart(public_url=f"http://127.0.0.1:{taken}").start()
