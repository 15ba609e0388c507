"""Hands sockets that listen from the proxy's process to the next Hub. Does I/O, and blocks."""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence

# What listens: its socket, whether with TLS, and the port to which all is sent for https, or None.
Listening = tuple[socket.socket, bool, int | None]

# The most sockets, and the most bytes that say what they are for.
_MOST, _LONGEST = 64, 4096


class NothingHandedOver(ConnectionError):
    """What has come is not what :func:`hand_over` sends."""


def hand_over(connection: socket.socket, listening: Sequence[tuple[int, bool, int | None]]) -> None:
    """Send sockets over a unix socket, as the first thing.

    Args:
        connection: The connection.
        listening: What listens, with the numbers of the sockets.

    Raises:
        OSError: If the other side has gone.
    """
    text = json.dumps([[is_tls, port] for _, is_tls, port in listening]).encode()
    socket.send_fds(connection, [text], [number for number, _, _ in listening])


def receive(connection: socket.socket) -> list[Listening]:
    """Return the sockets that :func:`hand_over` has sent; whoever calls this closes them.

    Raises:
        OSError: If they do not come, or something else does.
    """
    text, numbers, _, _ = socket.recv_fds(connection, _LONGEST, _MOST)
    sockets = [socket.socket(fileno=number) for number in numbers]
    for one in sockets:
        one.set_inheritable(False)  # not for users' servers
    try:
        purposes = [(bool(is_tls), port) for is_tls, port in json.loads(text)]
        return [(one, *purpose) for one, purpose in zip(sockets, purposes, strict=True)]
    except (ValueError, TypeError) as error:
        for one in sockets:
            one.close()
        raise NothingHandedOver("it has not sent its sockets") from error
