"""A connection from a client, of which asyncio tells what no real client can do on demand."""

from __future__ import annotations

import asyncio
import errno
from typing import cast

import pytest
from support.transports import Transport

from traefik_toml_proxy.inprocess.client import ClientConnection, Engine, Making
from traefik_toml_proxy.inprocess.forwarding import Peer
from traefik_toml_proxy.inprocess.heads import Request


class Slow:
    """Never answers."""

    is_stopping = False

    def remember(self, client: ClientConnection) -> None:
        """Do nothing."""

    forget = remember

    def answer(self, client: ClientConnection, request: Request) -> Making:  # noqa: ARG002
        """Return what never has an answer."""
        return cast("Making", asyncio.Event().wait)


@pytest.mark.parametrize(("error", "goes_on"), [(0, True), (errno.EPIPE, True), (errno.ECONNRESET, False)])
async def test_a_reset_that_looks_like_an_end(error: int, *, goes_on: bool) -> None:
    """As with uvloop 0.22 and older, if data have come with it: nobody waits for the answer any more."""
    transport = Transport()
    connection = ClientConnection(cast("Engine", Slow()), Peer(b"127.0.0.1", is_trusted=False, is_tls=False))
    connection.connection_made(transport)
    connection.data_received(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    transport.error = error
    assert connection.eof_received() is goes_on
    connection.connection_lost(None)
    # asyncio could tell of the loss twice otherwise, and fail.
    assert not transport.closed
