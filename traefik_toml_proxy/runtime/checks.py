"""Explains why Traefik cannot start, in terms of the settings. Does blocking I/O; call it in a thread."""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import socket
import stat
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError, TraefikStartFailed
from .listeners import holders


def check_address(address: str) -> None:
    """Check that the address that Traefik will listen at is this machine's, and that no process listens there.

    Such a process would get the users' requests, and an earlier Traefik of ours would answer in place of the new one.

    Args:
        address: The address in Go's form, ``host:port`` or ``:port``. A host name is resolved.

    Raises:
        TraefikStartFailed: If it is not free or not this machine's. Any other problem is left for Traefik to report.
    """
    host, _, port = address.rpartition(":")
    try:
        candidates = socket.getaddrinfo(
            host.strip("[]") or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError:
        return
    errors = {_error_of_binding(*candidate) for candidate in candidates}
    if errno.EADDRINUSE in errors:
        raise TraefikStartFailed(_address_is_taken(address, _holders(port)), [])
    if errors == {errno.EADDRNOTAVAIL}:
        raise TraefikStartFailed(_address_is_elsewhere(address), [])


def may_listen(address: str) -> bool:
    """Whether this process may listen at the port of an address, as far as its number is concerned."""
    port = address.rpartition(":")[2]
    where = ("127.0.0.1", int(port)) if port.isdigit() else None
    return where is None or _error_of_binding(socket.AF_INET, socket.SOCK_STREAM, 0, "", where) != errno.EACCES


def _holders(port: str) -> str:
    found = holders(int(port)) if port.isdigit() else []
    return f" ({', '.join(map(str, found))})" if found else ""


def _error_of_binding(family: int, kind: int, protocol: int, _: str, where: Any) -> int | None:
    """Return the number of the error with which this machine refuses to listen there, or None."""
    try:
        with socket.socket(family, kind, protocol) as trial:
            if family == socket.AF_INET6:
                trial.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(where)
    except OSError as error:
        return error.errno
    return None


def listens_on_ipv6_too(address: str) -> bool:
    """Whether Traefik will listen on IPv6 although the address has 0.0.0.0, as Go does where there is IPv6 (net.Listen).

    Args:
        address: The address in Go's form, ``host:port`` or ``:port``.
    """
    loopback = (socket.AF_INET6, socket.SOCK_STREAM, 0, "", ("::1", 0))
    return address.startswith("0.0.0.0:") and _error_of_binding(*loopback) is None


def explain_output(lines: list[str]) -> str | None:
    """Return why Traefik exited or does not serve, and what an admin can do; None if its output does not say."""
    for line in lines:
        if watches_no_file([line]):
            return f"it {cannot_watch()} ({line})"
        if "address already in use" in line:
            return _address_is_taken(line)
        # A name that no name server knows, or that cannot be asked for; names that Traefik connects to are others ("dial").
        elsewhere = ("listen tcp: lookup ", "cannot assign requested address", "no suitable address")
        if "listen tcp" in line and any(words in line for words in elsewhere):
            return _address_is_elsewhere(line)
        if "bind: permission denied" in line:
            return f"it {may_not_listen()} ({line})"
    return None


def watches_no_file(lines: list[str]) -> bool:
    """Whether Traefik's output says that it cannot watch a file. It does not try again (pkg/provider/file/file.go:88)."""
    return any("error creating file watcher" in line or "error adding file watcher" in line for line in lines)


def rejections(lines: list[str]) -> list[str]:
    """Return the lines of Traefik's output which say that it rejects the dynamic configuration."""
    # Not matched by file name, which only some versions of Traefik log. One that is gone is not rejected, but awaited.
    return [
        line
        for line in lines
        if " ERR " in line and "providerName=file" in line and "no such file or directory" not in line
    ]


def disabled_routers(lines: list[str], name: str) -> list[str]:
    """Return the lines of Traefik's output which say that it disables routers whose names begin with ``name``."""
    return [line for line in lines if " ERR " in line and f"routerName={name}" in line]


def may_not_listen() -> str:
    """Return that Traefik may not listen on a port below 1024, and what an admin can do: the rest of a sentence."""
    return (
        "may not listen on that port. Choose a port above 1023 with c.JupyterHub.bind_url, or give the Traefik program the "
        "capability cap_net_bind_service."
    )


def cannot_watch() -> str:
    """Return that Traefik cannot watch a file, why, and what an admin can do: the rest of a sentence."""
    return f"cannot watch the file with the routes; {usual_cause()}"


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


def _address_is_taken(details: str, by: str = "") -> str:
    return (
        f"the address is taken by another process{by}. Stop that process, or choose another port with "
        f"c.JupyterHub.bind_url. ({details})"
    )


def _address_is_elsewhere(details: str) -> str:
    return (
        "its address is not one of this machine. c.JupyterHub.bind_url says where to listen, which need not be the name or "
        "address that users type: for all addresses of this machine, leave out the host, as in http://:8000; for one, name "
        f"that. ({details})"
    )


def check_folder(folder: Path, trait: str = "c.TraefikProxy.state_dir") -> None:
    """Check that others cannot write to the state folder.

    Args:
        folder: The folder.
        trait: What sets its path.

    Raises:
        ConfigurationError: If they can, or it cannot be examined. A folder that is not there is fine.
    """
    try:
        problem = others_can_write(folder, trait)
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigurationError(
            f"The folder {folder} cannot be used: {error.strerror}. {trait} sets this path."
        ) from error
    if problem:
        raise ConfigurationError(problem)


def others_can_write(folder: Path, trait: str = "c.TraefikProxy.state_dir") -> str:
    """Return that others can write to the state folder, and what mends it; "" if they cannot.

    Args:
        folder: The folder.
        trait: What sets its path.

    Raises:
        OSError: If it cannot be examined.
    """
    mode = stat.S_IMODE(folder.stat().st_mode)
    if not mode & 0o022:
        return ""
    return (
        f"Users other than its owner can write to {folder} (mode {mode:o}), so they could redirect the Hub's users. "
        f"Run `chmod 700` on it, or choose another folder with {trait}."
    )


def check_owner(folder: Path) -> None:
    """Check that this process may use all that is in the state folder.

    Raises:
        ConfigurationError: If not. What is not there is fine.
    """
    for path in (folder, *sorted(folder.glob("*"))):
        # A new version of a file may have been renamed meanwhile, and a link may point to a file that is yet to be made.
        if not os.access(path, os.R_OK | os.W_OK) and path.exists():
            raise ConfigurationError(
                f"{path} belongs to {_owner_of(path)}, and {own_name()}, as whom the Hub runs, may not use it. Perhaps the "
                f"Hub was once started as another user. Run: chown -R {own_name()} {folder}"
            )


def check_own(folder: Path, trait: str) -> None:
    """Check that a folder belongs to the user of this process, or to root.

    Args:
        folder: The folder, which is there.
        trait: What sets its path.

    Raises:
        ConfigurationError: If not.
    """
    if folder.stat().st_uid not in (os.geteuid(), 0):
        raise ConfigurationError(
            f"{folder} belongs to {_owner_of(folder)}, who could have the Hub, which runs as {own_name()}, end any process. "
            f"Run: chown -R {own_name()} {folder}, or choose another folder with {trait}."
        )


def own_name() -> str:
    """Return the name of the user of this process, or its number."""
    return _user_name(os.geteuid())


def _owner_of(path: Path) -> str:
    with contextlib.suppress(OSError):
        return _user_name(path.lstat().st_uid)
    return "another user"


def _user_name(uid: int) -> str:
    with contextlib.suppress(KeyError):
        return pwd.getpwuid(uid).pw_name
    return str(uid)
