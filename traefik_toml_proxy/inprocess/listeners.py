"""Opens the sockets that the proxy listens on: TCP ports, and unix sockets. Does I/O, and blocks."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import socket
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ..addresses import listen_address
from ..errors import ConfigurationError, quoted
from ..routes import LONGEST_SOCKET_PATH, UNIX_SCHEMES
from ..runtime.listeners import holders
from .sockets import keep_alive

# How many connections wait to be accepted; no more than net.core.somaxconn, which is as many since Linux 5.4.
_BACKLOG = 4096
# The number of the first one that systemd passes on, as the manual of sd_listen_fds says.
_FIRST_INHERITED = 3
_BIND_URL = "c.JupyterHub.bind_url"


@dataclass(frozen=True, slots=True)
class Place:
    """Where to listen.

    Attributes:
        host: The host or address; "" for all addresses, of IPv6 as well.
        port: The port.
        path: The path of a unix socket instead, or "".
        mode: The permissions of the unix socket.
        setting: The setting that says so, for messages.
    """

    host: str = ""
    port: int = 0
    path: str = ""
    mode: int = 0o660
    setting: str = field(default=_BIND_URL, compare=False, repr=False)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.path or f"{host or '*'}:{self.port}"


def place_of(public_url: str, mode: int, setting: str = _BIND_URL) -> Place:
    """Return the place of ``JupyterHub.bind_url``, or of another setting.

    Args:
        public_url: The URL.
        mode: The permissions of a unix socket.
        setting: The setting that has it.

    Raises:
        ConfigurationError: If nobody can listen there.
    """
    url = urlsplit(public_url)
    if url.scheme in UNIX_SCHEMES:
        path = unquote(url.netloc)
        if not path.startswith("/"):
            raise ConfigurationError(
                f"{setting} is {quoted(public_url)}; the path of its socket must be absolute: "
                "http+unix://%2Frun%2Fjupyterhub.sock"
            )
        length = len(os.fsencode(path))
        if length > LONGEST_SOCKET_PATH:
            raise ConfigurationError(
                f"{setting} is {quoted(public_url)}; the path of its socket has {length} bytes, and nobody could connect to "
                f"one of more than {LONGEST_SOCKET_PATH}. Choose a shorter one."
            )
        return Place(path=path, mode=mode, setting=setting)
    host, _, port = listen_address(public_url).rpartition(":")
    return Place(host.removeprefix("[").removesuffix("]"), int(port), setting=setting)


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
        advice = _advice_for_path(Path(place.path), error) if place.path else _advice_for_port(place, error)
        raise ConfigurationError(
            f"The proxy cannot listen at {place} ({error.strerror or error}). "
            f"{advice}{advice and ' '}{place.setting} sets this address."
        ) from error


def _advice_for_port(place: Place, error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return f"Another program listens there{_named(place)}; stop it, or choose another port."
        case errno.EACCES:
            return "The Hub's user may not do that; below 1024, a port needs CAP_NET_BIND_SERVICE."
        case errno.EADDRNOTAVAIL:
            return "This machine does not have that address."
    return ""


def _advice_for_path(path: Path, error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return "Another program listens there; stop it, or choose another path."
        case errno.EEXIST:
            return "A file that is no socket is there; remove it, or choose another path."
        case errno.ENOENT:
            return f"The folder {path.parent} does not exist; create it."
        case errno.EACCES if _is_of_another_user(path):
            return "A socket of another user is there; remove it, or choose another path."
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return f"The Hub's user may not write in {path.parent}; choose another folder."
    return ""


def _is_of_another_user(path: Path) -> bool:
    with contextlib.suppress(OSError):
        return path.lstat().st_uid != os.geteuid()
    return False


def _named(place: Place) -> str:
    """Return which programs listen at the port of a place, for a sentence; "" if that may not be known."""
    found = holders(place.port)
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
        except ConfigurationError as error:
            is_taken = isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EADDRINUSE
            if not is_taken or (not place.path and all(process.pid != pid for process in holders(place.port))):
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


def unused_sockets(places: Iterable[Place]) -> list[str]:
    """Return a sentence for each socket that systemd has opened, and that is for none of these places.

    Who connects there would wait for ever: the port is open, and nobody accepts.
    """
    here = list(places)
    found = []
    for one in _from_systemd():
        with one:
            if not any(_is_at(one, place) for place in here):
                wanted = " or ".join(f"{place} ({place.setting})" for place in here)
                found.append(
                    f"systemd has opened {_address_of(one)} for the Hub, where no proxy listens, so that who connects there "
                    f"waits for ever: ListenStream= must have the same port or path as {wanted}"
                )
    return found


def _inherited(place: Place) -> list[socket.socket]:
    """Return the sockets for this place that systemd has opened: those with its port, or its path."""
    found = []
    for one in _from_systemd():
        if _is_at(one, place):
            keep_alive(one)
            one.setblocking(False)
            found.append(one)
        else:
            one.close()
    return found


def _from_systemd() -> Iterator[socket.socket]:
    """Return the TCP and unix sockets that systemd has opened (sd_listen_fds(3)), each to be closed by who takes it."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return
    for descriptor in range(_FIRST_INHERITED, _FIRST_INHERITED + int(os.environ.get("LISTEN_FDS", "0"))):
        try:
            os.set_inheritable(descriptor, False)  # not for users' servers
            is_socket = stat.S_ISSOCK(os.fstat(descriptor).st_mode)
        except OSError:  # something has closed it
            continue
        if is_socket:
            one = socket.socket(fileno=os.dup(descriptor))
            if one.type == socket.SOCK_STREAM and one.family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
                yield one
            else:
                one.close()


