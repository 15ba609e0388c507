"""What is checked before Traefik is started, so that an error says what to do. Does I/O; blocks, for a thread."""

from __future__ import annotations

import contextlib
import errno
import socket

from ..errors import TraefikStartFailed


def check_address_is_free(address: str) -> None:
    """Check that nobody listens where Traefik is going to.

    Whoever listens there would get the users' requests, and an earlier Traefik of ours would answer for the new one.

    Args:
        address: In Go's form, ``host:port`` or ``:port``. A name is looked up.

    Raises:
        TraefikStartFailed: If the address is taken. Anything else that is wrong with it is left for Traefik to report.
    """
    host, _, port = address.rpartition(":")
    try:
        found = socket.getaddrinfo(host.strip("[]") or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError:
        return
    for family, kind, protocol, _, where in found:
        with contextlib.suppress(OSError), socket.socket(family, kind, protocol) as trial:
            if family == socket.AF_INET6:
                trial.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind(where)
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    raise TraefikStartFailed(_address_is_taken(address), []) from error


def explain_output(lines: list[str]) -> str | None:
    """Return what an admin can do about a Traefik that has exited, judged by its output, or None if that tells nothing."""
    for line in lines:
        if "address already in use" in line:
            return _address_is_taken(line)
        if "bind: permission denied" in line:
            return (
                "it may not listen on that port. Choose a port above 1023 with c.JupyterHub.bind_url, or give the "
                f"Traefik program the capability cap_net_bind_service. ({line})"
            )
    return None


def _address_is_taken(details: str) -> str:
    return (
        "the address is taken by another process. Stop that process, or choose another port with "
        f"c.JupyterHub.bind_url. ({details})"
    )
