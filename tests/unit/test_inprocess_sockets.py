"""What waits in a socket: bytes that nobody has read, and bytes that the other side has not got."""

from __future__ import annotations

import asyncio
import socket
from typing import cast

from traefik_toml_proxy.inprocess.sockets import is_settled


class Having(asyncio.Transport):
    """A transport that has a socket, or none."""

    def __init__(self, one: socket.socket | None) -> None:
        super().__init__({"socket": one})


def settled(one: socket.socket | None, *, is_tls: bool) -> bool:
    """Return whether it is settled."""
    return is_settled(cast("asyncio.Transport", Having(one)), is_tls=is_tls)


def test_a_connection_is_settled_when_nothing_waits_in_either_direction() -> None:
    """What waits to be sent counts over TLS only: without it, the system sends it after the end as well."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        one = socket.create_connection(listening.getsockname(), timeout=20)
        other, _ = listening.accept()
    with one, other:
        assert settled(one, is_tls=True)
        other.sendall(b"x")
        assert one.recv(1, socket.MSG_PEEK) == b"x"
        assert not settled(one, is_tls=False)
        one.recv(1)
        assert settled(one, is_tls=True)
        one.setblocking(False)
        while True:
            try:
                one.send(bytes(65_536))
            except BlockingIOError:
                break
        assert not settled(one, is_tls=True)
        assert settled(one, is_tls=False)


def test_one_that_is_lost_is_settled() -> None:
    """There is nothing more to lose."""
    with socket.socket() as closed:
        pass
    assert settled(closed, is_tls=True)
    assert settled(None, is_tls=True)
