"""What is done to connections of both sides. Does I/O."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import socket
import ssl
import struct
import sys
import termios
from typing import Any

# Seconds between two looks at what is on its way: at first, and at last.
_SOON, _LATER = 0.05, 1.0


def reset_when_closed(transport: asyncio.Transport) -> None:
    """Have the other side get a reset when this one closes the connection."""
    if not is_gone(transport):
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def was_reset(transport: asyncio.Transport) -> bool:
    """Return whether what looks like the end of the data is a reset: libuv 1.48 reports it so if data have come with it."""
    error: int = transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    # A reset after an end gives EPIPE on Linux: it may only answer a keep-alive probe.
    return error == errno.ECONNRESET


def keep_alive(connection: Any) -> None:
    """Have the system ask from time to time whether the other side is still there: it may be a laptop that was closed."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if connection.family != socket.AF_UNIX:
        for option, seconds in ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 20), (socket.TCP_KEEPCNT, 3)):
            connection.setsockopt(socket.IPPROTO_TCP, option, seconds)


def was_closed(transport: asyncio.Transport) -> bool:
    """Return whether the end of the data is meant to be one. Over TLS, the other side must say so: RFC 9112 section 9.8.

    This takes a byte if one is still there; then the end is not meant to be one.
    """
    tls = transport.get_extra_info("ssl_object")
    try:
        return tls is None or tls.read(1) == b""
    except ssl.SSLZeroReturnError:  # instead of b"", once both sides have said so
        return True
    except ssl.SSLError:
        return False


def takes_nothing(transport: asyncio.Transport) -> bool:
    """Whether the other side has ended TLS, of which Python 3.10 tells nobody as long as something waits to be sent.

    It keeps all that is written then.
    """
    # No byte is lost: Python 3.10 decrypts all that has come at once.
    return sys.version_info < (3, 11) and type(transport).__module__ == "asyncio.sslproto" and was_closed(transport)


def is_gone(transport: asyncio.Transport) -> bool:
    """Whether it is lost, but its protocol does not know yet: over TLS, Python 3.10 can do nothing but close it then."""
    return transport.get_extra_info("socket") is None


def is_sent(transport: asyncio.Transport) -> bool:
    """Whether nothing waits to be sent."""
    return is_gone(transport) or not transport.get_write_buffer_size()


def is_settled(transport: asyncio.Transport, *, is_tls: bool) -> bool:
    """Whether nothing has come that nobody has read yet, as while the loop was busy, and nothing waits below TLS."""
    return not unread(transport) and not (is_tls and _queued(transport, termios.TIOCOUTQ))


def unread(transport: asyncio.Transport) -> int:
    """Return how many bytes have come that nobody has read."""
    return _queued(transport, termios.FIONREAD)


def has_arrived(transport: asyncio.Transport) -> bool:
    """Whether the system on the other side has all that was sent, also below TLS, which does not tell (tcp(7), SIOCOUTQ)."""
    return is_sent(transport) and not _queued(transport, termios.TIOCOUTQ)


def _queued(transport: asyncio.Transport, which: int) -> int:
    if is_gone(transport):
        return 0
    try:
        answer = fcntl.ioctl(transport.get_extra_info("socket").fileno(), which, bytes(4))
    except (OSError, ValueError):  # it is closed
        return 0
    number: int = struct.unpack("i", answer)[0]
    return number


def is_over(transport: asyncio.Transport) -> bool:
    """Whether all has arrived, and :func:`end_writing` has ended TLS."""
    return has_arrived(transport) and (transport.can_write_eof() or transport.is_closing())


def close_once(transport: asyncio.Transport) -> None:
    """Close it, but not twice: since Python 3.11, one over TLS could no longer be aborted after that."""
    if not transport.is_closing():
        transport.close()


def end_writing(transport: asyncio.Transport, again: float = _SOON) -> None:
    """Send nothing more, but go on receiving, where that can be: not over TLS, which is closed when all has arrived."""
    if not transport.can_write_eof():
        if has_arrived(transport):
            close_once(transport)
        else:  # asyncio drops what waits if more comes after it was closed
            asyncio.get_running_loop().call_later(again, end_writing, transport, min(2 * again, _LATER))
    elif not transport.is_closing():
        try:
            transport.write_eof()
        except OSError:  # the other side has reset the connection just now, of which asyncio tells later
            transport.abort()
