"""Locks for files, which name the process that holds them, and for folders. Does I/O, never on the event loop."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from pathlib import Path

# Seconds between two attempts to lock a folder.
_PAUSE = 0.02


class LockHeld(OSError):
    """Another process holds a lock.

    Attributes:
        owner: What the lock file says about that process, such as ``process 123``.
    """

    def __init__(self, path: Path, owner: str) -> None:
        super().__init__(errno.EWOULDBLOCK, f"locked by {owner}", str(path))
        self.owner = owner


class OwnerLock:
    """A lock file that names the process holding it. All methods block."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock; its folder must exist.

        Raises:
            LockHeld: If another process holds it.
            OSError: If the file cannot be made or locked.
        """
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = os.pread(descriptor, 200, 0).decode(errors="replace").strip()
            os.close(descriptor)
            if not isinstance(error, BlockingIOError):
                raise
            raise LockHeld(self.path, owner or "an unknown process") from None
        with contextlib.suppress(OSError):  # without a name, as on a full disk, the lock still holds
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"process {os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor

    def was_lost(self) -> bool:
        """Whether the lock file has been removed or replaced since the lock was taken."""
        if self._descriptor is None:
            return False
        try:
            return not os.path.samestat(os.fstat(self._descriptor), self.path.lstat())
        except FileNotFoundError:
            return True

    def reacquire(self) -> None:
        """Take a lost lock again; its folder must exist.

        Raises:
            LockHeld: If another process has taken it meanwhile.
            OSError: If the file cannot be made or locked.
        """
        lost = self._descriptor
        self.acquire()
        if lost is not None:
            os.close(lost)

    def release(self) -> None:
        """Release the lock. May be called twice."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class FolderLock:
    """A lock on a folder that processes of several users can hold, one at a time: they need only read it.

    All methods block. It is for short times: who waits for it does so for some seconds.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._descriptor: int | None = None

    def acquire(self, timeout: float) -> bool:
        """Take the lock, once no other process has it; return whether that was so in time.

        Args:
            timeout: The maximum number of seconds to wait.

        Raises:
            OSError: If the folder cannot be opened or locked.
        """
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        deadline = time.monotonic() + timeout
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() < deadline:
                    time.sleep(_PAUSE)
                    continue
                os.close(descriptor)
                return False
            except BaseException:
                os.close(descriptor)
                raise
            self._descriptor = descriptor
            return True

    def release(self) -> None:
        """Release the lock. May be called twice."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)
