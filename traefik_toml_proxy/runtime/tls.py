"""Opens TLS connections to look at what is served there; certificates are not verified. Does I/O, and blocks."""

from __future__ import annotations

import socket
import ssl


def connect(host: str, port: int, server_name: str, timeout: float | None) -> ssl.SSLSocket:
    """Return an open connection, after its handshake.

    Each socket is wrapped before it is connected. ``SSLContext.wrap_socket`` of a connected one leaks it if the other side
    resets the connection in between (``SSLSocket._create`` in CPython 3.11's ``Lib/ssl.py``).

    Args:
        host: The host name or IP address; all its addresses are tried.
        port: The TCP port.
        server_name: The name to ask for (SNI).
        timeout: Seconds for connecting, and for each later call of the socket. ``None`` is for ever.

    Raises:
        OSError: No address could be connected, or the handshake failed (:class:`ssl.SSLError`).
    """
    # S323: nothing but a path is sent over these connections, and only where the admin said.
    context = ssl._create_unverified_context()  # noqa: S323, SLF001
    failed: OSError | None = None
    for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        tls = context.wrap_socket(socket.socket(family, kind, protocol), server_hostname=server_name)
        try:
            tls.settimeout(timeout)
            tls.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            tls.connect(address)
        except OSError as error:
            tls.close()
            failed = error
        except BaseException:
            tls.close()
            raise
        else:
            return tls
    raise failed or OSError(f"{host} has no address")
