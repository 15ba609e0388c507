"""What is done to connections of both sides. Does I/O."""

from __future__ import annotations

import asyncio
import socket
import struct


def reset_when_closed(transport: asyncio.Transport) -> None:
    """Have the other side get a reset when this one closes the connection."""
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
