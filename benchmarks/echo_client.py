"""Echoes over WebSockets as fast as they come back: ``python -m benchmarks.echo_client PORT SECONDS PATH...``. I/O: sockets.

It is a process of its own, and does as little as possible, so that the proxy is measured and not what is in front of it: an
event loop would take longer than all the rest. Prints one line of JSON: how many echoes came back, in how many seconds, and
the distribution of their times.
"""

from __future__ import annotations

import base64
import json
import os
import select
import socket
import sys
import time

from .stats import spread

# How many bytes a message has, and how many seconds a handshake or an echo may take.
MESSAGE_BYTES = 64
_PATIENCE = 30


def frame(payload: bytes, mask: bytes = b"") -> bytes:
    """Return a short binary message as a frame (RFC 6455 section 5.2), masked as from a client if there is a mask."""
    key = (mask * (len(payload) // 4 + 1))[: len(payload)]
    masked = bytes(one ^ other for one, other in zip(payload, key, strict=True)) if mask else payload
    return bytes((0x82, len(payload) | (0x80 if mask else 0))) + mask + masked


def opened(port: int, path: str) -> socket.socket:
    """Return an open WebSocket.

    Raises:
        ConnectionError: If the server opens none.
        TimeoutError: If it does not answer.
    """
    key = base64.b64encode(os.urandom(16)).decode()
    made = socket.create_connection(("127.0.0.1", port), _PATIENCE)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    made.sendall(
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
    )
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        some = made.recv(4096)
        answer += some
        if not some:
            raise ConnectionError(f"no WebSocket: {answer[:100]!r}")
    if not answer.startswith(b"HTTP/1.1 101 "):
        raise ConnectionError(f"no WebSocket: {answer[:100]!r}")
    return made


def echoes(sockets: list[socket.socket], seconds: float) -> list[float]:
    """Send a message over each socket, and the next one when it has come back; return how many milliseconds each took.

    Args:
        sockets: Open WebSockets.
        seconds: For how long messages are sent.

    Raises:
        ConnectionError: If something else comes back, or a socket is closed.
        TimeoutError: If nothing comes back.
    """
    payload = os.urandom(MESSAGE_BYTES)
    message, expected = frame(payload, os.urandom(4)), frame(payload)
    times: list[float] = []
    by_number = {one.fileno(): one for one in sockets}
    received = dict.fromkeys(by_number, b"")
    with select.epoll() as ready:
        end = time.perf_counter() + seconds
        sent = {}
        for number, one in by_number.items():
            ready.register(number, select.EPOLLIN)
            sent[number] = time.perf_counter()
            one.send(message)
        waiting = set(by_number)
        while waiting:
            events = ready.poll(_PATIENCE)
            if not events:
                raise TimeoutError("no echo has come back")
            for number, _ in events:
                data = by_number[number].recv(4096)
                if data != expected:
                    # A part of it, or something else.
                    data = received[number] = received[number] + data
                    if not data or not expected.startswith(data):
                        raise ConnectionError("another message came back, or the socket was closed")
                    if data != expected:
                        continue
                    received[number] = b""
                now = time.perf_counter()
                times.append((now - sent[number]) * 1000)
                if now < end:
                    sent[number] = now
                    by_number[number].send(message)
                else:
                    waiting.discard(number)
    return times


def _main(port: int, seconds: float, paths: list[str]) -> None:
    sockets = [opened(port, path) for path in paths]
    begin = time.perf_counter()
    times = echoes(sockets, seconds)
    took = time.perf_counter() - begin
    for one in sockets:
        one.close()
    print(json.dumps({"seconds": took, **spread(times)}))


if __name__ == "__main__":
    _main(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:])
