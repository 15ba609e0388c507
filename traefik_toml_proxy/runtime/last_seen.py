"""Works out when each route was last used, from samples of Traefik's TCP connections. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from ..routes import Route
from .sock_diag import TIME_WAIT, TIME_WAIT_MILLISECONDS, Socket, endpoint

# The bytes in which a pong without data is sent (RFC 6455, sections 5.2 and 5.5.3: a header of 2 bytes, a mask of 4), and
# in a record of TLS 1.3 (RFC 8446, section 5.2: a header of 5 bytes, a type of 1, a tag of 16).
_PONG = 6
_PONG_OVER_TLS = _PONG + 22
_DEFAULT_PORTS = {"http": 80, "https": 443}


class _Followed:
    """A route, where its connections go, and when it was last used.

    Attributes:
        route: The route.
        name: The host name of its target, or "" if that has an address.
        address: The packed address of its target, or b"" if that has a name.
        port: The port of its target.
        pong: The bytes of a pong.
        since: When there was no such route yet, or None if it was there from the first sample on.
        at: When it was last used, or None if that is not known.
    """

    __slots__ = ("address", "at", "name", "pong", "port", "route", "since")

    def __init__(self, route: Route, since: datetime | None) -> None:
        target = urlsplit(route.target)
        host = target.hostname or ""
        self.route = route
        self.address = _packed(host)
        self.name = "" if self.address else host
        self.port = target.port or _DEFAULT_PORTS[target.scheme]
        self.pong = _PONG_OVER_TLS if target.scheme == "https" else _PONG
        self.since = since
        self.at: datetime | None = None

    def used(self, at: datetime) -> None:
        """Note that its target was used then. It counts if it is later than what is known, and the route was there."""
        known = self.at or self.since
        if known is None or at > known:
            self.at = at


def _packed(host: str) -> bytes:
    """Return a literal address as 4 or 16 bytes, or b"" for a name."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return b""
    if address.is_unspecified:  # Linux connects to the machine itself (ip_route_connect, tcp_v6_connect)
        return b"\x7f\0\0\1" if address.version == 4 else bytes(15) + b"\1"
    return address.packed


class LastSeen:
    """When each route was last used.

    A route was used when Traefik last sent data to its target that was not merely pongs. So routes with the same target
    are used at the same time. The time of a route never goes back. A route that was deleted and added again starts anew.
    """

    def __init__(self) -> None:
        self._followed: dict[str, _Followed] = {}
        # The bytes and segments that each connection to a target had sent at the last sample, by cookie.
        self._counted: dict[int, tuple[int, int]] = {}
        self._sampled_at: datetime | None = None

    def follow(self, routes: Iterable[Route]) -> set[str]:
        """Set the routes to follow from now on.

        Call it after the sockets were listed: then a route that they show in use is among the routes.

        Args:
            routes: The same objects as last time, except for those that have been added or replaced since.

        Returns:
            The host names of their targets, which must be resolved for :meth:`record`.
        """
        before = self._followed
        self._followed = {}
        for route in routes:
            known = before.get(route.routespec)
            self._followed[route.routespec] = (
                known if known and known.route is route else _Followed(route, self._sampled_at)
            )
        return {followed.name for followed in self._followed.values() if followed.name}

    def record(
        self,
        sockets: Iterable[Socket],
        inodes: Collection[int],
        addresses: Mapping[str, Collection[bytes]],
        began: datetime,
        ended: datetime,
    ) -> None:
        """Learn from a sample.

        Args:
            sockets: All TCP sockets of the machine.
            inodes: Those that belong to Traefik.
            addresses: The packed addresses of host names.
            began: Before the sockets were listed; with a time zone.
            ended: After that. Times are as late as they may have been.
        """
        targets: dict[bytes, list[_Followed]] = {}
        for followed in self._followed.values():
            for address in addresses.get(followed.name, ()) if followed.name else (followed.address,):
                targets.setdefault(endpoint(address, followed.port), []).append(followed)
        for (target, pong), at in self._uses(sockets, inodes, targets, ended).items():
            for followed in targets[target]:
                if followed.pong == pong:
                    followed.used(at)
        self._sampled_at = began

    def _uses(
        self, sockets: Iterable[Socket], inodes: Collection[int], targets: Collection[bytes], now: datetime
    ) -> dict[tuple[bytes, int], datetime]:
        """Return when each target was last used since the last sample, for each size of a pong."""
        found: dict[tuple[bytes, int], datetime] = {}
        before, self._counted = self._counted, {}
        for socket in sockets:
            if socket.state == TIME_WAIT and socket.local in targets:
                # The server has closed a connection, perhaps one that was too short for a sample. Only the end that closes
                # first gets into this state; so Traefik's own end here would only mean that Traefik had no more use for it.
                target, idle = socket.local, TIME_WAIT_MILLISECONDS - socket.expires
                sent, segments = 1, 0
            elif socket.remote in targets and socket.inode in inodes and socket.traffic is not None:
                target, (idle, sent, segments) = socket.remote, socket.traffic
            else:
                continue
            self._counted[socket.cookie] = sent, segments
            sent_before, segments_before = before.get(socket.cookie, (0, 0))
            grown = sent - sent_before
            for pong in (_PONG, _PONG_OVER_TLS) if grown > 0 else ():
                # Each pong is a segment of its own. A message of the size of a pong would be empty.
                if grown != pong * (segments - segments_before):
                    at = now - timedelta(milliseconds=idle)
                    found[target, pong] = max(at, found.get((target, pong), at))
        return found

    def known(self) -> dict[str, tuple[Route, datetime]]:
        """Return, by routespec, the routes that were used, and when."""
        return {
            routespec: (followed.route, followed.at)
            for routespec, followed in self._followed.items()
            if followed.at is not None
        }
