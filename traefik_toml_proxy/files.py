"""Files replaced atomically, and private files. Does I/O, never on the event loop."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, TypeVar

import aiofiles.os

from .access import create, make_folder, make_folder_like_its_parent
from .errors import MOUNT_OF_ITS_OWN
from .folders import HeldFolder
from .locks import LockHeld, OwnerLock
from .tasks import run_to_completion
from .threads import OURS

T = TypeVar("T")


class ReplaceFailed(OSError):
    """A file could not be replaced; its old version is still in place.

    Attributes:
        step: The step that failed: ``open``, ``write``, ``fsync`` or ``rename``.
    """

    def __init__(self, path: Path, step: str, cause: OSError) -> None:
        super().__init__(cause.errno or errno.EIO, cause.strerror or str(cause), str(path))
        self.step = step

    def __str__(self) -> str:
        advice = f". {self.advice}" if self.advice else ""
        return f"Could not {self.step} a new version of {self.filename}: {self.strerror}{advice}"

    @property
    def advice(self) -> str:
        """What an admin can do about it, in a sentence without a full stop, or ""."""
        if self.step == "rename" and self.errno in (errno.EBUSY, errno.EXDEV):
            # rename(2): nothing can be renamed onto a mount point, nor to another mount.
            return f"It seems to be {MOUNT_OF_ITS_OWN}"
        return ""


async def run_in_thread(call: Callable[..., T], *arguments: object) -> T:
    """Call a function in a thread and return its result; when cancelled, wait for the thread before cancelling.

    A thread cannot be cancelled. Left running, it could use a file or lock that somebody else owns by then.
    """
    result: T = await run_to_completion(aiofiles.os.wrap(call)(*arguments, executor=OURS.executor))
    return result


class Fingerprint(NamedTuple):
    """Tells two versions of a file apart without reading them."""

    device: int
    inode: int
    mode: int
    owner: int
    group: int
    size: int
    changed_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Fingerprint:
        """Return the fingerprint in a stat result."""
        return cls(
            status.st_dev,
            status.st_ino,
            status.st_mode,
            status.st_uid,
            status.st_gid,
            status.st_size,
            status.st_mtime_ns,
        )


def make_private(path: Path) -> None:
    """Take all access to a file, if it is there, from everybody but its owner. Blocks."""
    with contextlib.suppress(OSError):  # whoever needs the file will say so
        if stat.S_ISREG(path.lstat().st_mode):
            path.chmod(0o600)


def write_private(path: Path, data: bytes, mode: int = 0o600, group: int | None = None) -> Fingerprint:
    """Atomically replace a file with one that, by default, only its owner can read. Blocks.

    Args:
        path: The file.
        data: Its new content.
        mode: Its permissions.
        group: The id of its group; None for the one that the system gives it.

    Returns:
        The fingerprint of the new version.

    Raises:
        OSError: If the file cannot be written; an old version stays in place.
    """
    new = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    descriptor = create(new, mode, group)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor, not a path
            file.write(data)
        written = Fingerprint.of(new.lstat())
        new.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            new.unlink()
        raise
    return written


class KeptFiles:
    """Small files in one folder whose content this process knows: it writes them again if others change them."""

    def __init__(self, folder: Path, mode: int = 0o600, group: int | None = None) -> None:
        """Set the folder and the permissions; nothing is written yet.

        Args:
            folder: The folder; it is created when needed, for those who can read the folder that it is in.
            mode: The permissions of the files.
            group: The id of the group that may read the folder, and that the files have; None for no other one.
        """
        self.folder = folder
        self._mode = mode
        self.group = group
        # Replaced as a whole, since :meth:`write` may run in a thread meanwhile.
        self._wanted: Mapping[Path, bytes] = {}
        self._written: dict[Path, Fingerprint] = {}

    def keep(self, files: Mapping[str, bytes]) -> None:
        """Set which files are to be there, by name; does not write them."""
        self._wanted = {self.folder / name: data for name, data in files.items()}

    def write(self) -> None:
        """Write the files that are missing or that others have changed. Blocks.

        Raises:
            ReplaceFailed: If one could not be written.
        """
        for path, data in self._wanted.items():
            if self._harm(path) is not None:
                try:
                    make_folder_like_its_parent(self.folder, self.group)
                    self._written[path] = write_private(path, data, self._mode, self.group)
                except OSError as error:
                    raise ReplaceFailed(path, "write", error) from error

    def damage(self) -> str | None:
        """Return what others have done to the files since they were written, or None. Blocks."""
        for path in self._wanted:
            if path in self._written and (harm := self._harm(path)) is not None:
                return f"needs {path}, which {harm}"
        return None

    def _harm(self, path: Path) -> str | None:
        try:
            now = Fingerprint.of(path.lstat())
        except FileNotFoundError:
            return "was deleted"
        except OSError as error:
            return f"cannot be examined ({error.strerror})"
        return None if now == self._written.get(path) else "was changed"

    def remove_others(self, pattern: re.Pattern[str]) -> None:
        """Remove the files in the folder that are not to be there. Blocks.

        Args:
            pattern: Matches the names of files that were made here. Its first group is the name without the end that a new
                version has: that of a file that is to be there may just be written in another thread.
        """
        with contextlib.suppress(FileNotFoundError):
            for path in self.folder.iterdir():
                match = pattern.fullmatch(path.name)
                if match and path.with_name(match[1]) not in self._wanted:
                    path.unlink(missing_ok=True)
                    self._written.pop(path, None)


class AtomicFile:
    """A file that only one process writes, and that readers always see complete.

    New versions are written in a folder beside the file, ``<name>.tmp/``. It is on the same file system, so renaming is
    atomic, and a program that watches the file's own folder (Traefik's ``directory`` option) sees one event for each new
    version, when it is complete. No name in it ends in ``.toml``, and neither does its own, so Traefik loads none of it.
    """

    def __init__(self, path: Path, mode: int, group: int | None = None) -> None:
        """Set the path and the permissions; nothing is read or written yet.

        Args:
            path: An absolute path without symbolic links.
            mode: The permissions of the file, such as 0o600.
            group: The id of its group, which may also read the folders that are made; None for no other one.
        """
        self.path = path
        self.mode = mode
        self.group = group
        self._folder = path.with_name(path.name + ".tmp")
        self._lock = OwnerLock(self._folder / "lock")
        self._place = HeldFolder(path.parent)
        self._written: Fingerprint | None = None

    @property
    def moves(self) -> int:
        """How often the folder of the file was replaced by another one while it was locked."""
        return self._place.moves

    def lock(self) -> None:
        """Become the only writer, and remove unfinished versions of an earlier one. Blocks.

        Raises:
            LockHeld: If another process is the writer.
            OSError: If the folder cannot be created or used.
        """
        make_folder(self.path.parent, self.group)
        self._make_folder()
        self._lock.acquire()
        self._place.hold()
        self.remove_leftovers()

    def remove_leftovers(self) -> None:
        """Remove unfinished new versions. Call only while holding the lock. Blocks."""
        for leftover in self._folder.glob("new-*"):
            leftover.unlink()

    def unlock(self) -> None:
        """Stop being the writer. May be called twice."""
        self._lock.release()
        self._place.release()

    async def replace(self, data: bytes, needs: KeptFiles | None = None) -> None:
        """Replace the content of the file with ``data``. If cancelled, it still finishes before raising.

        Args:
            data: The new content.
            needs: Files that ``data`` names; they are written before, if they are not as they should be.

        Raises:
            ReplaceFailed: If a step failed; the old version is still in place.
            LockHeld: If another process has become the writer.
        """
        # All steps share one thread hop: a hop takes a noticeable part of the time that Traefik needs to reload.
        await run_in_thread(self._replace, data, needs)

    def _replace(self, data: bytes, needs: KeptFiles | None) -> None:
        with contextlib.suppress(OSError):  # then the next step fails
            self._place.restore()
        if needs is not None:
            needs.write()
        new = self._folder / f"new-{secrets.token_hex(8)}"
        step = "open"
        try:
            self._keep_lock()
            self._make_folder()
            descriptor = create(new, self.mode, self.group)
            try:
                step = "write"
                view = memoryview(data)
                while view:
                    view = view[os.write(descriptor, view) :]
                step = "fsync"
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            step = "rename"
            # lstat, not fstat: they can differ on overlay file systems.
            written = Fingerprint.of(new.lstat())
            new.replace(self.path)
        except BaseException as error:
            with contextlib.suppress(OSError):
                new.unlink()
            if isinstance(error, LockHeld) or not isinstance(error, OSError):
                raise
            raise ReplaceFailed(self.path, step, error) from error
        self._written = written
        self._sync_folder()

    def _keep_lock(self) -> None:
        """Take the lock again if its file has been removed."""
        if self._lock.was_lost() and self.path.parent.is_dir():
            self._make_folder()
            self._lock.reacquire()
            self.remove_leftovers()

    def _make_folder(self) -> None:
        """Create the folder for new versions; whoever can read the file's folder can read it, as Traefik lists both."""
        make_folder_like_its_parent(self._folder, self.group)
        status = self._folder.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
            # Whoever can write here could swap a new version before it is renamed.
            reason = "it belongs to another user or others can write to it, so they could change the routes; remove it"
            raise PermissionError(errno.EPERM, reason, str(self._folder))

    def _sync_folder(self) -> None:
        """Make the rename durable.

        A failure is not reported: the caller would assume that nothing has changed, but the new version is in place, and
        only a power failure could bring the old one back.
        """
        with contextlib.suppress(OSError):
            folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def damage(self) -> str | None:
        """Return what others have done to the file since it was last replaced, or None. Blocks."""
        if self._written is None:
            return None
        try:
            self._place.look()
            self._keep_lock()
            now = Fingerprint.of(self.path.lstat())
        except LockHeld:
            return None  # there is another writer now; the next replacement raises that
        except FileNotFoundError:
            return "was deleted"
        except OSError as error:
            return f"cannot be examined ({error.strerror})"
        if now == self._written:
            return None
        if now.size == 0:
            return "was emptied"
        if now._replace(mode=self._written.mode) == self._written:
            return f"has different permissions ({stat.filemode(now.mode)})"
        if now._replace(mode=self._written.mode, owner=self._written.owner, group=self._written.group) == self._written:
            return f"belongs to another user or group ({now.owner}:{now.group})"
        return "was edited or replaced"
