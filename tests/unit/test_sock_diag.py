"""traefik_toml_proxy.runtime.sock_diag: the kernel's messages about TCP sockets."""

from __future__ import annotations

import socket
import struct
import sys
import time

import pytest

from traefik_toml_proxy.runtime.sock_diag import (
    AF_INET,
    AF_INET6,
    CLOSE_WAIT,
    ESTABLISHED,
    TIME_WAIT,
    Refused,
    Socket,
    Traffic,
    endpoint,
    read_sockets,
    request_all,
    request_one,
)

# Recorded on Linux 6.18: an established connection that had sent 6 bytes twice, and one that its own end had closed.
_RECORDED = bytes.fromhex(
    """
    980100001400020000000000153d000002010000ad32ad377f0000010000000000000000000000007f000001000000000000000000000000
    000000001430000000000000000000000000000000000000000000004e460100050008000000000008000f00000000000c00150001000000
    0000000006001600520000001c010200010000000007aa01e01c030000000000008000001802000000000000000000000000000000000000
    0000000034000000000000003400000034000000ffff0000d7ff00000f00000009000000ffffff7f0c000000cbff00000300000000000000
    d7ff0000000000007f7556770b000000ffffffffffffffff0d00000000000000000000000000000004000000030000000000000002000000
    0000000002000000000090d00300000000000000000000000000000000000000000000000000000003000000000000000c00000000000000
    0000000000000000000000000000000000000000000001000000010000000000000000000000000000000000000000000000000000000000
    00000000000000000000000000000000
    """
)
_RECORDED_TIME_WAIT = bytes.fromhex(
    """
    600000001400020000000000c93a0000020603009eb1ec5e7f0000010000000000000000000000007f000001000000000000000000000000
    0000000012300000000000006ce800000000000000000000000000000000000008000f0000000000
    """
)

LOOPBACK, LOOPBACK6 = socket.inet_pton(socket.AF_INET, "127.0.0.1"), socket.inet_pton(socket.AF_INET6, "::1")
MAPPED = socket.inet_pton(socket.AF_INET6, "::ffff:127.0.0.1")
HERE, THERE = 40888, 8001


def _message(body: bytes, kind: int = 20) -> bytes:
    """A netlink message, padded as the kernel pads it (netlink(7))."""
    return struct.pack("=IHHII", 16 + len(body), kind, 2, 0, 1) + body + bytes(-len(body) % 4)


def _attribute(kind: int, content: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(content), kind) + content + bytes(-len(content) % 4)


def _info(length: int = 248, *, retransmissions: tuple[int, int] = (0, 0)) -> bytes:
    """A struct tcp_info of some version of Linux (include/uapi/linux/tcp.h), as attribute INET_DIAG_INFO."""
    fields = bytearray(300)
    struct.pack_into("=I", fields, 44, 1500)  # tcpi_last_data_sent
    struct.pack_into("=I", fields, 100, retransmissions[0])  # tcpi_total_retrans
    struct.pack_into("=I", fields, 156, 7)  # tcpi_data_segs_out
    struct.pack_into("=QQ", fields, 200, 5_000_000_000, retransmissions[1])  # tcpi_bytes_sent, tcpi_bytes_retrans
    return _attribute(2, bytes(fields[:length]))


def _socket(
    attributes: bytes = b"", *, family: int = AF_INET, source: bytes = LOOPBACK, destination: bytes = LOOPBACK
) -> bytes:
    """A struct inet_diag_msg (include/uapi/linux/inet_diag.h) and its attributes, as a message."""
    head = struct.pack("=BBBB", family, CLOSE_WAIT, 0, 0) + struct.pack(">HH", HERE, THERE)
    addresses = source.ljust(16, b"\0") + destination.ljust(16, b"\0")
    return _message(head + addresses + struct.pack("=IQIIIII", 3, 2**63 + 1, 5, 0, 0, 1000, 77) + attributes)


DONE = _message(bytes(4), 3)
EXPECTED = Socket(
    CLOSE_WAIT, endpoint(LOOPBACK, HERE), endpoint(LOOPBACK, THERE), 2**63 + 1, 5, 77, Traffic(1500, 5_000_000_000, 7)
)


@pytest.mark.skipif(sys.byteorder != "little", reason="recorded on a machine of the other byte order")
def test_recorded_sockets_are_read() -> None:
    """The messages are those of a real kernel."""
    recorded = Socket(
        ESTABLISHED,
        endpoint(LOOPBACK, 44338),
        endpoint(LOOPBACK, 44343),
        12308,
        0,
        83534,
        Traffic(idle=52, sent=12, segments=2),
    )
    closed = Socket(TIME_WAIT, endpoint(LOOPBACK, 40625), endpoint(LOOPBACK, 60510), 12306, 59500, 0, None)

    assert [recorded, closed, None] == list(read_sockets(_RECORDED + _RECORDED_TIME_WAIT + DONE))


def test_all_fields_are_read() -> None:
    """Whatever else is in the message, and in attributes of other kinds, does not matter."""
    others = _attribute(5, bytes(1)) + _attribute(4, b"cubic\0")

    assert list(read_sockets(_socket(others + _info() + _attribute(15, bytes(1))))) == [EXPECTED]


