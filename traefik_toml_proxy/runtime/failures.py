"""FailureLog: says in the Hub's log which target failed, and why. Does I/O, never on the event loop."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from ..errors import quoted
from ..routes import Route, RouteTable
from ..seams import NO_METRICS, Event, Metrics
from ..threads import NAMES
from ..traefik.failures import FailedRequest, failed_request, is_access_log

# Seconds after a line in which failures of the same route are not logged.
_PAUSE = 1.0
# Seconds to wait for a connection, and the most connections at once.
_CONNECT_SECONDS = 2.0
_MOST_CONNECTIONS = 20
_DEFAULT_PORTS = {"http": 80, "https": 443}


class FailureLog:
    """Turns Traefik's access log of error pages into lines of the Hub's log, at most one a second for each route."""

    def __init__(
        self,
        error_path: str,
        table: Callable[[], RouteTable],
        log: logging.Logger,
        *,
        clock: Callable[[], float] = time.monotonic,
        metrics: Metrics = NO_METRICS,
    ) -> None:
        """Set what is needed; nothing is opened.

        Args:
            error_path: The path that begins the paths of all error pages.
            table: Returns the current routes.
            log: Gets a warning for each failure.
            clock: Returns the time in seconds.
            metrics: Is told of each failure, whether it is logged or not.
        """
        self._metrics = metrics
        self._error_path = error_path
        self._table = table
        self._log = log
        self._clock = clock
        self._quiet_until: dict[str, float] = {}
        self._reports: dict[str, asyncio.Task[None]] = {}
        self._connections = asyncio.Semaphore(_MOST_CONNECTIONS)

    def take(self, line: str) -> bool:
        """Report the failure that a line of Traefik's output is about.

        Returns:
            Whether the line is from the access log. It must not be logged, since it has the query of a request.
        """
        if not is_access_log(line):
            return False
        request = failed_request(line, self._error_path)
        if request is not None:
            self._metrics.count(Event.REQUEST_FAILED)
            route = self._table().match(request.host, request.path)
            routespec = route.routespec if route else ""
            if self._is_due(routespec):
                report = asyncio.create_task(self._report(request, route), name="traefik_toml_proxy failed target")
                self._reports[routespec] = report
                report.add_done_callback(lambda _: self._reports.pop(routespec))
        return True

    def _is_due(self, routespec: str) -> bool:
        """Whether a line about a route may be logged now; then the next one must wait."""
        now = self._clock()
        if routespec in self._reports or now < self._quiet_until.get(routespec, now):
            return False
        self._quiet_until = {key: until for key, until in self._quiet_until.items() if until > now}
        self._quiet_until[routespec] = now + _PAUSE
        return True

    async def _report(self, request: FailedRequest, route: Route | None) -> None:
        path = quoted(request.path)
        if route is None:
            self._log.warning("A request for %s failed (%d); the Hub has no route for it", path, request.status)
            return
        reason = await self._reason(route.target, request.status)
        self._log.warning(
            "A request for %s failed: the route %s has the target %s: %s",
            path,
            quoted(route.routespec),
            quoted(route.target),
            reason,
        )

    async def _reason(self, target: str, status: int) -> str:
        """Return why a target may have failed: what a connection to it meets now; Traefik does not tell."""
        try:
            async with self._connections:
                accepts = await _accepts(target)
        except socket.gaierror as error:
            return f"its host is not found ({error.strerror})"
        except OSError as error:
            return os.strerror(error.errno).lower() if error.errno else str(error)
        if not accepts:
            return "no answer to a connection"
        if status == 504:
            return "a connection timed out, or it answered 504 itself"
        return "it closed the connection without an answer, or answered 502 itself"

    async def close(self) -> None:
        """Stop; what is not logged yet is not logged. May be called twice."""
        reports = list(self._reports.values())
        for report in reports:
            report.cancel()
        if reports:
            await asyncio.wait(reports)


async def _accepts(target: str) -> bool:
    """Open a connection to a target, and close it; return whether that worked in time.

    Raises:
        OSError: If it failed.
    """
    url = urlsplit(target)
    connecting = asyncio.ensure_future(_connect(url.hostname or "", url.port or _DEFAULT_PORTS[url.scheme]))
    try:
        await asyncio.wait([connecting], timeout=_CONNECT_SECONDS)
        if not connecting.done():
            return False
        await connecting
    finally:
        connecting.cancel()
    return True


async def _connect(host: str, port: int) -> None:
    """Open a connection to one of the addresses of a host, and close it.

    Raises:
        OSError: If none accepts it.
    """
    found = await NAMES.run(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    for number, (*_, where) in enumerate(found, start=1):
        try:
            _, writer = await asyncio.open_connection(str(where[0]), port)  # a name would take one of asyncio's threads
        except OSError:
            if number == len(found):
                raise
        else:
            writer.close()
            return
