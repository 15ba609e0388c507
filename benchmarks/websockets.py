"""The part ``websockets``: echoes over WebSockets, and the memory of the proxy for open ones. I/O: sockets, workers.

Echoes are counted by a client in a process of its own (``echo_client.py``), and sent back by the quick server: both do so
little that the proxy is measured. Of open sockets, only the memory is measured, so their client is tornado's.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict, dataclass
from typing import Any

from tornado.httpclient import HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from .bench import Bench, Contestant, in_turns, started
from .contenders import IN_THE_HUB
from .interpreter import this_interpreter
from .load import results_of
from .stats import spread
from .waiting import within
from .workload import SOCKET_PATH, existing_routespec

# How many handshakes are made at once.
_AT_ONCE = 50

# How many seconds a handshake or an echo may take.
_PATIENCE = 30

_MESSAGE = "x" * 100


@dataclass(frozen=True)
class Options:
    """What is measured.

    Attributes:
        existing: The size of the table.
        sockets: How many sockets echo at once.
        seconds: For how long.
        rounds: How often, for each contender.
        open_sockets: How many sockets are kept open, to measure their memory.
    """

    existing: int = 1_000
    sockets: int = 16
    seconds: float = 3.0
    rounds: int = 3
    open_sockets: int = 1_000


async def measure(bench: Bench, options: Options, result: dict[str, Any]) -> None:
    """Measure all contenders; fills ``result``, also if it is interrupted."""
    result.update(parameters=asdict(options), echoes=[], opened=[], failures=[])
    contestants = bench.contestants([options.existing])
    async with started(contestants, result["failures"]) as up:
        for contestant in in_turns(up, options.rounds, "websockets: echoes"):
            with contestant.failures_recorded():
                result["echoes"].append(await _echoes(contestant, options))
        for contestant in in_turns(up, 1, f"websockets: {options.open_sockets} open"):
            with contestant.failures_recorded():
                result["opened"].append(await _open_many(contestant, options))


def socket_url(public_url: str, user: int) -> str:
    """Return the URL of a WebSocket of one of the users."""
    return f"ws{public_url.removeprefix('http')}{socket_path(user)}"


def socket_path(user: int) -> str:
    """Return the path of a WebSocket of one of the users."""
    return existing_routespec(user) + SOCKET_PATH.removeprefix("/")


async def connect(url: str) -> WebSocketClientConnection:
    """Open a WebSocket, without verifying the certificate."""
    request = HTTPRequest(url, connect_timeout=_PATIENCE, request_timeout=_PATIENCE, validate_cert=False)
    return await websocket_connect(request)


async def echo(socket: WebSocketClientConnection, message: str = _MESSAGE) -> None:
    """Send a message, and wait until it comes back.

    Raises:
        ConnectionError: If something else comes back, or the socket is closed.
        TimeoutError: If nothing comes back.
    """
    await socket.write_message(message)
    back = await within(_PATIENCE, socket.read_message())
    if back != message:
        raise ConnectionError("the socket was closed" if back is None else f"another message came back: {back!r}")


async def _open(contestant: Contestant, count: int) -> list[WebSocketClientConnection]:
    url = contestant.remote.settings.public_url
    users = max(contestant.existing, 1)
    sockets: list[WebSocketClientConnection] = []
    for first in range(0, count, _AT_ONCE):
        some = range(first, min(first + _AT_ONCE, count))
        sockets += await asyncio.gather(*(connect(socket_url(url, number % users)) for number in some))
    return sockets


async def _echoes(contestant: Contestant, options: Options) -> dict[str, Any]:
    """Have some sockets echo as fast as they can."""
    users = max(contestant.existing, 1)
    python = this_interpreter()
    before = await contestant.remote.ask("cpu")
    counted = await results_of(
        python.executable,
        "-m",
        "benchmarks.echo_client",
        str(contestant.remote.settings.public_port),
        str(options.seconds),
        *(socket_path(number % users) for number in range(options.sockets)),
        seconds=options.seconds,
    )
    after = await contestant.remote.ask("cpu")
    cpu_us, user_us = ((after[what] - before[what]) / counted["n"] * 1e6 for what in ("seconds", "user_seconds"))
    per_second = counted["n"] / counted["seconds"]
    return {"contender": contestant.name, "per_second": per_second, "cpu_us": cpu_us, "user_us": user_us, **counted}


async def _open_many(contestant: Contestant, options: Options) -> dict[str, Any]:
    """Open many sockets, measure the memory that they take, and check that each of them echoes."""
    before = await contestant.ask("usage")
    begin = time.perf_counter()
    sockets = await _open(contestant, options.open_sockets)
    opened_s = time.perf_counter() - begin
    times: list[float] = []
    try:
        for socket in sockets:
            begin = time.perf_counter()
            await echo(socket)
            times.append((time.perf_counter() - begin) * 1000)
        after = await contestant.ask("usage")
    finally:
        for socket in sockets:
            socket.close()
    # With the other contenders, the process of the Hub has nothing to do with the sockets.
    whose = "hub_rss_bytes" if contestant.name in IN_THE_HUB else "proxy_rss_bytes"
    each = None
    if before and after and after[whose]:
        each = (after[whose] - before[whose]) / len(sockets)
    return {
        "contender": contestant.name,
        "sockets": len(sockets),
        "opened_per_second": len(sockets) / opened_s,
        "bytes_per_socket": each,
        **spread(times),
    }