def _is_at(one: socket.socket, place: Place) -> bool:
    name = one.getsockname()
    if one.family == socket.AF_UNIX:
        return bool(name == place.path)
    return not place.path and name[1] == place.port


def _address_of(one: socket.socket) -> str:
    name = one.getsockname()
    if one.family == socket.AF_UNIX:
        return name if isinstance(name, str) else repr(name)  # an abstract name is bytes
    return str(Place(name[0] if name[0] != "::" else "", name[1]))


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
    """Listen on a unix socket, which nobody can connect to before it has its permissions.

    Raises:
        OSError: If that cannot be; EEXIST for a file that is no socket.
    """
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _through_folder(path) as there:
            _check_can_be_replaced(there)
            new = there.with_name(f".{secrets.token_hex(8)}.sock")
            try:
                made.bind(str(new))
                new.chmod(mode)
                made.listen(_BACKLOG)
                made.setblocking(False)
                new.rename(there)
            except BaseException:
                new.unlink(missing_ok=True)
                raise
    except BaseException:
        made.close()
        raise
    return made


@contextlib.contextmanager
def _through_folder(path: Path) -> Iterator[Path]:
    """Return a short path for the same file: that of a socket must be short, and those of folders may be long."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield Path(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)


def _check_can_be_replaced(path: Path) -> None:
    """Check that nothing is there but the socket of a program that has ended.

    Raises:
        OSError: EEXIST for anything but a socket, EADDRINUSE if a program listens, EACCES if one may, as another user.
    """
    if not os.path.lexists(path):
        return
    if not path.is_socket():
        raise OSError(errno.EEXIST, os.strerror(errno.EEXIST))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.settimeout(2)
        try:
            asking.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return
        except PermissionError:
            raise
        except OSError:  # it is too busy, or of another kind
            pass
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def remove_socket(place: Place) -> None:
    """Remove the file of a unix socket, unless another program listens there by now. Blocks."""
    path = Path(place.path)
    if place.path and path.is_socket():
        try:
            _check_can_be_replaced(path)
        except OSError:
            return
        path.unlink(missing_ok=True)
