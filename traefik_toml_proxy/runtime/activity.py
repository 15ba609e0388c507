"""Tells when users were last seen, from the TCP connections that Traefik has open. Does I/O, in threads."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import socket
import sys
import time
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from ..errors import quoted
from ..routes import Route, RouteTable
from ..tasks import LoggedOnce
from ..threads import in_thread
from .last_seen import LastSeen
from .sock_diag import AF_INET, AF_INET6, Refused, Socket, read_sockets, request_all, request_one

# A sample is taken early if somebody asks, and the last one is older than this, in seconds.
_FRESH_SECONDS = 1.0
# How many times longer to wait for the next sample while Traefik's connections cannot be seen.
_PATIENCE = 10
# Seconds to wait for one answer: of Traefik, and of the kernel.
_TIMEOUT = 2.0
# Seconds for which the addresses of a host name are kept, and how long a sample may look up others.
_NAME_SECONDS = 60.0
_LOOKUP_SECONDS = 2.0
# More than the kernel puts into one datagram (net/netlink/af_netlink.c, netlink_dump: 32 KiB).
_DATAGRAM = 2**16
_NETLINK_SOCK_DIAG = 4  # include/uapi/linux/netlink.h


class Published(Protocol):
    """What has a route table, such as a publisher."""

    @property
    def table(self) -> RouteTable:
        """The routes."""


class _Unknown(Exception):
    """Traefik's connections cannot be seen; the message says why."""


class ConnectionActivity:
    """An :class:`~traefik_toml_proxy.seams.Activity` that samples how much Traefik has sent to each target.

    Nothing is guessed: a sample counts only if it shows a connection of our own to Traefik, and the process that has it.
    """

    def __init__(self, published: Published, url: str, *, interval: float, log: logging.Logger) -> None:
        """Set what to watch; nothing is opened yet.

        Args:
            published: Has the routes.
            url: The public entry point of Traefik, ``http[s]://host:port``.
            interval: Seconds between two samples. Traefik keeps an idle connection for 90 seconds, so no request is
                missed with half of that.
            log: Is told if activity is not known, and why.
        """
        self._published = published
        self._interval = interval
        self._log = log
        self._traefik = _Traefik(url, log)
        self._names = _Names()
        # Only used by the thread of a sample, of which there is one at a time.
        self._last_seen = LastSeen()
        self._known: Mapping[str, tuple[Route, datetime]] = {}
        self._sampled_at = -math.inf
        self._wanted = asyncio.Event()
        # What was logged last, to avoid repeats.
        self._logged = ""

    async def last_seen(self) -> Mapping[str, datetime]:
        """Return what the last sample has shown; a newer one is begun if it is old, but not waited for."""
        if asyncio.get_running_loop().time() - self._sampled_at > min(_FRESH_SECONDS, self._interval):
            self._wanted.set()
        table = self._published.table
        # A route that has been added again since the sample is another route.
        return {routespec: at for routespec, (route, at) in self._known.items() if table.get(routespec) is route}

    async def sample(self) -> Mapping[str, datetime]:
        """Take one sample; return what it has shown."""
        await self._sample()
        return {routespec: at for routespec, (_, at) in self._known.items()}

    async def watch(self) -> None:
        """Take samples until cancelled."""
        if not sys.platform.startswith("linux"):
            self._log.info("When users were last seen is known on Linux only; their servers report it, too.")
            return
        loop = asyncio.get_running_loop()
        errors = LoggedOnce("Looking at Traefik's connections", self._log)
        while True:
            with errors:
                await self._sample()
            self._sampled_at = loop.time()
            self._wanted.clear()
            pause = self._interval * (_PATIENCE if self._logged else 1)
            alarm = loop.call_later(pause, self._wanted.set)
            try:
                await self._wanted.wait()
            finally:
                alarm.cancel()

    async def _sample(self) -> None:
        try:
            known = await in_thread(self._sample_blocking)
        except _Unknown as reason:
            if self._logged != str(reason):
                self._logged = str(reason)
                self._log.warning(
                    "When users were last seen is not known to this proxy, only what their servers report: %s "
                    "c.TraefikProxy.track_activity = False turns this off.",
                    reason,
                )
        else:
            if known is None:
                return
            self._known = known
            if self._logged:
                self._log.info("When users were last seen is known again")
                self._logged = ""

    def _sample_blocking(self) -> Mapping[str, tuple[Route, datetime]] | None:
        """Take a sample; return what is known after it, or None if Traefik does not answer now. Blocks.

        Raises:
            _Unknown: If Traefik's connections cannot be seen.
        """
        inodes = self._traefik.inodes()
        if inodes is None:
            return None
        began = datetime.now(timezone.utc)
        sockets = _ask_kernel(request_all(AF_INET)) + _ask_kernel(request_all(AF_INET6))
        ended = datetime.now(timezone.utc)
        if any(found.inode in inodes and found.traffic is None for found in sockets):
            raise _Unknown("Linux 4.19 or newer is needed.")
        names = self._last_seen.follow(self._published.table)
        self._last_seen.record(sockets, inodes, self._names.look_up(names), began, ended)
        return self._last_seen.known()


