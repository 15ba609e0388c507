"""ConnectionActivity: when users were last seen, from the connections of a process that stands in for Traefik: this one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timezone
from typing import Any

import pytest
import pytest_asyncio
from support.activity_contract import CONTRACT, Stage
from support.fakes import FakeActivity
from support.ports import free_port
from support.servers import answering
from support.waiting import eventually

from traefik_toml_proxy.routes import Change, Route, RouteTable
from traefik_toml_proxy.runtime import activity as module
from traefik_toml_proxy.runtime.activity import ConnectionActivity
from traefik_toml_proxy.runtime.sock_diag import request_all
from traefik_toml_proxy.seams import Activity

LOG = logging.getLogger("hub")
ADA, BOB = "/user/ada/", "/user/bob/"
needs_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="sock_diag is a part of Linux")
pytestmark = needs_linux


class Entry:
    """An entry point, and the process behind it, which is this one: what it sends to targets is what "Traefik" sends.

    Attributes:
        table: The routes, as a publisher has them.
        url: The entry point.
        samples: How often somebody has connected to it.
        watching: Whether the activity takes samples.
    """

    def __init__(self) -> None:
        self.table = RouteTable()
        self.url = ""
        self.samples = 0
        self.activity: Activity
        self.watching: asyncio.Task[None] | None = None
        self._open = contextlib.AsyncExitStack()
        self._targets: dict[str, str] = {}
        self._connections: dict[str, asyncio.StreamWriter] = {}

    async def __aenter__(self) -> Entry:
        self.url = await self._open.enter_async_context(answering(self._accept))
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.watching is not None:
            self.watching.cancel()
            await asyncio.wait([self.watching])
        for connection in self._connections.values():
            connection.close()
        await self._open.aclose()

    def watch(self, interval: float = 0.02, url: str = "") -> ConnectionActivity:
        """Begin to take samples."""
        activity = ConnectionActivity(self, url or self.url, interval=interval, log=LOG)
        self.activity = activity
        self.watching = asyncio.create_task(activity.watch(), name="traefik_toml_proxy activity of a test")
        return activity

    async def _accept(self, reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        self.samples += 1
        await reader.read()

    async def add(self, routespec: str, host: str = "127.0.0.1") -> None:
        """Add a route with a target of its own."""
        if routespec not in self._targets:
            self._targets[routespec] = await self._open.enter_async_context(answering(_read))
        target = self._targets[routespec].replace("127.0.0.1", host)
        self.table, _ = self.table.with_changes([Change(routespec, Route.checked(routespec, target, {}))])

    async def delete(self, routespec: str) -> None:
        """Delete a route."""
        self.table, _ = self.table.with_changes([Change(routespec, None)])

    async def use(self, routespec: str) -> None:
        """Send to the target, always over the same connection."""
        if routespec not in self._connections:
            port = self._targets[routespec].rpartition(":")[2]
            _, self._connections[routespec] = await asyncio.open_connection("127.0.0.1", port)
        self._connections[routespec].write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await self._connections[routespec].drain()

    async def notice(self) -> None:
        """Wait for a sample that has begun after this call."""
        before = self.samples
        # The second one has begun when the first one has ended.
        await eventually(lambda: self.samples > before + 2)

    async def fall_silent(self) -> None:
        """Refuse connections; the activity comes several times to find that out."""
        await self._open.aclose()
        self.notice = _a_while  # type: ignore[method-assign]


async def _read(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    while await reader.read(1000):
        pass


async def _a_while() -> None:
    await asyncio.sleep(0.2)  # nobody can see when a sample fails


class FakeStage:
    """The fake activity, and the proxy that it watches."""

    def __init__(self) -> None:
        self.activity = FakeActivity()

    async def add(self, routespec: str) -> None:
        self.activity.seen.pop(routespec, None)

    async def delete(self, routespec: str) -> None:
        self.activity.seen.pop(routespec, None)

    async def use(self, routespec: str) -> None:
        self.activity.seen[routespec] = datetime.now(timezone.utc)

    async def notice(self) -> None:
        """There is no delay."""

    async def fall_silent(self) -> None:
        """There is no proxy."""


@pytest_asyncio.fixture
async def entry() -> AsyncIterator[Entry]:
    """An entry point that nobody watches yet."""
    async with Entry() as entry:
        yield entry


@pytest.mark.parametrize("keeps", CONTRACT, ids=lambda check: check.__name__)
async def test_connection_activity_keeps_the_contract(entry: Entry, keeps: Callable[[Stage], Awaitable[None]]) -> None:
    """With real connections, and what the kernel says about them."""
    entry.watch()
    await keeps(entry)


@pytest.mark.parametrize("keeps", CONTRACT, ids=lambda check: check.__name__)
async def test_the_fake_keeps_the_contract(keeps: Callable[[Stage], Awaitable[None]]) -> None:
    """So tests that use it show how the real one behaves."""
    await keeps(FakeStage())


async def _known(entry: Entry) -> dict[str, Any]:
    return dict(await entry.activity.last_seen())


async def _known_of(entry: Entry, routespec: str) -> datetime | None:
    return (await entry.activity.last_seen()).get(routespec)


async def test_a_target_with_a_name_is_followed(entry: Entry) -> None:
    """The name is looked up; one that cannot be does no harm."""
    entry.watch()
    await entry.add(BOB, host="no-such-name.invalid")
    await entry.add(ADA, host="localhost")
    await entry.use(ADA)
    await entry.use(BOB)

    assert list(await eventually(lambda: _known(entry))) == [ADA]


async def test_asking_does_not_wait_but_begins_a_sample(entry: Entry) -> None:
    """If the last sample is old; so who asks again gets what is new, long before the next sample is due."""
    await entry.add(BOB)
    await entry.use(BOB)
    entry.watch(interval=3600)
    at = (await eventually(lambda: _known(entry)))[BOB]
    await entry.add(ADA)
    await entry.use(ADA)

    with pytest.raises(StopIteration) as returned:
        entry.activity.last_seen().__await__().send(None)
    assert returned.value.value == {BOB: at}
    assert await eventually(lambda: _known_of(entry, ADA)) > at


async def test_an_entry_point_that_does_not_answer_is_no_problem(
    entry: Entry, caplog: pytest.LogCaptureFixture
) -> None:
    """Traefik is being restarted; nothing is logged about that here."""
    caplog.set_level(logging.DEBUG)
    activity = entry.watch(url=f"http://127.0.0.1:{free_port()}")
    await _a_while()

    assert await activity.last_seen() == {}
    assert [record for record in caplog.records if record.name == "hub"] == []


def _logged(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "hub" and record.levelno == level]


def _refuse_netlink(patch: pytest.MonkeyPatch) -> None:
    """Forbid what asks the kernel, as the sandbox of a service may (systemd.exec(5), RestrictAddressFamilies)."""
    real = socket.socket

    def refuse(family: int = -1, *arguments: Any, **keywords: Any) -> socket.socket:
        if family == socket.AF_NETLINK:
            raise OSError(97, "Address family not supported by protocol")
        return real(family, *arguments, **keywords)

    patch.setattr(module, "_PATIENCE", 1)
    patch.setattr(socket, "socket", refuse)


async def test_that_nothing_is_known_is_said_once(
    entry: Entry, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the reason; and that it is known again, once it is. What was known before stays known."""
    caplog.set_level(logging.INFO)
    await entry.add(ADA)
    await entry.use(ADA)
    entry.watch()
    known = await eventually(lambda: _known(entry))
    with monkeypatch.context() as patch:
        _refuse_netlink(patch)
        await eventually(lambda: _logged(caplog, logging.WARNING))
        await entry.notice()
        assert await _known(entry) == known
    await eventually(lambda: "known again" in caplog.text)

    (warning,) = _logged(caplog, logging.WARNING)
    assert "the kernel cannot be asked about connections: Address family not supported by protocol." in warning
    assert "c.TraefikProxy.track_activity = False" in warning