def test_retransmissions_do_not_count() -> None:
    """Data that is sent again is no new data."""
    (found,) = read_sockets(_socket(_info(retransmissions=(2, 1_000_000_000))))

    assert found is not None
    assert found.traffic == Traffic(1500, 4_000_000_000, 5)


@pytest.mark.parametrize("length", [0, 104, 200, 208, 215])
def test_a_kernel_that_does_not_count_what_was_sent_is_noticed(length: int) -> None:
    """Before Linux 4.19, struct tcp_info was shorter."""
    (found,) = read_sockets(_socket(_info(length)))

    assert found == EXPECTED._replace(traffic=None)


@pytest.mark.parametrize("length", [216, 232, 248, 280])
def test_longer_information_is_read(length: int) -> None:
    """Linux adds fields at the end."""
    assert list(read_sockets(_socket(_info(length)))) == [EXPECTED]


def test_addresses_are_read() -> None:
    """Of both families; an IPv4 address in an IPv6 socket is the IPv4 address."""
    (six,) = read_sockets(_socket(family=AF_INET6, source=LOOPBACK6, destination=LOOPBACK6))
    (mapped,) = read_sockets(_socket(family=AF_INET6, source=MAPPED, destination=MAPPED))

    assert six is not None
    assert mapped is not None
    assert (six.local, six.remote) == (endpoint(LOOPBACK6, HERE), endpoint(LOOPBACK6, THERE))
    assert (mapped.local, mapped.remote) == (endpoint(LOOPBACK, HERE), endpoint(LOOPBACK, THERE))


def test_endpoints_are_equal_if_address_and_port_are() -> None:
    """In whichever family an IPv4 address is given."""
    assert endpoint(LOOPBACK, 80) == endpoint(MAPPED, 80)
    assert len({endpoint(address, port) for address in (LOOPBACK, LOOPBACK6, MAPPED) for port in (1, 256)}) == 4


def test_an_answer_of_several_sockets_has_an_end() -> None:
    """What follows the end is not read; a message of another kind in between is skipped."""
    answer = _socket(_info()) + _message(b"?", 1) + _socket(_info()) + DONE + b"?"

    assert list(read_sockets(answer)) == [EXPECTED, EXPECTED, None]


def test_an_error_is_raised() -> None:
    """With its number."""
    with pytest.raises(Refused, match="error 2") as refused:
        list(read_sockets(_message(struct.pack("=i", -2) + bytes(16), 2)))

    assert refused.value.errno == 2


def test_an_answer_that_is_cut_off_is_refused_wherever_that_is() -> None:
    """No byte may be missing."""
    whole = _socket(_attribute(8, bytes(1)) + _info())

    for length in range(1, len(whole)):
        with pytest.raises(ValueError, match=r"a message (that is cut off|of \d+ bytes)"):
            list(read_sockets(whole[:length]))


@pytest.mark.parametrize("message", [_message(bytes(71)), _message(bytes(3), 2)], ids=["socket", "error"])
def test_a_message_that_is_too_short_for_its_kind_is_refused(message: bytes) -> None:
    """It is not read beyond its end."""
    with pytest.raises(ValueError, match="cut off"):
        list(read_sockets(message))


@pytest.mark.parametrize("length", [0, 3, 9, 65535])
def test_an_attribute_of_a_wrong_length_is_refused(length: int) -> None:
    """It neither makes the reader stand still, nor read into the next message."""
    broken = _socket(struct.pack("=HHI", length, 4, 0)) + _socket()

    with pytest.raises(ValueError, match=f"an attribute of {length} bytes"):
        list(read_sockets(broken))


@pytest.mark.parametrize("length", [0, 15, 2**32 - 1])
def test_a_message_of_a_wrong_length_is_refused(length: int) -> None:
    """It does not make the reader stand still."""
    with pytest.raises(ValueError, match=f"a message of {length} bytes"):
        list(read_sockets(struct.pack("=I", length) + DONE[4:]))


def test_requests_are_as_the_kernel_reads_them() -> None:
    """For all sockets of a family (NLM_F_REQUEST and NLM_F_DUMP), and for one (NLM_F_REQUEST)."""
    states = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 8
    head = struct.pack("=IHHII", 72, 20, 0x301, 0, 0)
    assert request_all(AF_INET6) == head + struct.pack("=BBBBI", 10, 6, 2, 0, states) + bytes(48)

    head = struct.pack("=IHHII", 72, 20, 0x1, 0, 0) + struct.pack("=BBBBI", 2, 6, 0, 0, 0)
    ports, addresses = struct.pack(">HH", HERE, THERE), LOOPBACK + bytes(12) + LOOPBACK + bytes(12)
    one = request_one(AF_INET, (LOOPBACK, HERE), (LOOPBACK, THERE))
    assert one == head + ports + addresses + bytes(4) + b"\xff" * 8


def test_many_sockets_are_read_in_little_time() -> None:
    """The limit is 0.1 seconds for 2,000 sockets; that leaves a slow machine several times what is needed."""
    datagram = _socket(_attribute(5, bytes(1)) + _attribute(4, b"cubic\0") + _info()) * 50
    began = time.thread_time()
    found = sum(len(list(read_sockets(datagram))) for _ in range(200))
    took = time.thread_time() - began

    assert found == 10_000
    assert took < 0.5