class _Names:
    """Keeps the addresses of host names for a while. Its methods block."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[float, frozenset[bytes]]] = {}

    def look_up(self, names: Collection[str]) -> Mapping[str, Collection[bytes]]:
        """Return the packed addresses of these names; some are missing or old if it takes too long."""
        began = time.monotonic()
        self._kept = {name: self._kept.get(name, (-math.inf, frozenset())) for name in names}
        for name, (looked_up_at, _) in sorted(self._kept.items(), key=lambda item: item[1][0]):
            now = time.monotonic()
            if looked_up_at > began - _NAME_SECONDS or now - began > _LOOKUP_SECONDS:
                break
            self._kept[name] = now, frozenset(_addresses(name))
        return {name: addresses for name, (_, addresses) in self._kept.items()}


def _addresses(name: str) -> Iterator[bytes]:
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # UnicodeError: a label of more than 63 characters
        return
    for family, _, _, _, where in found:
        yield socket.inet_pton(family, str(where[0]).partition("%")[0])


class _Traefik:
    """Finds the sockets of the process that serves an entry point. Its methods block."""

    def __init__(self, url: str, log: logging.Logger) -> None:
        self._log = log
        parts = urlsplit(url)
        self._address = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        self._pid: int | None = None

    def inodes(self) -> set[int] | None:
        """Return the inodes of Traefik's sockets, or None if it does not answer now.

        Raises:
            _Unknown: If they cannot be seen.
        """
        for _ in range(2):  # the second time, if it has been restarted meanwhile
            try:
                connection = socket.create_connection(self._address, timeout=_TIMEOUT)
            except OSError:
                return None
            with connection:
                accepted = _accepted_inode(connection)
                if accepted is None:
                    return None
                for pid in [*filter(None, [self._pid]), *_processes()]:
                    inodes = _socket_inodes(pid)
                    if accepted in inodes:
                        self._note(pid)
                        return inodes
        raise _Unknown(
            "The Hub may not look into the process of Traefik, because that belongs to another user or container, or has "
            "capabilities that the Hub does not have."
        )

    def _note(self, pid: int) -> None:
        if pid == self._pid:
            return
        self._pid = pid
        with contextlib.suppress(OSError):
            name = Path(f"/proc/{pid}/comm").read_text().strip()
            if "traefik" not in name:
                # Perhaps there is another proxy in front of Traefik, whose connections tell nothing.
                self._log.info(
                    "When users were last seen is read from the connections of process %d (%s), which answers at %s:%d",
                    pid,
                    quoted(name),
                    *self._address,
                )


def _accepted_inode(connection: socket.socket) -> int | None:
    """Return the inode of the other end of a connection, or None if it is not accepted in time."""
    family = AF_INET if connection.family == socket.AF_INET else AF_INET6
    here, there = (
        (socket.inet_pton(connection.family, where[0].partition("%")[0]), where[1])
        for where in (connection.getsockname(), connection.getpeername())
    )
    request = request_one(family, there, here)
    deadline = time.monotonic() + _TIMEOUT
    while time.monotonic() < deadline:
        for found in _ask_kernel(request, one=True):
            if found.inode:
                return found.inode
        time.sleep(0.002)
    return None


def _ask_kernel(request: bytes, *, one: bool = False) -> list[Socket]:
    """Return the answer to a request.

    Args:
        request: The request.
        one: Whether it asks for one socket only.

    Raises:
        _Unknown: If there is none.
    """
    found: list[Socket] = []
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG) as netlink:
            netlink.settimeout(_TIMEOUT)
            netlink.send(request)
            while True:
                for entry in read_sockets(netlink.recv(_DATAGRAM)):
                    if entry is None:
                        return found
                    found.append(entry)
                if one:
                    return found
    except Refused as error:
        if one:
            raise _Unknown(
                "Traefik's connections cannot be seen from here. It runs in another container or network namespace, or "
                f"behind another proxy. (The kernel answers: {os.strerror(error.errno)})"
            ) from None
        raise _Unknown(f"the kernel does not list connections: {os.strerror(error.errno)}.") from None
    except OSError as error:
        raise _Unknown(f"the kernel cannot be asked about connections: {error.strerror or error}.") from None


def _processes() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _socket_inodes(pid: int) -> set[int]:
    """Return the inodes of the sockets of a process; none if it has ended, or may not be looked into."""
    found: set[int] = set()
    with contextlib.suppress(OSError), os.scandir(f"/proc/{pid}/fd") as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):  # it has been closed
                link = os.readlink(entry.path)  # noqa: PTH115 - there may be thousands, and a Path takes longer
                if link.startswith("socket:["):
                    found.add(int(link[8:-1]))
    return found
