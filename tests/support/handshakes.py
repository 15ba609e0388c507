"""A TLS handshake that waits for its last step. I/O: sockets."""

from __future__ import annotations

import asyncio
import socket
import ssl

from traefik_toml_proxy.conformance.client import unverified


async def almost_shaken(address: tuple[str, int]) -> tuple[socket.socket, bytes]:
    """Return a connection, and what completes its TLS handshake."""
    loop = asyncio.get_running_loop()
    client = socket.socket()
    client.setblocking(False)
    await loop.sock_connect(client, address)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = unverified().wrap_bio(incoming, outgoing)
    while True:
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            await loop.sock_sendall(client, outgoing.read())
            incoming.write(await loop.sock_recv(client, 100_000))
        else:
            return client, outgoing.read()
