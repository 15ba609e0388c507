"""What a file watcher sees of a folder: the kinds of events that Traefik listens to (fsnotify)."""

from __future__ import annotations

import ctypes
import os
import struct
from pathlib import Path
from types import TracebackType

_CHANGES = {
    0x002: "modified",
    0x004: "attributes changed",
    0x040: "moved from",
    0x080: "moved to",
    0x100: "created",
    0x200: "deleted",
}
_HEAD = struct.Struct("iIII")


class Changes:
    """Watches one folder, without its subfolders."""

    def __init__(self, folder: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor: int = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        assert self._descriptor >= 0, os.strerror(ctypes.get_errno())
        watch = libc.inotify_add_watch(self._descriptor, os.fsencode(folder), sum(_CHANGES))
        assert watch >= 0, os.strerror(ctypes.get_errno())

    def __enter__(self) -> Changes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)

    def heard(self) -> list[str]:
        """Return what has happened since the last call, in order: ``moved to dynamic.toml``."""
        try:
            data = os.read(self._descriptor, 2**16)
        except BlockingIOError:
            return []
        heard = []
        while data:
            _, mask, _, length = _HEAD.unpack_from(data)
            name = data[_HEAD.size : _HEAD.size + length].rstrip(b"\0")
            kinds = [text for bit, text in _CHANGES.items() if mask & bit] or [hex(mask)]
            heard.append(" ".join([*kinds, os.fsdecode(name)]))
            data = data[_HEAD.size + length :]
        return heard
