"""stop() never raises, ends Traefik within a few seconds, and leaves no process behind."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import FunctionType
from typing import Any
from unittest import mock

import pytest
import pytest_asyncio
from support.fixtures import ProxyMaker
from support.inside import traefik_pid
from support.processes import MARK, alive
from support.programs import FOREVER, script
from support.servers import answering
from support.waiting import PATIENCE, eventually

from traefik_toml_proxy import TraefikTomlProxy
from traefik_toml_proxy.errors import StoreError
from traefik_toml_proxy.publisher import RoutePublisher
from traefik_toml_proxy.runtime import supervisor as module
from traefik_toml_proxy.runtime.program import Program, child_environment
from traefik_toml_proxy.runtime.supervisor import TraefikSupervisor
from traefik_toml_proxy.stores.toml_file import TomlFileStore
from traefik_toml_proxy.traefik.static import GRACE_SECONDS


@pytest_asyncio.fixture
async def endless() -> AsyncIterator[str]:
    """The URL of a server whose answer never ends: a download, or a websocket if it is asked to upgrade."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        upgrade = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
        download = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nbegin"
        writer.write(upgrade if b"upgrade: websocket" in head.lower() else download)
        await reader.read()

    async with answering(answer) as url:
        yield url


async def test_a_healthy_one_ends_at_once(proxy: TraefikTomlProxy) -> None:
    """When no requests are open, there is nothing to wait for.

    Unless the proxy has just connected to ask for the revision: Go also waits for a connection without a request. The
    quickest of several stops counts, as the machine may be busy.
    """
    took = []
    for _ in range(3):
        pid = traefik_pid(proxy)
        began = time.monotonic()
        await proxy.stop()
        took.append(time.monotonic() - began)
        assert not alive(pid)
        await proxy.start()

    assert min(took) < 0.75 * GRACE_SECONDS


async def test_its_files_stay(proxy: TraefikTomlProxy, tmp_path: Path) -> None:
    """The next start needs them."""
    await proxy.stop()

    assert {"dynamic.toml", "traefik.toml", "traefik.log"} <= {file.name for file in (tmp_path / "state").iterdir()}


async def test_it_may_be_called_twice_and_without_a_start(make_proxy: ProxyMaker) -> None:
    """The Hub does both when its own start has failed."""
    proxy = make_proxy()
    await proxy.stop()
    await proxy.start()
    await proxy.stop()
    await proxy.stop()


async def test_two_calls_at_once(proxy: TraefikTomlProxy) -> None:
    """Both calls return when Traefik has ended."""
    pid = traefik_pid(proxy)
    await asyncio.gather(proxy.stop(), proxy.stop())

    assert not alive(pid)


@pytest.mark.parametrize(
    "upgrade", [b"", b"Upgrade: websocket\r\nConnection: Upgrade\r\n"], ids=["download", "websocket"]
)
async def test_open_requests_do_not_hold_it_up(proxy: TraefikTomlProxy, endless: str, upgrade: bytes) -> None:
    """They have two seconds to finish."""
    await proxy.add_route("/", endless, {})
    port = int(proxy.public_url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n" + upgrade + b"\r\n")
    await reader.readuntil(b"\r\n\r\n")
    pid = traefik_pid(proxy)
    began = time.monotonic()
    await proxy.stop()
    writer.close()

    assert 1 < time.monotonic() - began < 4 * PATIENCE
    assert not alive(pid)


async def test_a_traefik_that_hangs_is_killed(proxy: TraefikTomlProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not react to SIGTERM, so it is killed after a short time."""
    monkeypatch.setattr(module, "_STOP_SECONDS", 0.2)
    pid = traefik_pid(proxy)
    os.kill(pid, signal.SIGSTOP)
    began = time.monotonic()
    await proxy.stop()

    assert time.monotonic() - began < 3 * PATIENCE
    assert not alive(pid)


async def test_a_program_that_ignores_sigterm_has_a_few_seconds(proxy: TraefikTomlProxy, tmp_path: Path) -> None:
    """It is killed within a few seconds, with the real timeouts."""
    command = script(tmp_path / "traefik", f"trap '' TERM; touch ready; {FOREVER}")
    (tmp_path / "traefik.toml").touch()
    process = TraefikSupervisor(
        Program((str(command),), (3, 7, 0)),
        tmp_path / "traefik.toml",
        b"",
        folder=tmp_path,
        environment=child_environment(MARK),
        configured_environment={},
        ends_with_hub=lambda: True,
        log=proxy.log,
    )
    await process.start()
    await eventually((tmp_path / "ready").exists)
    pid = process.pid
    began = time.monotonic()
    await process.stop()

    assert time.monotonic() - began < 5 * PATIENCE
    assert not alive(pid)


async def test_waiting_callers_get_an_error(proxy: TraefikTomlProxy, tmp_path: Path) -> None:
    """stop() does not wait for an add that waits for Traefik; the add fails."""
    os.kill(traefik_pid(proxy), signal.SIGSTOP)
    adds = [asyncio.create_task(proxy.add_route(f"/user/{number}/", "http://127.0.0.1:1", {})) for number in range(3)]
    file = tmp_path / "state" / "dynamic.toml"
    await eventually(lambda: b"/user/0/" in file.read_bytes())
    os.kill(traefik_pid(proxy), signal.SIGKILL)
    await proxy.stop()
    results = await asyncio.wait_for(asyncio.gather(*adds, return_exceptions=True), 5 * PATIENCE)

    assert {type(outcome) for outcome in results} <= {StoreError, type(None)}


@pytest.mark.parametrize("part", [RoutePublisher.close, TraefikSupervisor.stop, TomlFileStore.close])
async def test_a_part_that_fails_to_stop_is_logged_and_the_others_are_stopped(
    make_proxy: ProxyMaker, caplog: pytest.LogCaptureFixture, part: FunctionType
) -> None:
    """stop() does not raise, or the Hub would not end; afterwards nothing runs and nothing is locked."""
    proxy = make_proxy()

    async def stop_and_fail(self: Any) -> None:
        await part(self)
        raise RuntimeError("a fault of ours")

    with mock.patch(f"{part.__module__}.{part.__qualname__}", stop_and_fail):
        await proxy.start()
        pid = traefik_pid(proxy)
        await proxy.stop()

    assert [record.exc_info is not None for record in caplog.records if "failed" in record.message] == [True]
    assert not alive(pid)
    await proxy.start()


async def test_afterwards_adds_are_refused_and_deletes_are_ignored(proxy: TraefikTomlProxy) -> None:
    """A late delete does nothing: an error would keep the Hub from stopping a user's server."""
    await proxy.stop()
    with pytest.raises(Exception, match="has not been started"):
        await proxy.add_route("/user/ada/", "http://127.0.0.1:1", {})
    await proxy.delete_route("/user/ada/")

    assert await proxy.get_all_routes() == {}
