"""The proxy's process, as far as it can be seen without one: what it tells its Hub, and what it writes."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import pytest_asyncio
from support.waiting import PATIENCE, eventually, within

from traefik_toml_proxy.errors import ConfigurationError
from traefik_toml_proxy.inprocess import child as child_module
from traefik_toml_proxy.inprocess.child import DOOR, Child
from traefik_toml_proxy.inprocess.engine import Engine
from traefik_toml_proxy.inprocess.listeners import Place, open_places, open_unix
from traefik_toml_proxy.inprocess.messages import MessageReader, encoded
from traefik_toml_proxy.inprocess.spawning import LastOutput
from traefik_toml_proxy.seams import Traffic


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """A child has all that is logged."""
    before = logging.getLogger().handlers.copy()
    yield
    logging.getLogger().handlers[:] = before


class Apart:
    """What a child does, and its Hub's end of the connection."""

    def __init__(self, child: Child, hub: socket.socket) -> None:
        self.child = child
        self.hub = hub


@pytest_asyncio.fixture
async def apart(tmp_path: Path) -> AsyncIterator[Apart]:
    """A child whose engine has served 30,000 routes."""
    child = Child(tmp_path)
    seen = {f"/user/somebody-{number}/": float(number) for number in range(1, 30_001)}
    child._engine = cast("Engine", SimpleNamespace(seen=seen, traffic=lambda: Traffic({}, 0, 0), revision=1))
    hub, there = socket.socketpair()
    hub.setblocking(False)
    await child.meet(there)
    working = asyncio.ensure_future(child.work())
    yield Apart(child, hub)
    working.cancel()
    await asyncio.wait([working])
    hub.close()
    await within(5, child.ended.wait())


async def test_the_answer_comes_after_all_that_was_asked_for(apart: Apart) -> None:
    """However much it is: the Hub may be about to stop the servers that nobody uses."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(apart.hub, encoded({"look": True, "asks": 1}))
    reader, seen = MessageReader(), dict[str, float]()
    found: list[dict[str, Any]] = [{}]
    while "answers" not in found[-1]:
        found += reader.feed(await within(10, loop.sock_recv(apart.hub, 65_536)))
    for message in found:
        seen.update(message.get("seen", {}))

    assert len(seen) == 30_000
    assert found[-1] == {"answers": 1}


def knock(folder: Path) -> socket.socket:
    """Connect to the socket for the next Hub."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(5 * PATIENCE)
    descriptor = os.open(folder, os.O_PATH)
    connection.connect(f"/proc/self/fd/{descriptor}/{DOOR}")  # the path may be too long
    os.close(descriptor)
    return connection


async def test_whoever_comes_while_it_ends_is_turned_away_at_once(tmp_path: Path) -> None:
    """And does not wait until the last answer has been sent."""
    child = Child(tmp_path)
    hub, there = socket.socketpair()
    running = asyncio.ensure_future(child.run(there))
    await eventually(lambda: (tmp_path / DOOR).exists())
    with hub, knock(tmp_path) as other:
        child.ended.set()
        await within(5, running)
        with pytest.raises(ConnectionResetError):
            other.recv(1)


class Full(socket.socket):
    """A socket whose process has no descriptor left at first."""

    is_full = True

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept at the second attempt."""
        if self.is_full:
            self.is_full = False
            raise OSError(errno.EMFILE, "Too many open files")
        return super().accept()


@pytest.mark.parametrize("comes_again", [False, True], ids=["the same socket", "a new socket meanwhile"])
async def test_without_a_descriptor_the_next_hub_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, comes_again: bool
) -> None:
    """Until there is one, without keeping the processor busy."""
    monkeypatch.setattr(child_module, "_PAUSE", 0.05)
    child = Child(tmp_path)
    made = list[Full]()

    def open_full(path: Path, mode: int) -> socket.socket:
        made.append(Full(fileno=open_unix(path, mode).detach()))
        made[-1].setblocking(False)
        return made[-1]

    monkeypatch.setattr(child_module, "open_unix", open_full)
    watch, watched = child._watch_door, list[socket.socket]()

    def note(door: socket.socket) -> None:
        watched.append(door)
        watch(door)

    monkeypatch.setattr(child, "_watch_door", note)
    await child.open_door()
    with knock(tmp_path) as other:
        await eventually(lambda: not made[0].is_full)
        if comes_again:
            await child.open_door()
            made[1].is_full = False
            other.close()
            with knock(tmp_path) as again:
                assert await asyncio.to_thread(again.recv, 100) == b"[]"
            await eventually(lambda: watched == [made[0], made[1], made[0]])
        else:
            assert await asyncio.to_thread(other.recv, 100) == b"[]"
    child._close_door()
    await eventually(lambda: not child._asking)


def test_all_sockets_are_opened_or_none() -> None:
    """What is tried again later must not go on with half of them."""
    with socket.socket() as taken, socket.socket() as free:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        places = [(Place("127.0.0.1", port), True, None), (Place("127.0.0.1", taken.getsockname()[1]), False, 443)]
        with pytest.raises(ConfigurationError, match="Another program listens there"):
            open_places(places)
        (one, is_tls, redirected), *rest = open_places(places[:1])
        with one:
            assert (one.getsockname()[1], is_tls, redirected, rest) == (port, True, None, [])


def test_what_it_has_written_last_is_printable() -> None:
    """It may have come from users, and an admin may look at it in a terminal."""
    output = LastOutput()
    assert output.words() == ""
    output.renew()
    os.write(output.fileno(), b"x" * 5000 + "\nüber\x1b[31m\r\nend".encode())
    text = output.words()
    output.close()

    assert text.endswith("xxx\n\\xfcber\\x1b[31m\\r\nend")
    assert len(text) < 2100
    assert output.words() == ""
