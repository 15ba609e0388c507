"""Clients: the connections from clients, of which there can be so many; the idle ones give way. Only async, no I/O."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Callable

from . import limits
from .client import ClientConnection

# When there is no room, this part of all that there can be is made room, but for this many at least.
_PART, _LEAST = 1 / 64, 32
# Seconds until the next look for idle ones if there was none: with thousands of connections, a look takes some time.
_LOOK_SECONDS = 1.0
# Seconds in which a new connection does not give way: its first request may be on its way.
_NEW_SECONDS = 1.0
# The same at the end, when whoever is to wait for it may be waiting for a Hub.
_OPENED_SECONDS = 0.2
# Seconds between two lines of the log about too many connections.
_LOG_SECONDS = 60.0
_ADVICE = (
    "Allow the proxy more open files (LimitNOFILE= in the Hub's systemd unit, or ulimit -n), and raise "
    "c.InProcessProxy.most_connections if it is set."
)


class Clients:
    """Knows all clients, and how many there can be; implements :class:`~.accepting.Admission`.

    Where there is no room for a new one, those that have waited longest for a request or in a handshake are closed, so that
    nobody can keep others out by being silent.

    Attributes:
        connected: The connections that are open, apart from those that are still in a TLS handshake.
    """

    def __init__(self, most: int, warn: Callable[[str], object]) -> None:
        """Set up.

        Args:
            most: How many there can be.
            warn: Is told if there are too many: at once, and then once a minute at most.
        """
        self.connected: set[ClientConnection] = set()
        # What ends the handshake of each of those that are accepted, but not connected yet.
        self._coming: dict[ClientConnection, Callable[[], object]] = {}
        self._most = most
        self._warn = warn
        self._loop = asyncio.get_running_loop()
        self._looks_at = self._logs_at = -math.inf
        # Since the last line of the log: how many have given way, how many found no room, and why none can be accepted.
        self._gave_way = self._refused = 0
        self._problem = ""

    @property
    def _count(self) -> int:
        return len(self.connected) + len(self._coming)

    def remember(self, client: ClientConnection) -> None:
        """See :class:`~.client.Engine`."""
        self._coming.pop(client, None)
        self.connected.add(client)

    def forget(self, client: ClientConnection) -> None:
        """See :class:`~.client.Engine`."""
        self.connected.discard(client)

    def admit(self, client: ClientConnection, leave: Callable[[], object]) -> bool:
        """See :class:`~.accepting.Admission`."""
        if self._count >= self._most and not self._make_room():
            self._refused += 1
            return False
        self._coming[client] = leave
        return True

    def give_up(self, client: ClientConnection) -> None:
        """See :class:`~.accepting.Admission`."""
        self._coming.pop(client, None)
        if client in self.connected:
            client.close()

    def on_accept_failed(self, problem: str) -> None:
        """See :class:`~.accepting.Admission`."""
        self._problem = problem
        self._make_room()

    def _make_room(self) -> bool:
        """Close the connections that have waited longest; return whether there were any."""
        now = self._loop.time()
        if now < self._looks_at:
            return False
        idle = (client for client in self.connected if client.waits_for_request)
        waiting = [client for client in (*self._coming, *idle) if _may_leave(client.deadline - now)]
        waiting.sort(key=lambda client: client.deadline)
        # A request may have come that is not read yet, if the loop was busy. Of those, there may be many.
        able = (client for client in waiting if client in self._coming or client.may_leave)
        leaving = list(itertools.islice(able, max(_LEAST, int(self._most * _PART))))
        for client in leaving:
            self._coming.pop(client, client.close)()
            self.connected.discard(client)  # its descriptor is free in the next step of the loop
        self._gave_way += len(leaving)
        if not leaving:
            self._looks_at = now + _LOOK_SECONDS
        return bool(leaving)

    def end_idle(self) -> bool:
        """Close all connections without an answer that is under way; return whether there are others.

        Among these are, for now, those with a request that is not read yet, or on its way, since they are new; and with an
        answer that is still to be sent, of which TLS does not tell.
        """
        now, others = self._loop.time(), False
        for client in list(self.connected):
            is_new = limits.HEAD_SECONDS - _OPENED_SECONDS < client.deadline - now <= limits.HEAD_SECONDS
            if client.is_tunnel or (client.is_idle and client.may_leave and not is_new):
                client.close()
            else:
                others = True
        return others

    def report(self) -> None:
        """Tell what was wrong, if there is anything new, and it is time again."""
        if not (self._gave_way or self._refused or self._problem) or self._loop.time() < self._logs_at:
            return
        self._logs_at = self._loop.time() + _LOG_SECONDS
        what = f"No connection could be accepted ({self._problem})" if self._problem else "There is no room for more"
        self._warn(
            f"{what}: {self._count} connections from clients are open, of at most {self._most}. {self._gave_way} "
            f"that were idle were closed to make room, and {self._refused} new ones were turned away. {_ADVICE}"
        )
        self._gave_way = self._refused = 0
        self._problem = ""


def _may_leave(patience: float) -> bool:
    """Whether a client that waits for a request gives way if so many seconds are left until its deadline."""
    if patience <= limits.HEAD_SECONDS:  # it is new, or has begun to send a head, or has been idle for minutes
        return patience <= limits.HEAD_SECONDS - _NEW_SECONDS
    return patience <= limits.IDLE_SECONDS - limits.USED_SECONDS
