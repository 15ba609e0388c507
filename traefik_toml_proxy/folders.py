"""Notices when a folder that files are kept in is replaced. Does I/O, never on the event loop."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from .access import make_parents


class HeldFolder:
    """Notices when a folder is replaced by another one with the same name. All methods block."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.moves = 0
        # Keeps its inode from being used again, so that another folder cannot be taken for this one.
        self._descriptor: int | None = None

    def hold(self) -> None:
        """From now on, notice when it is replaced; it must be there.

        Raises:
            OSError: If it cannot be opened.
        """
        new = os.open(self.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self.release()
        self._descriptor = new

    def look(self) -> None:
        """Count it as a move if there is another folder now.

        Raises:
            OSError: If there is none, or it cannot be examined.
        """
        if self._descriptor is not None and not os.path.samestat(os.fstat(self._descriptor), self.path.stat()):
            self.hold()
            self.moves += 1

    def restore(self) -> None:
        """Create it again if it is gone, for those who had access before; count it as a move if there is another one.

        Raises:
            OSError: If it cannot be created.
        """
        if self._descriptor is not None and not self.path.exists():
            before = os.fstat(self._descriptor)
            with contextlib.suppress(OSError):
                make_parents(self.path, before.st_gid if before.st_mode & 0o050 else None)
            self.path.mkdir(mode=0o700, parents=True)
            with contextlib.suppress(OSError):
                os.chown(self.path, -1, before.st_gid)
            self.path.chmod(stat.S_IMODE(before.st_mode))
        self.look()

    def release(self) -> None:
        """Stop. May be called twice."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
