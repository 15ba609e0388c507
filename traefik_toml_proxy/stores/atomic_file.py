"""One file that is replaced whole or not at all, and the lock that says whose it is. Does I/O, never on the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

import aiofiles.os

from ..errors import CommitFailed, StoreLocked

T = TypeVar("T")

_LOCK_NAME = "lock"


class Fingerprint(NamedTuple):
    """What tells one version of a file from another without reading it."""

    device: int
    inode: int
    mode: int
    size: int
    changed_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Fingerprint:
        """Return the fingerprint that belongs to a stat result."""
        return cls(status.st_dev, status.st_ino, status.st_mode, status.st_size, status.st_mtime_ns)


async def to_its_end(call: Callable[..., T], *arguments: object) -> T:
    """Call it in a thread, and return what it returns; when this is cancelled, the thread comes to its end first.

    A thread cannot be cancelled: it would go on with a file or a lock that somebody else has by then.
    """
    calling = asyncio.ensure_future(aiofiles.os.wrap(call)(*arguments))
    cancelled = False
    while not calling.done():
        try:
            await asyncio.wait([calling])
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        calling.exception()
        raise asyncio.CancelledError
    return calling.result()


class AtomicFile:
    """A file that readers only ever see whole.

    New versions are made in a folder of their own beside the file, ``<name>.tmp/``: it is in the same file system, so that
    renaming is atomic, and somebody who watches the file's own folder (Traefik's ``directory`` option) hears of a new
    version once, when it is complete. The name does not end in ``.toml``, nor does any in it, so Traefik loads none of it.
    """

    def __init__(self, path: Path, mode: int) -> None:
        """Args:
        path: The file; an absolute path without symbolic links in it.
        mode: Its permissions, such as 0o600.
        """
        self.path = path
        self.mode = mode
        self._folder = path.with_name(path.name + ".tmp")
        self._lock: int | None = None
        self._left: Fingerprint | None = None

    def lock(self) -> None:
        """Make this process the only writer, and remove what an earlier one left half-done. Blocks; for a thread.

        Raises:
            StoreLocked: If another process is the writer.
            OSError: If the folder cannot be made or used.
        """
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._make_folder()
        lock = os.open(self._folder / _LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = os.pread(lock, 200, 0).decode(errors="replace").strip()
            os.close(lock)
            if not isinstance(error, BlockingIOError):
                raise
            raise StoreLocked(self.path, owner or "it did not say which") from None
        with contextlib.suppress(OSError):  # on a full disk the lock holds all the same
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"process {os.getpid()}\n".encode(), 0)
        self._lock = lock
        self.clean()

    def _keep_lock(self) -> None:
        """Take the lock again if somebody has removed it.

        Raises:
            StoreLocked: If another process has taken it meanwhile.
        """
        held = self._lock
        if held is None or not self.path.parent.is_dir():
            return
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(held), (self._folder / _LOCK_NAME).lstat()):
                return
        self.lock()
        os.close(held)

    def clean(self) -> None:
        """Remove what an earlier writer left half-done; only for who is the only writer. Blocks; for a thread."""
        for leftover in self._folder.glob("new-*"):
            leftover.unlink()

    def unlock(self) -> None:
        """Let another process become the writer. May be called twice."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    async def replace(self, data: bytes) -> None:
        """Put ``data`` in the place of the file's content. When it is cancelled, what was begun is brought to its end first.

        Raises:
            CommitFailed: With the step that failed; the file is as it was.
        """
        # One visit to a thread for all of it: each costs a good part of what Traefik needs to reload.
        await to_its_end(self._replace, data)

    def _replace(self, data: bytes) -> None:
        new = self._folder / f"new-{secrets.token_hex(8)}"
        step = "open"
        try:
            self._keep_lock()
            self._make_folder()
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                os.fchmod(descriptor, self.mode)
                step = "write"
                view = memoryview(data)
                while view:
                    view = view[os.write(descriptor, view) :]
                step = "fsync"
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            step = "rename"
            # By its name and not by its descriptor: the two can differ on overlay file systems.
            left = Fingerprint.of(new.lstat())
            new.replace(self.path)
        except BaseException as error:  # whatever it is, nothing is left behind
            with contextlib.suppress(OSError):
                new.unlink()
            if not isinstance(error, OSError):
                raise
            raise CommitFailed(self.path, step, error) from error
        self._left = left
        self._sync_folder()

    def _make_folder(self) -> None:
        """Make the folder for new versions, open to whom the file's own folder is: Traefik looks into it as well."""
        if not self._folder.is_dir():
            self._folder.mkdir(mode=0o700, exist_ok=True)
            # The group that the file's own folder gives to what is made in it stays, for a Traefik of that group.
            inherited = stat.S_IMODE(self._folder.stat().st_mode) & stat.S_ISGID
            self._folder.chmod(stat.S_IMODE(self.path.parent.stat().st_mode) & 0o755 | inherited)
        status = self._folder.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
            # Whoever made it could exchange a new version before it is renamed.
            reason = (
                "it belongs to somebody else, or others may write into it, so they could change the routes; remove it"
            )
            raise PermissionError(errno.EPERM, reason, str(self._folder))

    def _sync_folder(self) -> None:
        """Make the renaming durable.

        Where that fails the new version is in place all the same, and only a power cut could bring the old one back: no
        reason to tell the caller that nothing has changed.
        """
        with contextlib.suppress(OSError):
            folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def damage(self) -> str | None:
        """Say what somebody else did to the last version since it was put there, or None. Blocks; for a thread."""
        if self._left is None:
            return None
        try:
            self._keep_lock()
            now = Fingerprint.of(self.path.lstat())
        except StoreLocked:
            return None  # it is somebody else's now; who changes a route hears of it
        except FileNotFoundError:
            return "was deleted"
        except OSError as error:
            return f"cannot be looked at ({error.strerror})"
        if now == self._left:
            return None
        if now.size == 0:
            return "was emptied"
        if now._replace(mode=self._left.mode) == self._left:
            return f"has other permissions ({stat.filemode(now.mode)})"
        return "was edited or replaced"
