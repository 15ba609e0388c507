"""Explains why Traefik cannot start, in terms of the settings. Does blocking I/O; call it in a thread."""

from __future__ import annotations

import contextlib
import errno
import socket

from ..errors import TraefikStartFailed


def check_address_is_free(address: str) -> None:
    """Check that no process listens at the address that Traefik will listen at.

    Such a process would get the users' requests, and an earlier Traefik of ours would answer in place of the new one.

    Args:
        address: The address in Go's form, ``host:port`` or ``:port``. A host name is resolved.

    Raises:
        TraefikStartFailed: If the address is taken. Any other problem is left for Traefik to report.
    """
    host, _, port = address.rpartition(":")
    try:
        candidates = socket.getaddrinfo(
            host.strip("[]") or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError:
        return
    for family, kind, protocol, _, where in candidates:
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
    """Return why Traefik exited and what an admin can do, judging by its output, or None if that does not say."""
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
