"""The proxy's process, as far as it can be seen without one: what it tells its Hub, and what it writes."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import pytest_asyncio
from support.waiting import within

from traefik_toml_proxy.errors import ConfigurationError
from traefik_toml_proxy.inprocess.child import Child
from traefik_toml_proxy.inprocess.engine import Engine
from traefik_toml_proxy.inprocess.listeners import Place, open_places
from traefik_toml_proxy.inprocess.messages import MessageReader, encoded
from traefik_toml_proxy.inprocess.spawning import LastOutput
from traefik_toml_proxy.seams import Traffic


class Apart:
    """What a child does, and its Hub's end of the connection."""

    def __init__(self, child: Child, hub: socket.socket) -> None:
        self.child = child
        self.hub = hub


@pytest_asyncio.fixture
async def apart(tmp_path: Path) -> AsyncIterator[Apart]:
    """A child whose engine has served 30,000 routes."""
    before = logging.getLogger().handlers.copy()
    child = Child(tmp_path)
    seen = {f"/user/somebody-{number}/": float(number) for number in range(30_000)}
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
    logging.getLogger().handlers[:] = before


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
