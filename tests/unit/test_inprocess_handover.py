"""inprocess.handover: sockets go from one process to another, whole or not at all."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from traefik_toml_proxy.inprocess.handover import NothingHandedOver, hand_over, receive


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a connection."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(5)
        yield ours, theirs


@pytest.fixture
def listening() -> Iterator[list[socket.socket]]:
    """Two sockets that listen."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        yield [one, two]


def descriptors() -> set[str]:
    """Return the numbers of the files that are open."""
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def test_what_is_handed_over_is_what_was_listened_on(
    pair: tuple[socket.socket, socket.socket], listening: list[socket.socket]
) -> None:
    ours, theirs = pair
    hand_over(theirs, [(listening[0].fileno(), True, None), (listening[1].fileno(), False, 443)])

    received = receive(ours)

    try:
        assert [(one.getsockname(), is_tls, port) for one, is_tls, port in received] == [
            (listening[0].getsockname(), True, None),
            (listening[1].getsockname(), False, 443),
        ]
        # A server of a user that the Hub starts does not get them.
        assert not any(one.get_inheritable() for one, _, _ in received)
        for one in listening:
            one.close()
        with socket.create_connection(received[0][0].getsockname(), timeout=5):
            pass
    finally:
        for one, _, _ in received:
            one.close()


def test_nothing_that_listens_is_handed_over_as_nothing(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    hand_over(theirs, [])

    assert receive(ours) == []


@pytest.mark.parametrize("text", [b"[]", b"[[true, null]]", b"[[true], [1, 2, 3]]", b"[1, 2]", b"x", b'{"a": 1}'])
def test_of_what_cannot_be_understood_nothing_stays_open(
    pair: tuple[socket.socket, socket.socket], listening: list[socket.socket], text: bytes
) -> None:
    ours, theirs = pair
    before = descriptors()
    socket.send_fds(theirs, [text], [one.fileno() for one in listening])

    with pytest.raises(NothingHandedOver):
        receive(ours)

    assert descriptors() == before


def test_a_connection_that_is_closed_hands_over_nothing(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    theirs.close()

    with pytest.raises(NothingHandedOver):
        receive(ours)
