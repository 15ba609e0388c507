"""What is done to connections of both sides. Does I/O."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any


def reset_when_closed(transport: asyncio.Transport) -> None:
    """Have the other side get a reset when this one closes the connection."""
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def was_reset(transport: asyncio.Transport) -> bool:
    """Return whether what looks like the end of the data is a reset: libuv 1.48 says so if data have come with it."""
    reset: int = transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    return reset != 0


def keep_alive(connection: Any) -> None:
    """Have the system ask from time to time whether the other side is still there: it may be a laptop that was closed."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if connection.family != socket.AF_UNIX:
        for option, seconds in ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 20), (socket.TCP_KEEPCNT, 3)):
            connection.setsockopt(socket.IPPROTO_TCP, option, seconds)


def end_writing(transport: asyncio.Transport) -> None:
    """Send nothing more, but go on receiving, where that can be: not over TLS, which is closed."""
    if transport.is_closing():
        return
    if transport.can_write_eof():
        transport.write_eof()
    else:
        transport.close()
