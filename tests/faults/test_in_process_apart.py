"""InProcessProxy in a process of its own: either process is killed or frozen, and others come to its socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from support.apart_hub import ApartHub, app
from support.in_process import connect
from support.ports import free_port
from support.processes import MARK, alive, command_line, environment
from support.waiting import PATIENCE, eventually, meanwhile, within

from traefik_toml_proxy._version import __version__
from traefik_toml_proxy.conformance.backend import Backend, Exchange
from traefik_toml_proxy.conformance.client import Connection
from traefik_toml_proxy.errors import CommitFailed, ConfigurationError, StoreLocked
from traefik_toml_proxy.inprocess import apart, keeper, spawning
from traefik_toml_proxy.inprocess.handover import Listening
from traefik_toml_proxy.inprocess.messages import MessageReader, encoded
from traefik_toml_proxy.proxies.inprocess import InProcessProxy
from traefik_toml_proxy.publisher import RoutePublisher
from traefik_toml_proxy.routes import RouteTable
from traefik_toml_proxy.runtime.state_folder import StateFolder

pytestmark = pytest.mark.timeout(60)

UPGRADE = b"GET /user/ada/ HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


@pytest.fixture(autouse=True)
def marked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy's process is found if a test leaves it behind."""
    monkeypatch.setattr(spawning, "_KEPT_VARIABLES", (*spawning._KEPT_VARIABLES, *MARK))
    for name, value in MARK.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def traits(tmp_path: Path) -> dict[str, Any]:
    """Those that a Hub and the next one have, without JupyterHub's own."""
    url = f"http://127.0.0.1:{free_port()}"
    return {"where": "process", "public_url": url, "state_dir": str(tmp_path / "state"), "event_loop": "asyncio"}


@pytest_asyncio.fixture
async def proxies(traits: dict[str, Any], caplog: pytest.LogCaptureFixture) -> AsyncIterator[Any]:
    """Make the proxy of a Hub in this process; each is stopped at the end."""
    caplog.set_level(logging.INFO, "hub")
    made = []

    def make(**more: Any) -> InProcessProxy:
        proxy = InProcessProxy(**{"app": app(cleanup_proxy=True), **traits, **more}, log=logging.getLogger("hub"))
        made.append(proxy)
        return proxy

    yield make
    for proxy in made:
        await proxy.stop()


@pytest_asyncio.fixture
async def proxy(proxies: Any) -> InProcessProxy:
    """One that is started."""
    made: InProcessProxy = proxies()
    await made.start()
    return made


def pid_of(proxy: InProcessProxy) -> int:
    """Return the process of a proxy, by its record."""
    record = json.loads(Path(proxy.state_dir, "in-process.json").read_text())
    return int(record["identity"]["pid"])


async def status(proxy: InProcessProxy, path: str = "/user/ada/") -> int:
    """Ask once; a connection that is cut off is 0."""
    try:
        async with connect(proxy) as connection:
            return (await connection.request("GET", path)).status
    except (OSError, ValueError, EOFError):
        return 0


