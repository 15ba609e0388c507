"""Opens connections to servers: over TCP, by address or by name, and over unix sockets. Does I/O."""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import socket
import ssl
from collections.abc import Callable

from .names import Names
from .server import ServerConnection
from .targets import Address

# Seconds until the next attempt if the server of a unix socket has not accepted those before.
_PAUSE = 0.02


async def open_connection(
    make: Callable[[], ServerConnection], address: Address, context: ssl.SSLContext | None, names: Names
) -> None:
    """Open a connection.

    Args:
        make: Makes its protocol.
        address: Where it goes.
        context: The certificates for https; None for plain http.
        names: Looks up its host.

    Raises:
        OSError: If it cannot be opened.
        UnicodeError: If the host cannot be a name.
    """
    loop = asyncio.get_running_loop()
    if not address.socket and _is_literal(address.host):
        await loop.create_connection(make, address.host, address.port, ssl=context)
        return
    connected = await (_unix(address.socket) if address.socket else _tcp(names, address.host, address.port))
    try:
        if address.socket:
            await loop.create_unix_connection(make, sock=connected)
        else:
            hostname = None if context is None else address.host
            await loop.create_connection(make, sock=connected, ssl=context, server_hostname=hostname)
    except OSError:
        connected.close()
        raise


@functools.lru_cache(maxsize=1024)
def _is_literal(host: str) -> bool:
    """Whether a host is an address, and so needs no look-up."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


async def _tcp(names: Names, host: str, port: int) -> socket.socket:
    """Return what is connected to the first address of a host that can be reached."""
    loop = asyncio.get_running_loop()
    problem = OSError(f"{host} has no address")
    for family, where in await names.addresses(host, port):
        made = socket.socket(family, socket.SOCK_STREAM)
        try:
            made.setblocking(False)
            await loop.sock_connect(made, where)
        except OSError as error:
            made.close()
            problem = error
        except BaseException:
            made.close()
            raise
        else:
            return made
    raise problem


async def _unix(path: str) -> socket.socket:
    """Return what is connected to a unix socket.

    The loops do not do this well: uvloop shortens a path that is too long, and so comes to another server; and asyncio takes
    a socket whose backlog is full for connected. It is no matter of waiting (connect(2), EAGAIN).
    """
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        while True:
            try:
                made.connect(path)
            except BlockingIOError:
                await asyncio.sleep(_PAUSE)
            else:
                return made
    except BaseException:
        made.close()
        raise
