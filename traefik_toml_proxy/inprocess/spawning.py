"""Starts the proxy's process, and comes to one that an earlier Hub has started. Does I/O, and blocks."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import subprocess
import sys
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import IO

from .child import DOOR
from .handover import Listening, receive
from .link import NoAnswer, peer_of

__all__ = ["DOOR", "LastOutput", "come_to_door", "spawn", "wait_for"]

# How much of what it has written to its standard error is logged.
_LAST_BYTES = 2000
_UNPRINTABLE = re.compile(r"[^\n -~]+")
# The only variables that it inherits: no secrets of the Hub.
_KEPT_VARIABLES = (
    *("HOME", "LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "LOGNAME", "PATH", "PYTHONHOME", "SSL_CERT_DIR"),
    *("SSL_CERT_FILE", "TMPDIR", "TZ", "USER"),
)


class LastOutput:
    """What a process writes to its output, in memory: a traceback, if Python has crashed."""

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None

    def renew(self) -> None:
        """Begin with an empty file."""
        self.close()
        self._file = os.fdopen(os.memfd_create("output of the proxy"), "w+b")

    def fileno(self) -> int:
        """Return its descriptor."""
        assert self._file is not None  # noqa: S101
        return self._file.fileno()

    def words(self) -> str:
        """Return the last of it, to be put behind a sentence of the log; "" if there is nothing."""
        if self._file is None:
            return ""
        size = self._file.seek(0, os.SEEK_END)
        self._file.seek(max(0, size - _LAST_BYTES))
        text = self._file.read().decode(errors="replace").strip()
        text = _UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], text)
        return f" The last lines of its output:\n{text}" if text else ""

    def close(self) -> None:
        """Close it. May be called twice."""
        if self._file is not None:
            self._file.close()
            self._file = None


def spawn(
    command: Sequence[str], link: socket.socket, sockets: Sequence[socket.socket], output: LastOutput
) -> subprocess.Popen[bytes]:
    """Start the process.

    Args:
        command: The command.
        link: Its end of the connection to the Hub, which is its standard input.
        sockets: Those that listen; it gets them under the same numbers.
        output: Where it writes.

    Raises:
        OSError: If it could not be run.
    """
    return subprocess.Popen(
        command,
        stdin=link.fileno(),
        stdout=output.fileno(),
        stderr=output.fileno(),
        cwd="/",  # Python imports from there: only root can put modules there, and it cannot be deleted
        env=_environment(),
        pass_fds=[one.fileno() for one in sockets],
        start_new_session=True,
    )


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    # What the Hub imports from, however it was told, and not what users can write to.
    return kept | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path and Path(path).is_absolute())}


def come_to_door(folder: Path, pid: int, seconds: float) -> tuple[socket.socket, list[Listening]]:
    """Return a connection to the process that an earlier Hub has started, and what it listens on. Blocks.

    Args:
        folder: ``c.InProcessProxy.state_dir``.
        pid: The process.
        seconds: How long it may take to answer.

    Raises:
        OSError: If it does not listen, or it is another process that does.
        NoAnswer: If it does not send its sockets in time.
    """
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(seconds)
        connection.connect(f"/proc/self/fd/{descriptor}/{DOOR}")
        if peer_of(connection) != (pid, os.geteuid()):
            raise PermissionError("another process listens there")  # noqa: TRY301 - so that it is closed as well
        try:
            return connection, receive(connection)
        except TimeoutError as error:
            raise NoAnswer(seconds) from error
    except BaseException:
        connection.close()
        raise
    finally:
        os.close(descriptor)


async def wait_for(work: Awaitable[object], seconds: float) -> bool:
    """Wait for something, but not for longer; return whether it is done."""
    waiting = asyncio.ensure_future(work)
    try:
        await asyncio.wait([waiting], timeout=seconds)
        return waiting.done()
    finally:
        waiting.cancel()