async def echo(exchange: Exchange) -> None:
    """Switch to a websocket that says back what it is told, or answer slowly."""
    if exchange.head.get("Upgrade") is None:
        await asyncio.sleep(0.5 if "slow" in exchange.target else 0)
        await exchange.reply(body=b"whole")
        return
    await exchange.send(b"HTTP/1.1 101 Yes\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    while data := await exchange.reader.read(1000):
        await exchange.send(data)
    exchange.last = True


@pytest_asyncio.fixture
async def ada() -> AsyncIterator[Backend]:
    """The server of a user."""
    async with Backend("ada", echo) as server:
        yield server


# The proxy's process.


async def test_one_that_is_killed_is_started_again_with_all_routes(
    proxy: InProcessProxy, ada: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody is refused meanwhile: new connections wait, because the Hub keeps the socket open."""
    paths = [f"/user/{number}/" for number in range(1200)]
    await asyncio.gather(*(proxy.add_route(path, ada.url, {}) for path in paths))
    first = pid_of(proxy)
    os.kill(first, signal.SIGKILL)
    await eventually(lambda: not alive(first))
    assert await within(20, status(proxy, paths[0])) == 200
    await within(20, proxy.add_route("/user/new/", ada.url, {}))

    assert [await status(proxy, path) for path in (paths[700], paths[-1], "/user/new/", "/nobody/")] == [200] * 3 + [
        404
    ]
    assert pid_of(proxy) != first
    assert f"The proxy's process {first}: it has ended (killed by SIGKILL); starting it again at once." in caplog.text
    await eventually(lambda: "has been started again" in caplog.text)
    assert proxy._session is not None
    assert len(await proxy.get_all_routes()) == 1201


@pytest.mark.parametrize("error", [OSError(12, "Cannot allocate memory"), RuntimeError("Cannot allocate memory")])
async def test_one_that_cannot_be_started_is_tried_again_after_growing_pauses(
    proxy: InProcessProxy,
    ada: Backend,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
) -> None:
    """As with a machine that has no memory left; or if the error is one that nobody has thought of."""
    await proxy.add_route("/user/ada/", ada.url, {})
    tries = 0
    spawn = spawning.spawn

    def fail_twice(*arguments: Any) -> Any:
        nonlocal tries
        tries += 1
        if tries <= 2:
            raise error
        return spawn(*arguments)

    monkeypatch.setattr(keeper, "spawn", fail_twice)
    monkeypatch.setattr(keeper, "_FIRST_PAUSE", 0.1)
    os.kill(pid_of(proxy), signal.SIGKILL)
    assert await within(20, status(proxy)) == 200
    assert tries == 3
    assert "Cannot allocate memory; trying again in 0.1 s" in caplog.text
    assert "Cannot allocate memory; trying again in 0.2 s" in caplog.text


async def test_one_that_is_frozen_fails_a_change_soon(
    proxy: InProcessProxy, ada: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an error that says so. When it goes on, it has the table that the Hub has, and later changes are made."""
    monkeypatch.setattr(apart, "ANSWER_SECONDS", 0.5)
    await proxy.add_route("/user/ada/", ada.url, {})
    pid = pid_of(proxy)
    os.kill(pid, signal.SIGSTOP)
    try:
        for name in ("eve", "bob"):
            began = time.monotonic()
            with pytest.raises(CommitFailed, match=f"the proxy's process {pid}: it has not answered for 0.5 s"):
                await proxy.add_route(f"/user/{name}/", ada.url, {})
            assert time.monotonic() - began < 5 * PATIENCE
        assert sorted(await within(20, proxy.get_all_routes())) == ["/user/ada/"]
    finally:
        os.kill(pid, signal.SIGCONT)

    monkeypatch.setattr(apart, "ANSWER_SECONDS", 10)
    await within(20, proxy.add_route("/user/new/", ada.url, {}))
    assert [await status(proxy, f"/user/{name}/") for name in ("ada", "new", "eve", "bob")] == [200, 200, 404, 404]
    assert pid_of(proxy) == pid


async def test_a_change_that_it_dies_of_is_made_by_the_next_one(proxy: InProcessProxy, ada: Backend) -> None:
    """Nobody has acknowledged it, so it is told once more, with all routes."""
    await proxy.add_route("/user/ada/", ada.url, {})
    assert proxy._session is not None
    publisher = proxy._session.publisher
    pid = pid_of(proxy)
    os.kill(pid, signal.SIGSTOP)
    adding = asyncio.ensure_future(proxy.add_route("/user/eve/", ada.url, {}))
    await eventually(lambda: publisher.is_committing or adding.done())
    os.kill(pid, signal.SIGKILL)
    await within(20, adding)

    assert [await status(proxy, f"/user/{name}/") for name in ("ada", "eve", "bob")] == [200, 200, 404]
    assert pid_of(proxy) != pid


async def test_a_route_that_was_deleted_late_leaves_no_activity(
    proxy: InProcessProxy, ada: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server of the same name is another one."""
    await proxy.add_route("/user/ada/", ada.url, {})
    assert await status(proxy) == 200
    assert "last_activity" in (await proxy.get_all_routes())["/user/ada/"]["data"]
    pid = pid_of(proxy)
    os.kill(pid, signal.SIGSTOP)
    monkeypatch.setattr(apart, "ANSWER_SECONDS", 0.2)
    with pytest.raises(CommitFailed):
        await proxy.delete_route("/user/ada/")
    monkeypatch.setattr(apart, "ANSWER_SECONDS", 10)
    os.kill(pid, signal.SIGCONT)
    await within(20, proxy.delete_route("/user/ada/"))
    await proxy.add_route("/user/ada/", ada.url, {})

    assert "last_activity" not in (await proxy.get_all_routes())["/user/ada/"]["data"]


async def test_a_change_that_came_late_is_taken_back(
    proxy: InProcessProxy, ada: Backend, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without another change: the Hub said that it has failed, so it must not be served for long."""
    monkeypatch.setattr(apart, "ANSWER_SECONDS", 0.2)
    pid = pid_of(proxy)
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(CommitFailed):
        await proxy.add_route("/user/ada/", ada.url, {})
    os.kill(pid, signal.SIGCONT)
    monkeypatch.setattr(apart, "ANSWER_SECONDS", 10)

    async def is_gone() -> bool:
        return await status(proxy) != 200

    await eventually(lambda: "is as it should be again" in caplog.text)
    assert await is_gone()


async def test_one_that_stays_frozen_is_replaced(
    proxy: InProcessProxy, ada: Backend, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its users have waited for long enough."""
    await proxy.add_route("/user/ada/", ada.url, {})
    monkeypatch.setattr(keeper, "_SILENT_SECONDS", 1.0)
    monkeypatch.setattr(keeper, "_LOOK_INTERVAL", 0.1)
    pid = pid_of(proxy)
    os.kill(pid, signal.SIGSTOP)

    assert await within(40, status(proxy)) == 200
    assert not alive(pid)
    assert f"The proxy's process {pid}: it has not answered for " in caplog.text


async def test_it_ends_with_its_hub(traits: dict[str, Any], ada: Backend, proxies: Any) -> None:
    """If that is killed, with the answers that are under way; and the next Hub can start at once."""
    hub = await ApartHub.started(traits, {"/user/ada/": ada.url}, cleanup_proxy=True)
    async with Connection(traits["public_url"]) as connection:
        await connection.send(b"GET /user/ada/slow HTTP/1.1\r\nHost: h\r\n\r\n")
        await eventually(lambda: ada.exchanges)
        await hub.kill()
        assert (await within(20, connection.response())).body == b"whole"
    proxy = proxies()
    await proxy.start()

    assert not alive(hub.proxy)
    assert await proxy.get_all_routes() == {}
    await proxy.add_route("/user/ada/", ada.url, {})
    assert await status(proxy) == 200


@pytest.mark.parametrize("stays", [True, False])
async def test_a_hub_may_be_told_at_the_end_whether_its_proxy_stays(
    traits: dict[str, Any], ada: Backend, proxies: Any, *, stays: bool
) -> None:
    """JupyterHub's API does that: POST /hub/api/shutdown with ``proxy``. The process knows it, however it was started."""
    hub = await ApartHub.started(traits, {"/user/ada/": ada.url}, cleanup_proxy=stays, at_the_end=not stays)
    await hub.ended()
    if stays:
        proxy = proxies()
        await proxy.start()
        assert pid_of(proxy) == hub.proxy
        assert await status(proxy) == 200
    else:
        await eventually(lambda: not alive(hub.proxy))


# The Hub.


async def test_users_do_not_notice_that_the_hub_is_killed(traits: dict[str, Any], ada: Backend, proxies: Any) -> None:
    """Requests, an answer under way, and a websocket, until the next Hub has changed a route, and beyond."""
    hub = await ApartHub.started(traits, {"/user/ada/": ada.url})
    answers: list[int] = []
    proxy = proxies()

    async def ask() -> None:
        while True:
            answers.append(await status(proxy))

    async with Connection(traits["public_url"]) as websocket, connect(proxy) as slow:
        await websocket.send(UPGRADE)
        await within(20, websocket.head())
        await slow.send(b"GET /user/ada/slow HTTP/1.1\r\nHost: h\r\n\r\n")
        async with meanwhile(ask(), ask()):
            await eventually(lambda: len(answers) > 20)
            await hub.kill()
            asked = len(answers)
            await eventually(lambda: len(answers) > asked + 20)
            await proxy.start()
            await proxy.add_route("/user/bob/", ada.url, {})
            asked = len(answers)
            await eventually(lambda: len(answers) > asked + 20)
        assert (await within(20, slow.response())).body == b"whole"
        await websocket.send(b"still there?")
        assert await within(20, websocket.reader.readexactly(12)) == b"still there?"

    assert pid_of(proxy) == hub.proxy
    assert set(answers) == {200}
    routes = await proxy.get_all_routes()
    assert sorted(routes) == ["/user/ada/", "/user/bob/"]
    assert "last_activity" in routes["/user/ada/"]["data"]
    await proxy.stop()
    assert not alive(hub.proxy)


async def test_one_that_was_taken_over_is_started_again_when_it_dies(
    traits: dict[str, Any], ada: Backend, proxies: Any
) -> None:
    """The next Hub has to open the port anew."""
    hub = await ApartHub.started(traits, {"/user/ada/": ada.url})
    await hub.kill()
    proxy = proxies()
    await proxy.start()
    os.kill(hub.proxy, signal.SIGKILL)

    async def is_served() -> bool:
        return await status(proxy) == 200

    await eventually(is_served)


@pytest.mark.parametrize(
    ("changed", "version"),
    [({"most_connections": 77}, ""), ({"event_loop": "uvloop"}, ""), ({}, "99.9")],
    ids=["limit", "event loop", "version"],
)
async def test_one_with_other_settings_is_ended(
    traits: dict[str, Any],
    ada: Backend,
    proxies: Any,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    changed: dict[str, Any],
    version: str,
) -> None:
    """And one of another version, which may speak otherwise. The log says so."""
    hub = await ApartHub.started(traits, {"/user/ada/": ada.url})
    await hub.kill()
    monkeypatch.setattr(keeper, "__version__", version or __version__)
    proxy = proxies(**changed)
    await proxy.start()

    assert not alive(hub.proxy)
    assert "the settings, this package or Python have changed" in caplog.text
    assert await proxy.get_all_routes() == {}
    await proxy.add_route("/user/bob/", ada.url, {})
    assert await status(proxy, "/user/bob/") == 200


async def test_a_setting_that_changes_nothing_ends_nothing(
    traits: dict[str, Any], ada: Backend, proxies: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Such as one that is set to its default."""
    hub = await ApartHub.started(traits, {"/user/ada/": ada.url})
    await hub.kill()
    proxy = proxies(redirect_http="", trusted_proxies=[])
    await proxy.start()

    assert pid_of(proxy) == hub.proxy
    assert "Ending" not in caplog.text


async def test_one_that_does_not_answer_the_next_hub_is_replaced(
    traits: dict[str, Any],
    ada: Backend,
    proxies: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """After some seconds, and the log says why its users are cut off."""
    monkeypatch.setattr(keeper, "ANSWER_SECONDS", 1.0)
    monkeypatch.setattr(keeper, "_END_SECONDS", 0.2)
    hub = await ApartHub.started(traits, {"/user/ada/": ada.url})
    await hub.kill()
    os.kill(hub.proxy, signal.SIGSTOP)
    proxy = proxies()
    await within(40, proxy.start())

    assert not alive(hub.proxy)
    assert (
        f"Ending the proxy's process of the last Hub (process {hub.proxy}): it has not answered for 1 s" in caplog.text
    )
    await proxy.add_route("/user/bob/", ada.url, {})
    assert await status(proxy, "/user/bob/") == 200


async def test_one_that_answers_the_next_hub_late_is_taken_over(
    traits: dict[str, Any], ada: Backend, proxies: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a machine that is very busy at that moment."""
    hub = await ApartHub.started(traits, {"/user/ada/": ada.url})
    os.kill(hub.proxy, signal.SIGSTOP)
    await hub.kill()
    proxy = proxies()
    came = asyncio.Event()
    come_to_door = spawning.come_to_door

    def come(folder: Path, pid: int, seconds: float) -> tuple[socket.socket, list[Listening]]:
        proxy_loop.call_soon_threadsafe(came.set)
        return come_to_door(folder, pid, seconds)

    proxy_loop = asyncio.get_running_loop()
    monkeypatch.setattr(keeper, "come_to_door", come)
    starting = asyncio.ensure_future(proxy.start())
    await within(20, came.wait())
    await asyncio.sleep(0.5)  # for how long it is too busy to answer
    os.kill(hub.proxy, signal.SIGCONT)
    await within(40, starting)

    assert pid_of(proxy) == hub.proxy
    assert await status(proxy) == 200


async def test_a_hub_that_is_killed_before_its_proxy_listens_leaves_nothing(
    traits: dict[str, Any], ada: Backend, proxies: Any
) -> None:
    """The next Hub would take over what nobody can connect to."""
    hub = await ApartHub.started(traits, {}, never_listens=True)
    await hub.kill()
    proxy = proxies()
    await proxy.start()
    await proxy.add_route("/user/ada/", ada.url, {})

    assert await within(20, status(proxy)) == 200
    assert not alive(hub.proxy)


async def test_a_hub_that_is_frozen_stops_nobody(traits: dict[str, Any], ada: Backend) -> None:
    """Not even when there is much to be told to it: what it does not take is dropped."""
    hub = await ApartHub.started(traits, {"/user/ada/": ada.url, "/user/dead/": f"http://127.0.0.1:{free_port()}"})
    os.kill(hub.pid, signal.SIGSTOP)
    try:
        async with Connection(traits["public_url"]) as connection:
            before = memory(hub.proxy)
            for _ in range(2000):
                assert (await within(20, connection.request("GET", "/user/dead/" + "x" * 4000))).status == 503
            assert (await within(20, connection.request("GET", "/user/ada/"))).status == 200
        assert memory(hub.proxy) - before < 4 * 2**20
    finally:
        os.kill(hub.pid, signal.SIGCONT)
        await hub.kill()
        os.kill(hub.proxy, signal.SIGTERM)
    await eventually(lambda: not alive(hub.proxy))


def memory(pid: int) -> int:
    """Return the memory that a process has, in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def test_two_hubs_do_not_share_one(proxy: InProcessProxy, proxies: Any) -> None:
    """The folder is locked, so the one that runs is not taken away from its Hub."""
    other = proxies(public_url=f"http://127.0.0.1:{free_port()}")
    with pytest.raises(StoreLocked, match="give this Hub its own state_dir"):
        await other.start()
    assert alive(pid_of(proxy))


# Others at its socket.


def door_of(proxy_folder: str) -> socket.socket:
    """Connect to the socket for the next Hub; its path may be too long. What the process sends first is dropped."""
    descriptor = os.open(proxy_folder, os.O_PATH)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(10 * PATIENCE)
    try:
        connection.connect(f"/proc/self/fd/{descriptor}/in-process.sock")
        with contextlib.suppress(ConnectionResetError):
            connection.recv(4096)
    except BaseException:
        connection.close()
        raise
    finally:
        os.close(descriptor)
    return connection


@pytest.fixture
def strangers(traits: dict[str, Any]) -> Iterator[Any]:
    """Connect to the socket for the next Hub; closed at the end."""
    with contextlib.ExitStack() as stack:
        yield lambda: stack.enter_context(door_of(traits["state_dir"]))


HOSTILE = [
    b"",
    b"GET / HTTP/1.1\r\n\r\n",
    b"\xff\xff\xff\xff" * 1000,
    encoded({"end": True}),
    encoded({"take": True})[:-1],
    encoded({"stay": False}),
    (2**24).to_bytes(4, "big") + b"{" * 1000,
    encoded({"changes": None, "routes": [["/", "http://127.0.0.1:1", "{}", "/"]]}) + encoded({"commit": 99}),
]


@pytest.mark.parametrize("while_there", [True, False], ids=["with a Hub", "without one"])
async def test_nobody_is_heard_but_the_hub(
    traits: dict[str, Any], ada: Backend, proxies: Any, strangers: Any, *, while_there: bool
) -> None:
    """What is not the beginning of a takeover does nothing, and neither does one while there is a Hub."""
    hub = await ApartHub.started(traits, {"/user/ada/": ada.url})
    if not while_there:
        await hub.kill()
    if while_there:
        other = strangers()
        other.sendall(encoded({"take": True, "asks": 1}))
        assert list(MessageReader().feed(await asyncio.to_thread(other.recv, 100))) == [{"busy": True, "answers": 1}]
    for text in HOSTILE:
        strangers().sendall(text)
    silent = [strangers() for _ in range(20)]  # more than it listens to at the same time, so they must be turned away
    proxy = proxies()
    assert await status(proxy) == 200
    await hub.kill()
    await within(40, proxy.start())
    assert len(silent) == 20

    assert pid_of(proxy) == hub.proxy
    assert sorted(await proxy.get_all_routes()) == ["/user/ada/"]
    assert await status(proxy) == 200


async def test_a_takeover_that_ends_in_the_middle_harms_nobody(
    traits: dict[str, Any], ada: Backend, proxies: Any, strangers: Any
) -> None:
    """As when the next Hub is killed, too: half of a change is not made, and another Hub can come."""
    hub = await ApartHub.started(traits, {"/user/ada/": ada.url})
    await hub.kill()
    half = strangers()
    half.sendall(encoded({"take": True, "asks": 1}))
    assert half.recv(100)
    half.sendall(
        encoded({"changes": 0})
        + encoded({"changes": None, "routes": [["/user/eve/", ada.url, "{}", "/user/eve/"]]})
        + encoded({"commit": 7})[:-3]
    )
    half.close()
    proxy = proxies()
    await proxy.start()

    assert pid_of(proxy) == hub.proxy
    assert [await status(proxy, f"/user/{name}/") for name in ("ada", "eve")] == [200, 404]


@pytest.mark.parametrize(
    ("pieces", "commit", "error"),
    [
        ([{"routes": [["/user/eve/"]]}], {"changed": 1}, "told of 0 changes, not 1"),
        ([{"deleted": ["/user/ada/"]}], {"changed": 2}, "told of 1 changes, not 2"),
        ([{"deleted": ["/user/ada/"]}, {"changes": 1}], {"changed": 1}, "it serves revision"),
    ],
    ids=["a piece that is broken", "a piece too few", "for another revision"],
)
async def test_what_is_not_a_whole_change_is_not_made(
    traits: dict[str, Any],
    ada: Backend,
    proxies: Any,
    strangers: Any,
    pieces: list[dict[str, Any]],
    commit: dict[str, Any],
    error: str,
) -> None:
    """And whoever has asked for it is told so."""
    hub = await ApartHub.started(traits, {"/user/ada/": ada.url})
    await hub.kill()
    other = strangers()
    base: list[dict[str, Any]] = [{"changes": 0}]
    for message in [
        {"take": True},
        *base,
        *({"changes": None, **piece} for piece in pieces),
        {"commit": 99, **commit, "asks": 5},
    ]:
        other.sendall(encoded(message))
    reader, answers = MessageReader(), list[dict[str, Any]]()
    while not answers:
        answers = [one for one in reader.feed(await asyncio.to_thread(other.recv, 10_000)) if one.get("answers") == 5]
    other.close()

    assert error in answers[0]["error"]
    proxy = proxies()
    await proxy.start()
    assert pid_of(proxy) == hub.proxy
    assert sorted(await proxy.get_all_routes()) == ["/user/ada/"]
    assert await status(proxy) == 200


async def test_one_that_is_about_to_end_is_not_taken_over(traits: dict[str, Any], ada: Backend, strangers: Any) -> None:
    """Its Hub has ended, and answers are under way: not even whoever was at its socket before."""
    hub = await ApartHub.started(traits, {"/user/ada/": ada.url}, cleanup_proxy=True)
    other = strangers()
    async with Connection(traits["public_url"]) as connection:
        await connection.send(b"GET /user/ada/slow HTTP/1.1\r\nHost: h\r\n\r\n")
        await eventually(lambda: ada.exchanges)
        await hub.kill()
        await eventually(lambda: not is_listening(traits["state_dir"]))
        with contextlib.suppress(BrokenPipeError):
            other.sendall(encoded({"take": True, "asks": 1}))
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.to_thread(other.recv, 100) == b""
        assert (await within(20, connection.response())).body == b"whole"


def is_listening(state_dir: str) -> bool:
    """Whether the socket for the next Hub can be connected to."""
    try:
        door_of(state_dir).close()
    except OSError:
        return False
    return True


async def test_an_impostor_is_not_taken_over(
    traits: dict[str, Any],
    ada: Backend,
    proxies: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whoever listens at the socket must be the process in the record: it will be given keys."""
    monkeypatch.setattr(keeper, "_TAKE_SECONDS", 0.5)
    hub = await ApartHub.started(traits, {"/user/ada/": ada.url})
    await hub.kill()
    door = Path(traits["state_dir"], "in-process.sock")
    door.unlink()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as impostor:
        descriptor = os.open(traits["state_dir"], os.O_PATH)
        impostor.bind(f"/proc/self/fd/{descriptor}/in-process.sock")
        os.close(descriptor)
        impostor.listen()
        impostor.settimeout(5)
        proxy = proxies()
        await within(40, proxy.start())
        visitor, _ = await asyncio.to_thread(impostor.accept)
        with visitor:
            assert await asyncio.to_thread(visitor.recv, 100) == b""

    assert f"(process {hub.proxy}): it cannot be taken over (another process listens there)" in caplog.text
    assert not alive(hub.proxy)
    assert await proxy.get_all_routes() == {}
    assert door.is_socket()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
async def test_another_user_is_turned_away(traits: dict[str, Any], ada: Backend, proxies: Any) -> None:
    """Even if somebody has opened the folder and the socket."""
    hub = await ApartHub.started(traits, {"/user/ada/": ada.url})
    await hub.kill()
    folder = Path(traits["state_dir"])
    for path in (folder, folder / "in-process.sock", *folder.parents[:3]):
        path.chmod(path.stat().st_mode | 0o077)
    message = encoded({"take": True, "asks": 1})
    script = f"""
import os, socket, sys
folder = os.open({str(folder)!r}, os.O_PATH)
os.setuid(65534)
with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
    s.settimeout(10)
    s.connect(f"/proc/self/fd/{{folder}}/in-process.sock")
    try:
        s.sendall({message!r})
        print(s.recv(100))
    except (BrokenPipeError, ConnectionResetError):
        print(b"")
"""
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.returncode) == ("b''\n", 0), done.stderr
    folder.chmod(0o700)
    proxy = proxies()
    await proxy.start()
    assert pid_of(proxy) == hub.proxy


async def test_it_is_given_no_secret_that_others_can_see(
    proxies: Any, ada: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither in its arguments nor in its environment, and its files are for its user only."""
    monkeypatch.setenv("CONFIGPROXY_AUTH_TOKEN", "swordfish")
    monkeypatch.setenv("JUPYTERHUB_CRYPT_KEY", "swordfish")
    proxy = proxies()
    await proxy.start()
    await proxy.add_route("/user/ada/", ada.url, {"user": "ada"})

    seen = [*command_line(pid_of(proxy)), *environment(pid_of(proxy)), *environment(pid_of(proxy)).values()]
    assert not any("swordfish" in text or "/user/ada" in text or "TOKEN" in text for text in seen)
    folder = Path(proxy.state_dir)
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in (folder, *folder.iterdir())}
    assert modes == {
        "state": "0o700",
        "hub.lock": "0o600",
        "in-process.json": "0o600",
        "in-process.sock": "0o600",
    }
    await proxy.stop()
    assert sorted(path.name for path in folder.iterdir()) == ["hub.lock"]


# Files that are lost, and settings that are wrong.


async def test_it_is_started_again_without_its_folder(
    monkeypatch: pytest.MonkeyPatch,
    traits: dict[str, Any],
    ada: Backend,
    proxies: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The folder is for the next Hub only. It is made again, and that Hub can take the process over."""
    may_repair, repair = asyncio.Event(), StateFolder.repair

    async def repair_later(self: StateFolder) -> None:
        await may_repair.wait()
        await repair(self)

    monkeypatch.setattr(StateFolder, "repair", repair_later)
    monkeypatch.setattr(apart, "_FILES_INTERVAL", 0.1)
    proxy = proxies()
    await proxy.start()
    await proxy.add_route("/user/ada/", ada.url, {})
    shutil.rmtree(traits["state_dir"])
    monkeypatch.setattr("tempfile.tempdir", traits["state_dir"])  # nor has it another folder
    pid = proxy._session.publisher._store._keeper.pid
    os.kill(pid, signal.SIGKILL)
    await eventually(lambda: not alive(pid))
    assert await within(20, status(proxy)) == 200
    await within(20, proxy.add_route("/user/bob/", ada.url, {}))
    assert f"{traits['state_dir']}/in-process.sock cannot be opened (No such file or directory)" in caplog.text

    may_repair.set()
    names = {"hub.lock", "in-process.json", "in-process.sock"}
    await eventually(lambda: {path.name for path in Path(traits["state_dir"]).glob("*")} == names)
    with door_of(traits["state_dir"]):
        assert alive(pid_of(proxy))


async def test_one_that_dies_while_it_is_taken_over_is_replaced(
    traits: dict[str, Any],
    ada: Backend,
    proxies: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With the routes that it has had: until the Hub has started, nobody else starts one again."""
    hub = await ApartHub.started(traits, {"/user/ada/": ada.url})
    await hub.kill()
    begin = RoutePublisher.begin

    async def die_first(self: RoutePublisher, table: RouteTable) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(hub.proxy, signal.SIGKILL)
        await begin(self, table)

    monkeypatch.setattr(RoutePublisher, "begin", die_first)
    monkeypatch.setattr(apart, "ANSWER_SECONDS", 2 * PATIENCE)
    proxy = proxies()
    await within(40, proxy.start())

    assert await status(proxy) == 200
    assert "Taking over the proxy's process of the last Hub" in caplog.text


async def test_one_in_a_thread_takes_the_place_of_one_in_a_process(
    traits: dict[str, Any], ada: Backend, proxies: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """It would go on to listen at the port, with the routes of the last Hub."""
    hub = await ApartHub.started(traits, {"/user/ada/": ada.url})
    await hub.kill()
    proxy = proxies(where="thread")
    await proxy.start()

    assert not alive(hub.proxy)
    assert f"Ending the proxy's process of the last Hub (process {hub.proxy}): c.InProcessProxy.where" in caplog.text
    assert await status(proxy) == 503


async def test_one_in_a_thread_leaves_another_hubs_process_alone(proxy: InProcessProxy, proxies: Any) -> None:
    """Which may run in the same folder, at another port."""
    other = proxies(where="thread", public_url=f"http://127.0.0.1:{free_port()}")
    await other.start()

    assert alive(pid_of(proxy))


async def test_wrong_settings_end_nothing(
    traits: dict[str, Any], ada: Backend, proxies: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An address that another program has, which the error names, and an event loop that is not installed."""
    hub = await ApartHub.started(traits, {"/user/ada/": ada.url})
    await hub.kill()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        proxy = proxies(public_url=f"http://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(ConfigurationError, match=rf"Another program listens there \(.*, process {os.getpid()}\)"):
            await proxy.start()
    monkeypatch.setitem(sys.modules, "uvloop", None)
    with pytest.raises(ConfigurationError, match="uvloop"):
        await proxies(event_loop="uvloop").start()
    monkeypatch.undo()

    assert alive(hub.proxy)
    last = proxies()
    await last.start()
    assert pid_of(last) == hub.proxy
    assert await status(last) == 200


async def test_without_the_lock_two_hubs_do_not_share_one_either(
    proxy: InProcessProxy, proxies: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Something may delete old files in the folder."""
    Path(proxy.state_dir, "hub.lock").unlink()
    monkeypatch.setattr(keeper, "_TAKE_SECONDS", 0.5)
    pid = pid_of(proxy)
    with pytest.raises(StoreLocked, match=f"the Hub of the proxy's process {pid}"):
        await proxies().start()

    assert alive(pid)
    assert await status(proxy) == 503
