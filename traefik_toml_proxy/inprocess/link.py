"""Link: one end of the connection between the Hub and its proxy in a process of its own. Does I/O."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Callable, Collection, Mapping
from typing import Any, cast

from .messages import BrokenMessage, MessageReader, encoded

# How many bytes may wait to be sent before the sender is to wait. A side that is frozen must not fill the other's memory.
_MOST_WAITING = 2**18
# In how many parts an answer is waited for. If this process was held up itself, the time is over when it goes on, but the
# answer may be behind much else that has come meanwhile. So that costs one part only.
_PARTS = 5
# struct ucred (unix(7), SO_PEERCRED): process, user, group.
_CREDENTIALS = struct.Struct("3i")


class LinkLost(Exception):
    """The other side has closed the connection, or has ended."""

    def __init__(self) -> None:
        super().__init__("it has closed its connection")


class NoAnswer(Exception):
    """The other side has not answered in time. What it was asked for may still be done."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"it has not answered for {seconds:.3g} s")


def peer_of(connection: socket.socket) -> tuple[int, int]:
    """Return the process and the user that were at the other end of a unix socket when the connection was made."""
    found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(found)
    return pid, uid


class Link(asyncio.Protocol):
    """Sends messages, and hands on those that come. One side also asks, and waits for the answer."""

    def __init__(self, on_message: Callable[[Link, dict[str, Any]], object], on_lost: Callable[[Link], object]) -> None:
        """Set who is told; nothing comes before :meth:`open`.

        Args:
            on_message: Is given each message that is no answer.
            on_lost: Is told once that the connection has ended.
        """
        self._on_message = on_message
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._reader = MessageReader()
        self._writable = asyncio.Event()
        self._writable.set()
        self._is_lost = False
        # The answers that are waited for, by the number of the question; None is set if the connection is lost.
        self._answers: dict[int, asyncio.Future[dict[str, Any] | None]] = {}
        self._last = 0
        # Those of them that nobody waits for any more.
        self._late: set[asyncio.Future[dict[str, Any] | None]] = set()

    async def open(self, connection: socket.socket) -> None:
        """Use a connected unix socket, which is closed in the end."""
        connection.setblocking(False)
        await self._loop.create_unix_connection(lambda: self, sock=connection)

    # Called by asyncio.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Set it up."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=_MOST_WAITING)

    def data_received(self, data: bytes) -> None:
        """Hand on the messages that are whole. What cannot be read ends the connection."""
        try:
            for message in self._reader.feed(data):
                if self._is_lost:
                    return
                self._take(message)
        except BrokenMessage:
            self.abort()

    def _take(self, message: dict[str, Any]) -> None:
        number = message.get("answers")
        if number is None:
            self._on_message(self, message)
            return
        waiting = self._answers.pop(number, None) if isinstance(number, int) else None
        if waiting is not None and not waiting.done():
            waiting.set_result(message)

    def pause_writing(self) -> None:
        """Have senders wait."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Let them go on."""
        self._writable.set()

    def connection_lost(self, _: Exception | None) -> None:
        """Tell everybody who waits."""
        self._lose()

    def _lose(self) -> None:
        if self._is_lost:
            return
        self._is_lost = True
        self._writable.set()
        for waiting in self._answers.values():
            if not waiting.done():
                waiting.set_result(None)
        self._answers.clear()
        self._on_lost(self)

    # For its owner.

    @property
    def is_lost(self) -> bool:
        """Whether the connection has ended."""
        return self._is_lost

    @property
    def is_full(self) -> bool:
        """Whether the other side takes less than it is sent."""
        return not self._writable.is_set()

    def send(self, message: Mapping[str, Any]) -> None:
        """Send a message, or drop it if the connection has ended.

        Raises:
            BrokenMessage: If it is too long.
        """
        if not self._is_lost:
            self._transport.write(encoded(message))

    def send_now(self, message: Mapping[str, Any]) -> None:
        """Send a short message without the event loop, which has ended. If that cannot be done at once, it is dropped."""
        connection = self._transport.get_extra_info("socket")
        # Not in the middle of another message.
        is_between = not self._is_lost and not self._transport.get_write_buffer_size()
        if is_between and connection is not None and connection.fileno() >= 0:
            with contextlib.suppress(OSError):
                os.write(connection.fileno(), encoded(message))

    async def ask(self, message: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """Send a message, and return the answer. Nothing is sent while an earlier answer is late.

        Raises:
            LinkLost: If the connection has ended.
            NoAnswer: If there is no answer in time.
            BrokenMessage: If the message is too long.
        """
        await self.settled(seconds)
        self._last += 1
        answer = self._loop.create_future()
        text = encoded({**message, "asks": self._last})
        self._answers[self._last] = answer
        self._transport.write(text)
        try:
            await _wait([answer], seconds)
        finally:
            if not answer.done():
                self._late.add(answer)
                answer.add_done_callback(self._late.discard)
        if not answer.done():
            raise NoAnswer(seconds)
        found: dict[str, Any] | None = answer.result()
        if found is None:
            raise LinkLost
        return found

    async def settled(self, seconds: float) -> None:
        """Return when no answer is late, and most is sent: nothing is to pile up for a side that is frozen.

        Raises:
            LinkLost: If the connection has ended.
            NoAnswer: If that takes longer.
        """
        while not self._is_lost and (self._late or self.is_full):
            writable = asyncio.ensure_future(self._writable.wait())
            try:
                if not await _wait(self._late or [writable], seconds):
                    raise NoAnswer(seconds)
            finally:
                writable.cancel()
        if self._is_lost:
            raise LinkLost

    def abort(self) -> None:
        """End the connection at once."""
        if not self._is_lost:
            self._transport.abort()
            self._lose()


async def _wait(futures: Collection[asyncio.Future[Any]], seconds: float) -> bool:
    """Return whether all futures are done in time, however long this process was held up meanwhile."""
    for _ in range(_PARTS):
        _, pending = await asyncio.wait(futures, timeout=seconds / _PARTS)
        if not pending:
            return True
    return False
