"""Explains why Traefik cannot start, in terms of the settings. Does blocking I/O; call it in a thread."""

from __future__ import annotations

import contextlib
import errno
import socket
from pathlib import Path

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
    """Return why Traefik exited or does not serve, and what an admin can do; None if its output does not say."""
    for line in lines:
        if watches_no_file([line]):
            return f"it cannot watch the file with the routes; {usual_cause()} ({line})"
        if "address already in use" in line:
            return _address_is_taken(line)
        if "bind: permission denied" in line:
            return (
                "it may not listen on that port. Choose a port above 1023 with c.JupyterHub.bind_url, or give the "
                f"Traefik program the capability cap_net_bind_service. ({line})"
            )
    return None


def watches_no_file(lines: list[str]) -> bool:
    """Whether Traefik's output says that it cannot watch a file. It does not try again (pkg/provider/file/file.go:88)."""
    return any("error creating file watcher" in line or "error adding file watcher" in line for line in lines)


def usual_cause() -> str:
    """Return the usual cause for a Traefik that does not notice new versions of a file, and what an admin can do."""
    limits = ", ".join(f"fs.inotify.{name} (now {_limit(name)})" for name in ("max_user_instances", "max_user_watches"))
    return (
        "the usual cause is that other programs of this user have used up inotify, with which Traefik watches files: raise "
        f"the kernel settings {limits}. It does not work either on a file system without inotify, such as some network and "
        "container mounts."
    )


def _limit(name: str) -> str:
    with contextlib.suppress(OSError):
        return Path("/proc/sys/fs/inotify", name).read_text().strip()
    return "unknown"


def _address_is_taken(details: str) -> str:
    return (
        "the address is taken by another process. Stop that process, or choose another port with "
        f"c.JupyterHub.bind_url. ({details})"
    )
