"""The connection between the Hub and its proxy: answers that are late or never come, and a side that takes nothing."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from support.waiting import eventually, within

from traefik_toml_proxy.inprocess.link import Link, LinkLost, NoAnswer, peer_of
from traefik_toml_proxy.inprocess.messages import BrokenMessage, MessageReader, encoded


class Other:
    """The other side: a plain socket."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self.socket = connection
        self._reader = MessageReader()

    async def messages(self) -> list[dict[str, Any]]:
        """Return what comes next, at least one message."""
        found: list[dict[str, Any]] = []
        while not found:
            found += self._reader.feed(await asyncio.get_running_loop().sock_recv(self.socket, 2**16))
        return found

    async def send(self, data: bytes) -> None:
        """Send bytes."""
        await asyncio.get_running_loop().sock_sendall(self.socket, data)


class Ends:
    """A link, what it has told its owner, and the other side."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []
        self.lost = 0
        self.link = Link(lambda _, message: self.told.append(message), self._lose)
        here, there = socket.socketpair()
        self.here, self.other = here, Other(there)

    def _lose(self, _: Link) -> None:
        self.lost += 1


@pytest_asyncio.fixture
async def ends() -> AsyncIterator[Ends]:
    """A link that is open."""
    ends = Ends()
    await ends.link.open(ends.here)
    yield ends
    ends.link.abort()
    ends.other.socket.close()
    await asyncio.sleep(0)


async def test_a_question_is_answered(ends: Ends) -> None:
    """What comes before the answer is no answer; nor is one to another question, or twice the same."""
    asking = asyncio.ensure_future(ends.link.ask({"ping": True}, 5))
    (question,) = await within(5, ends.other.messages())
    answer = {"answers": question["asks"], "revision": 1}
    messages: list[dict[str, Any]] = [{"seen": {}}, {"answers": 77}, {"answers": "x"}, answer, answer]
    for message in messages:
        await ends.other.send(encoded(message))

    assert await within(5, asking) == answer
    assert ends.told == [{"seen": {}}]
    assert question == {"ping": True, "asks": 1}


async def test_an_answer_that_is_late_holds_up_the_next_question(ends: Ends) -> None:
    """Nothing piles up for a side that is frozen; when it goes on, so does this one."""
    with pytest.raises(NoAnswer, match=r"not answered for 0\.05 s"):
        await ends.link.ask({"first": True}, 0.05)
    with pytest.raises(NoAnswer):
        await ends.link.ask({"second": True}, 0.05)
    next_one = asyncio.ensure_future(ends.link.ask({"third": True}, 5))
    await asyncio.sleep(0.05)
    assert await within(5, ends.other.messages()) == [{"first": True, "asks": 1}]
    await ends.other.send(encoded({"answers": 1}))

    assert await within(5, ends.other.messages()) == [{"third": True, "asks": 2}]
    await ends.other.send(encoded({"answers": 2}))
    assert await within(5, next_one) == {"answers": 2}


async def test_a_caller_that_was_cancelled_leaves_its_answer_behind(ends: Ends) -> None:
    asking = asyncio.ensure_future(ends.link.ask({"first": True}, 5))
    await within(5, ends.other.messages())
    asking.cancel()
    await asyncio.wait([asking])
    with pytest.raises(NoAnswer):
        await ends.link.settled(0.05)
    await ends.other.send(encoded({"answers": 1}))
    await within(5, ends.link.settled(5))


async def test_a_side_that_takes_nothing_is_seen(ends: Ends) -> None:
    while not ends.link.is_full:
        ends.link.send({"x": "y" * 10_000})
    with pytest.raises(NoAnswer):
        await ends.link.settled(0.05)
    settling = asyncio.ensure_future(ends.link.settled(5))
    while not settling.done():
        await within(5, ends.other.messages())
    assert not ends.link.is_full


@pytest.mark.parametrize("data", [b"", b"\xff\xff\xff\xff", b"\0\0\0\1x", encoded({"a": 1})[:-1]])
async def test_everybody_learns_that_the_connection_has_ended(ends: Ends, data: bytes) -> None:
    """By itself, after half a message, or because what comes is no message."""
    asking = asyncio.ensure_future(ends.link.ask({"ping": True}, 5))
    await within(5, ends.other.messages())
    await ends.other.send(data)
    if data[:1] != b"\xff" and data[-1:] != b"x":
        ends.other.socket.close()

    with pytest.raises(LinkLost):
        await within(5, asking)
    await eventually(lambda: ends.lost == 1)
    for again in (ends.link.ask({"ping": True}, 5), ends.link.settled(5)):
        with pytest.raises(LinkLost):
            await within(5, again)
    ends.link.send({"into": "nothing"})
    ends.link.send_now({"into": "nothing"})
    assert (ends.link.is_lost, ends.lost, ends.told) == (True, 1, [])


async def test_a_message_without_the_event_loop(ends: Ends) -> None:
    ends.link.send_now({"stay": True})
    assert await within(5, ends.other.messages()) == [{"stay": True}]


async def test_a_message_without_the_event_loop_is_not_put_into_another_one(ends: Ends) -> None:
    """It is dropped instead."""
    while not ends.link.is_full:
        ends.link.send({"x": "y" * 10_000})
    await within(5, ends.other.messages())  # there is room now, and the rest of a message comes first
    ends.link.send_now({"stay": True})
    found: list[dict[str, Any]] = []
    ends.link.send({"last": True})
    while {"last": True} not in found:
        found += await within(5, ends.other.messages())
    assert {"stay": True} not in found


async def test_a_side_that_was_held_up_itself_still_finds_the_answer(ends: Ends) -> None:
    """Behind more than it reads at once, although its time was over before it could look."""
    asking = asyncio.ensure_future(ends.link.ask({"ping": True}, 0.5))
    await within(5, ends.other.messages())
    ends.other.socket.setblocking(True)
    text = encoded({"x": "y" * 10_000}) * 200 + encoded({"answers": 1})
    answering = threading.Thread(target=ends.other.socket.sendall, args=(text,))
    answering.start()
    hold_up(0.6)
    assert await asking == {"answers": 1}
    answering.join()


def hold_up(seconds: float) -> None:
    """Keep the event loop from doing anything else, as the Hub does when it computes."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


async def test_a_message_that_is_too_long_is_an_error_of_its_own(ends: Ends) -> None:
    """The connection goes on."""
    with pytest.raises(BrokenMessage):
        await ends.link.ask({"x": "y" * 2**25}, 5)
    await within(5, ends.link.settled(1))
    ends.link.send({"a": 1})
    assert await within(5, ends.other.messages()) == [{"a": 1}]


def test_who_is_there() -> None:
    one, other = socket.socketpair()
    with one, other:
        assert peer_of(one) == (os.getpid(), os.geteuid())
