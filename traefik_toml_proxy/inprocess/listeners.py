"""Opens the sockets that the proxy listens on: TCP ports, and unix sockets. Does I/O, and blocks."""

from __future__ import annotations

import errno
import os
import secrets
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ..addresses import listen_address
from ..errors import ConfigurationError, quoted
from ..routes import UNIX_SCHEMES
from ..runtime.listeners import holders
from .sockets import keep_alive

# How many connections wait to be accepted; no more than net.core.somaxconn, which is as many since Linux 5.4.
_BACKLOG = 4096
# The number of the first one that systemd passes on, as the manual of sd_listen_fds says.
_FIRST_INHERITED = 3


@dataclass(frozen=True, slots=True)
class Place:
    """Where to listen.

    Attributes:
        host: The host or address; "" for all addresses, of IPv6 as well.
        port: The port.
        path: The path of a unix socket instead, or "".
        mode: The permissions of the unix socket.
    """

    host: str = ""
    port: int = 0
    path: str = ""
    mode: int = 0o660

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.path or f"{host or '*'}:{self.port}"


def place_of(public_url: str, mode: int) -> Place:
    """Return the place of ``JupyterHub.bind_url``.

    Args:
        public_url: The URL.
        mode: The permissions of a unix socket.

    Raises:
        ConfigurationError: If nobody can listen there.
    """
    url = urlsplit(public_url)
    if url.scheme in UNIX_SCHEMES:
        path = unquote(url.netloc)
        if not path.startswith("/"):
            raise ConfigurationError(
                f"c.JupyterHub.bind_url is {quoted(public_url)}; the path of its socket must be absolute: "
                "http+unix://%2Frun%2Fjupyterhub.sock"
            )
        return Place(path=path, mode=mode)
    host, _, port = listen_address(public_url).rpartition(":")
    return Place(host.removeprefix("[").removesuffix("]"), int(port))


def open_sockets(place: Place) -> list[socket.socket]:
    """Return sockets that listen at a place. Blocks: a name may have to be resolved.

    They may come from systemd, which keeps them open while the Hub is restarted, so that new connections wait.

    Raises:
        ConfigurationError: If that cannot be; all are closed again.
    """
    inherited = _inherited(place)
    if inherited:
        return inherited
    try:
        return [open_unix(Path(place.path), place.mode)] if place.path else _open_tcp(place.host, place.port)
    except OSError as error:
        advice = {
            errno.EADDRINUSE: f"Another program listens there{_named(place)}; stop it, or choose another port.",
            errno.EACCES: "The Hub's user may not do that; below 1024, a port needs CAP_NET_BIND_SERVICE.",
            errno.EADDRNOTAVAIL: "This machine does not have that address.",
        }.get(error.errno or 0, "")
        raise ConfigurationError(
            f"The proxy cannot listen at {place} ({error.strerror or error}). "
            f"{advice or 'c.JupyterHub.bind_url sets this address.'}"
        ) from error


def _named(place: Place) -> str:
    """Return which programs listen at the port of a place, for a sentence; "" if nobody may know."""
    found = [] if place.path else holders(place.port)
    return f" ({', '.join(map(str, found))})" if found else ""


def check_places(places: Iterable[tuple[Place, bool, int | None]], pid: int) -> None:
    """Check that a new process can listen at these places once another one has ended. Blocks.

    Args:
        places: The places, as for :func:`open_places`.
        pid: The process that is to end, and may listen there until then.

    Raises:
        ConfigurationError: If it cannot.
    """
    for place, *_ in places:
        try:
            for one in open_sockets(place):
                one.close()
        except ConfigurationError:
            if not place.path and all(process.pid != pid for process in holders(place.port)):
                raise


def open_places(places: Iterable[tuple[Place, bool, int | None]]) -> list[tuple[socket.socket, bool, int | None]]:
    """Return sockets that listen at all of some places, each with what is said of its place. Blocks.

    Raises:
        ConfigurationError: If that cannot be at one of them; nobody listens at the others then.
    """
    opened: list[tuple[socket.socket, bool, int | None]] = []
    try:
        for place, is_tls, port in places:
            opened += [(one, is_tls, port) for one in open_sockets(place)]
    except BaseException:
        for one, *_ in opened:
            one.close()
        raise
    return opened


def _inherited(place: Place) -> list[socket.socket]:
    """Return the sockets for this place that systemd has opened (sd_listen_fds(3)): those with its port, or its path."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    found = []
    for descriptor in range(_FIRST_INHERITED, _FIRST_INHERITED + int(os.environ.get("LISTEN_FDS", "0"))):
        os.set_inheritable(descriptor, False)  # not for users' servers
        one = socket.socket(fileno=os.dup(descriptor))
        name = one.getsockname()
        if name == place.path if isinstance(name, str) else (not place.path and name[1] == place.port):
            keep_alive(one)
            one.setblocking(False)
            found.append(one)
        else:
            one.close()
    return found


def _open_tcp(host: str, port: int) -> list[socket.socket]:
    if not host:
        return [_open_all(port)]
    opened: list[socket.socket] = []
    try:
        for family, _, _, _, address in dict.fromkeys(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)):
            opened.append(_bound(family, address))
    except BaseException:
        for one in opened:
            one.close()
        raise
    return opened


def _open_all(port: int) -> socket.socket:
    """Listen on all addresses: of both families with one socket, if this machine has IPv6."""
    try:
        return _bound(socket.AF_INET6, ("::", port), both=True)
    except OSError as error:
        if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
            raise
        return _bound(socket.AF_INET, ("", port))


def _bound(family: int, address: object, *, both: bool = False) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(not both))
        # On Linux, all connections from it have these as well.
        keep_alive(made)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.bind(address)  # type: ignore[arg-type] # from getaddrinfo
        made.listen(_BACKLOG)
        made.setblocking(False)
    except BaseException:
        made.close()
        raise
    return made


def open_unix(path: Path, mode: int) -> socket.socket:
    """Listen on a unix socket, which nobody can connect to before it has its permissions."""
    if _is_in_use(path):
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    new = path.with_name(f".{path.name[:20]}.{secrets.token_hex(4)}")
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        made.bind(str(new))
        new.chmod(mode)
        made.listen(_BACKLOG)
        made.setblocking(False)
        new.rename(path)
    except BaseException:
        made.close()
        new.unlink(missing_ok=True)
        raise
    return made


def _is_in_use(path: Path) -> bool:
    """Whether something is there that must not be replaced: a program that listens, or anything but a socket."""
    if not os.path.lexists(path):
        return False
    if not path.is_socket():
        return True
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.settimeout(2)
        try:
            asking.connect(str(path))
        except ConnectionRefusedError:
            return False
        except OSError as error:
            return error.errno != errno.ENOENT
    return True


def remove_socket(place: Place) -> None:
    """Remove the file of a unix socket, unless another program listens there by now. Blocks."""
    path = Path(place.path)
    if place.path and path.is_socket() and not _is_in_use(path):
        path.unlink(missing_ok=True)
