"""Clients: who gives way where there is no room for more, and what an admin is told of it."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from traefik_toml_proxy.inprocess import limits
from traefik_toml_proxy.inprocess.client import ClientConnection
from traefik_toml_proxy.inprocess.clients import Clients


class FakeClient:
    """A connection that waits for a request, or not."""

    def __init__(self, *, waited: float = 0.0, waits: bool = True, patience: float = limits.IDLE_SECONDS) -> None:
        self.deadline = asyncio.get_running_loop().time() - waited + patience
        self.waits_for_request = waits
        self.may_leave = True
        self.is_tunnel = False
        self.is_closed = False

    @property
    def is_idle(self) -> bool:
        """Those here have not begun a request."""
        return self.waits_for_request

    def close(self) -> None:
        """See ClientConnection."""
        self.is_closed = True


class Crowd:
    """Clients, and what was logged of them."""

    def __init__(self, most: int) -> None:
        self.logged: list[str] = []
        self.clients = Clients(most, self.logged.append)

    def add(self, client: FakeClient) -> bool:
        """Have a client come, and be connected if there is room; return whether there is."""
        one = cast("ClientConnection", client)
        is_admitted = self.clients.admit(one, client.close)
        if is_admitted:
            self.clients.remember(one)
        return is_admitted

    def begin_handshake(self, client: FakeClient) -> bool:
        """Have a client come whose handshake goes on."""
        return self.clients.admit(cast("ClientConnection", client), client.close)


async def test_those_that_have_waited_longest_give_way() -> None:
    """A part of all, so that not each new connection needs a look at thousands."""
    most = 6400
    crowd = Crowd(most)
    others = [FakeClient(waited=100 - number / most) for number in range(most)]
    assert all(map(crowd.add, others))
    assert not any(other.is_closed for other in others)

    assert crowd.add(FakeClient())
    assert [other.is_closed for other in others] == [True] * 100 + [False] * (most - 100)
    assert len(crowd.clients.connected) == most - 100 + 1


@pytest.mark.parametrize(
    ("patience", "waited"), [(limits.IDLE_SECONDS, 9), (limits.IDLE_SECONDS, 0), (limits.HEAD_SECONDS, 0)]
)
async def test_nobody_gives_way_who_has_asked_or_has_only_just_come(patience: float, waited: float) -> None:
    """Neither after an answer: then, new ones are turned away. But whoever has waited for longer gives way."""
    crowd = Crowd(2)
    asking, recent = FakeClient(waited=100, waits=False), FakeClient(waited=waited, patience=patience)
    assert crowd.add(asking)
    assert crowd.add(recent)
    assert not crowd.add(FakeClient())
    crowd.clients._looks_at = 0.0
    recent.deadline -= 2

    assert crowd.add(FakeClient()) == recent.is_closed == (waited != 0 or patience == limits.HEAD_SECONDS)
    assert not asking.is_closed


async def test_a_handshake_that_takes_long_gives_way() -> None:
    """Or whoever never ends one could keep others out. It counts once."""
    crowd = Crowd(2)
    silent = [FakeClient(waited=2, patience=limits.HEAD_SECONDS) for _ in range(2)]
    assert all(map(crowd.begin_handshake, silent))
    late = FakeClient()
    assert crowd.add(late)
    assert [client.is_closed for client in silent] == [True, True]
    for client in silent:
        crowd.clients.give_up(cast("ClientConnection", client))
    assert crowd.clients.connected == {cast("ClientConnection", late)}
    assert crowd.add(FakeClient())


async def test_it_looks_once_a_second_if_there_was_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look at thousands takes some time: otherwise each one who is turned away would cost that."""
    crowd = Crowd(1)
    first = FakeClient(waited=50, waits=False)
    assert crowd.add(first)
    assert not crowd.add(FakeClient())
    first.waits_for_request = True
    assert not crowd.add(FakeClient())

    loop = asyncio.get_running_loop()
    now = loop.time()
    monkeypatch.setattr(loop, "time", lambda: now + 1.1)
    assert crowd.add(FakeClient())
    assert first.is_closed


async def test_the_log_says_how_many_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing as long as there is room."""
    crowd = Crowd(2)
    crowd.clients.report()
    for waits in (True, False):
        assert crowd.add(FakeClient(waited=20, waits=waits))
    crowd.clients.report()
    assert crowd.logged == []
    assert crowd.add(FakeClient(waits=False))
    assert not crowd.add(FakeClient())
    crowd.clients.report()
    [line] = crowd.logged
    assert line.startswith(
        "There is no room for more: 2 connections from clients are open, of at most 2. 1 that were idle"
    )
    assert "and 1 new ones were turned away" in line
    assert "LimitNOFILE=" in line

    loop = asyncio.get_running_loop()
    now = loop.time()
    assert not crowd.add(FakeClient())
    monkeypatch.setattr(loop, "time", lambda: now + 59)
    crowd.clients.report()
    assert len(crowd.logged) == 1
    crowd.clients.on_accept_failed("Too many open files")
    monkeypatch.setattr(loop, "time", lambda: now + 61)
    crowd.clients.report()
    crowd.clients.report()
    assert len(crowd.logged) == 2
    assert crowd.logged[1].startswith("No connection could be accepted (Too many open files): 2 connections")


async def test_nobody_gives_way_whose_request_has_come_or_whose_answer_is_on_its_way() -> None:
    """The loop may have been busy: then it accepts new connections before it reads what has come over others."""
    crowd = Crowd(1)
    asking = FakeClient(waited=100)
    asking.may_leave = False
    assert crowd.add(asking)
    assert not crowd.add(FakeClient())
    assert not asking.is_closed


async def test_many_whose_answers_are_on_their_way_do_not_keep_others_out() -> None:
    """However long they have waited: those who can be closed are looked for among all."""
    crowd = Crowd(64)
    stuck, idle = [FakeClient(waited=100) for _ in range(60)], [FakeClient(waited=50) for _ in range(4)]
    for client in stuck:
        client.may_leave = False
    assert all(map(crowd.add, stuck + idle))

    assert crowd.add(FakeClient())
    assert [client.is_closed for client in stuck + idle] == [False] * 60 + [True] * 4


async def test_at_the_end_whoever_may_have_asked_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request may not be read yet, or be on its way over a connection that is new; but not for long."""
    crowd = Crowd(9)
    new = FakeClient(patience=limits.HEAD_SECONDS)
    silent = FakeClient(waited=0.3, patience=limits.HEAD_SECONDS)
    idle, unread = FakeClient(waited=1), FakeClient(waited=1)
    asking, websocket = FakeClient(waits=False), FakeClient(waits=False)
    unread.may_leave, websocket.is_tunnel = False, True
    everybody = [new, silent, idle, unread, asking, websocket]
    assert all(map(crowd.add, everybody))
    assert crowd.clients.end_idle()
    assert [client.is_closed for client in everybody] == [False, True, True, False, False, True]
    for one in (silent, idle, asking, websocket):
        crowd.clients.forget(cast("ClientConnection", one))
    unread.may_leave = True
    loop = asyncio.get_running_loop()
    now = loop.time()
    monkeypatch.setattr(loop, "time", lambda: now + 0.3)

    assert not crowd.clients.end_idle()
    assert new.is_closed
    assert unread.is_closed