async def test_a_traefik_that_does_not_answer_is_not_known_again(
    entry: Entry, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it is down, nothing can be said about it."""
    caplog.set_level(logging.INFO)
    entry.watch()
    with monkeypatch.context() as patch:
        _refuse_netlink(patch)
        await eventually(lambda: _logged(caplog, logging.WARNING))
        await entry.fall_silent()
        await _a_while()
    await _a_while()

    assert "known again" not in caplog.text


def _without_details(request: bytes) -> bytes:
    """Change a request so that it does not ask for tcp_info (sock_diag(7): idiag_ext)."""
    return request[:18] + b"\0" + request[19:]


async def test_a_kernel_that_says_too_little_is_noticed(
    entry: Entry, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before Linux 4.19, it did not tell how much was sent. Here it is not asked."""
    monkeypatch.setattr(module, "request_all", lambda family: _without_details(request_all(family)))
    await entry.add(ADA)
    await entry.use(ADA)
    entry.watch()

    await eventually(lambda: "Linux 4.19 or newer is needed." in caplog.text)
    assert await _known(entry) == {}


async def test_an_unexpected_error_does_not_end_it(
    entry: Entry, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is logged with its traceback, and the next sample may succeed."""

    def fail(_: bytes) -> None:
        raise ValueError("a broken message")

    await entry.add(ADA)
    await entry.use(ADA)
    with monkeypatch.context() as patch:
        patch.setattr(module, "read_sockets", fail)
        entry.watch()
        await eventually(lambda: "Looking at Traefik's connections failed unexpectedly" in caplog.text)

    assert list(await eventually(lambda: _known(entry))) == [ADA]


async def test_elsewhere_it_says_so_and_does_nothing(
    entry: Entry, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list of connections is a part of Linux."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(sys, "platform", "darwin")
    activity = entry.watch()
    assert entry.watching is not None
    await entry.watching

    assert await activity.last_seen() == {}
    assert _logged(caplog, logging.INFO) == [
        "When users were last seen is known on Linux only; their servers report it, too."
    ]


async def test_a_process_that_is_not_called_traefik_is_named(entry: Entry, caplog: pytest.LogCaptureFixture) -> None:
    """It may be another proxy, whose connections say nothing about users."""
    caplog.set_level(logging.INFO)
    entry.watch()
    await entry.notice()

    (line,) = _logged(caplog, logging.INFO)
    assert f"the connections of process {os.getpid()} ('" in line
    assert line.endswith(f"which answers at {entry.url.removeprefix('http://')}")


def test_names_are_looked_up_in_turn_and_not_too_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow name server delays a sample by a few seconds only, and each name gets its turn."""
    now = 1000.0
    asked: list[str] = []

    def look_up(name: str, *_: object, **__: object) -> list[Any]:
        nonlocal now
        now += 1.5
        asked.append(name)
        return [(socket.AF_INET, None, None, "", ("10.0.0.1", 0))]

    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    names = module._Names()
    wanted = {"a", "b", "c"}
    first = names.look_up(wanted)
    at_first = list(asked)
    second = names.look_up(wanted)
    now += 30
    third = names.look_up(wanted)
    now += 31
    names.look_up({"a"})

    assert len(at_first) == 2
    assert {name for name in wanted if first[name]} == set(at_first)
    assert second == third == {name: {b"\x0a\0\0\1"} for name in wanted}
    assert sorted(asked[:3]) == ["a", "b", "c"]
    assert asked[3:] == ["a"]
