"""Hands sockets that listen from the proxy's process to the next Hub. Does I/O, and blocks."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Sequence

# What listens: its socket, whether with TLS, and the port to which all is sent for https, or None.
Listening = tuple[socket.socket, bool, int | None]

_NUMBER = struct.Struct("i")
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
    size = _NUMBER.size
    # Not for users' servers, not even one that is started at this moment; socket.recv_fds ignores its flags.
    text, controls, _, _ = connection.recvmsg(_LONGEST, socket.CMSG_LEN(_MOST * size), socket.MSG_CMSG_CLOEXEC)
    sockets = [
        socket.socket(fileno=number)
        for level, kind, data in controls
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
        for (number,) in _NUMBER.iter_unpack(data[: len(data) // size * size])
    ]
    try:
        purposes = [(bool(is_tls), port) for is_tls, port in json.loads(text)]
        return [(one, *purpose) for one, purpose in zip(sockets, purposes, strict=True)]
    except (ValueError, TypeError) as error:
        for one in sockets:
            one.close()
        raise NothingHandedOver("it has not sent its sockets") from error
