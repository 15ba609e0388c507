"""Reads and writes the messages in which Linux tells about TCP sockets: sock_diag(7) over netlink(7). Pure."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

# The address families; they have these numbers on Linux only.
AF_INET = 2
AF_INET6 = 10
# States of a TCP socket (include/net/tcp_states.h).
ESTABLISHED, FIN_WAIT1, FIN_WAIT2, TIME_WAIT, CLOSE_WAIT = 1, 4, 5, 6, 8
# Linux keeps a socket in TIME_WAIT for this long, in milliseconds (TCP_TIMEWAIT_LEN, include/net/tcp.h).
TIME_WAIT_MILLISECONDS = 60_000

# From netlink(7), sock_diag(7) and include/uapi/linux/inet_diag.h.
_SOCK_DIAG_BY_FAMILY, _NLMSG_ERROR, _NLMSG_DONE = 20, 2, 3
_NLM_F_REQUEST, _NLM_F_DUMP = 0x1, 0x300
_IPPROTO_TCP = 6
_INET_DIAG_INFO = 2
_ANY_COOKIE = 2**64 - 1
# Length, type, flags, sequence number, port ID.
_MESSAGE = struct.Struct("=IHHII")
# struct inet_diag_req_v2: family, protocol, extensions, states, then the socket: ports, two addresses, interface, cookie.
_REQUEST = struct.Struct("=BBBxI4s16s16s4xQ")
# struct inet_diag_msg: family, state, the socket as above, expires, queues (not used), user ID (not used), inode.
_SOCKET = struct.Struct("=BB2x4s16s16s4xQI12xI")
_ATTRIBUTE = struct.Struct("=HH")
_ERROR = struct.Struct("=i")
# Of struct tcp_info (include/uapi/linux/tcp.h): last_data_sent, total_retrans, data_segs_out, bytes_sent, bytes_retrans.
# The last two exist since Linux 4.19.
_INFO = struct.Struct("=44xI52xI52xI40xQQ")
_V4_MAPPED = bytes(10) + b"\xff\xff"


class Refused(Exception):
    """The kernel does not answer the request.

    Attributes:
        errno: Its error number.
    """

    def __init__(self, errno: int) -> None:
        super().__init__(f"error {errno}")
        self.errno = errno


class Socket(NamedTuple):
    """A TCP socket.

    Attributes:
        state: Its state, such as :data:`ESTABLISHED`.
        local: Its own endpoint; see :func:`endpoint`.
        remote: The endpoint at the other end.
        cookie: Identifies the socket; never reused before a reboot.
        expires: The milliseconds until its timer ends, such as the one of :data:`TIME_WAIT`.
        inode: The number in ``/proc/<pid>/fd``; 0 if no process has the socket, as before it is accepted.
        traffic: What was sent, or None if the kernel is older than 4.19, or the socket is in :data:`TIME_WAIT`.
    """

    state: int
    local: bytes
    remote: bytes
    cookie: int
    expires: int
    inode: int
    traffic: Traffic | None


class Traffic(NamedTuple):
    """What a socket has sent.

    Attributes:
        idle: The milliseconds since data was last sent.
        sent: The bytes of data sent so far. Retransmissions do not count.
        segments: The segments with these bytes. Applications that send little get one segment for each write.
    """

    idle: int
    sent: int
    segments: int


def endpoint(address: bytes, port: int) -> bytes:
    """Return an address and a port as one value. IPv4 addresses that are mapped to IPv6 become plain IPv4 addresses.

    Args:
        address: 4 or 16 bytes.
        port: The port.
    """
    return (address[12:] if address.startswith(_V4_MAPPED) else address) + port.to_bytes(2, "big")


def request_all(family: int) -> bytes:
    """Return the request for all sockets of a family that may tell about traffic; closed ones include TIME_WAIT."""
    states = sum(1 << state for state in (ESTABLISHED, FIN_WAIT1, FIN_WAIT2, TIME_WAIT, CLOSE_WAIT))
    body = _REQUEST.pack(family, _IPPROTO_TCP, 1 << (_INET_DIAG_INFO - 1), states, b"", b"", b"", 0)
    return _request(body, _NLM_F_REQUEST | _NLM_F_DUMP)


def request_one(family: int, local: tuple[bytes, int], remote: tuple[bytes, int]) -> bytes:
    """Return the request for one connected socket.

    Args:
        family: The family of both addresses.
        local: The address and port of the end that is asked about.
        remote: The address and port of the other end.
    """
    ports = local[1].to_bytes(2, "big") + remote[1].to_bytes(2, "big")
    return _request(_REQUEST.pack(family, _IPPROTO_TCP, 0, 0, ports, local[0], remote[0], _ANY_COOKIE), _NLM_F_REQUEST)


def _request(body: bytes, flags: int) -> bytes:
    return _MESSAGE.pack(_MESSAGE.size + len(body), _SOCK_DIAG_BY_FAMILY, flags, 0, 0) + body


def read_sockets(datagram: bytes) -> Iterator[Socket | None]:
    """Yield the sockets in one datagram of an answer; None is the end of an answer with many sockets.

    Raises:
        Refused: If the kernel reports an error.
        ValueError: If the datagram is broken.
    """
    at = 0
    try:
        while at < len(datagram):
            length, kind, _, _, _ = _MESSAGE.unpack_from(datagram, at)
            end = at + length
            if not at + _MESSAGE.size <= end <= len(datagram):
                raise ValueError(f"a message of {length} bytes")
            body = datagram[at + _MESSAGE.size : end]
            if kind == _NLMSG_DONE:
                yield None
                return
            if kind == _NLMSG_ERROR:
                raise Refused(-_ERROR.unpack_from(body)[0])
            if kind == _SOCK_DIAG_BY_FAMILY:
                yield _socket(body)
            at = (end + 3) & ~3
    except struct.error as error:
        raise ValueError(f"a message that is cut off: {error}") from None


def _socket(message: bytes) -> Socket:
    family, state, ports, source, destination, cookie, expires, inode = _SOCKET.unpack_from(message)
    if family == AF_INET:
        source, destination = source[:4], destination[:4]
    elif source.startswith(_V4_MAPPED):
        source, destination = source[12:], destination[12:]
    traffic = _traffic(message, _SOCKET.size)
    return Socket(state, source + ports[:2], destination + ports[2:], cookie, expires, inode, traffic)


def _traffic(message: bytes, at: int) -> Traffic | None:
    """Find the struct tcp_info in the attributes of a socket, which begin at ``at``."""
    while at < len(message):
        length, kind = _ATTRIBUTE.unpack_from(message, at)
        if not _ATTRIBUTE.size <= length <= len(message) - at:
            raise ValueError(f"an attribute of {length} bytes")
        if kind == _INET_DIAG_INFO and length >= _ATTRIBUTE.size + _INFO.size:
            idle, retransmitted, segments, sent, resent = _INFO.unpack_from(message, at + _ATTRIBUTE.size)
            return Traffic(idle, sent - resent, segments - retransmitted)
        at += (length + 3) & ~3
    return None
