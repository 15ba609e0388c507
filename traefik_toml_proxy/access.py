"""Creates files and folders for those who may read them, and reads those of others. Does I/O: all functions block."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO


def create(path: Path, mode: int, group: int | None = None) -> int:
    """Create a file, which must not exist yet, and return its descriptor. The umask does not apply.

    Args:
        path: The file.
        mode: Its permissions.
        group: The id of its group; None for the one that the system gives it.

    Raises:
        OSError: If it cannot be created; nothing is left.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        # The group first: the permissions are for that one, not for the one before.
        _set_group(descriptor, path, group)
        os.fchmod(descriptor, mode)
    except BaseException:
        os.close(descriptor)
        path.unlink()
        raise
    return descriptor


def open_regular(path: Path) -> BinaryIO:
    """Open a file that others may have made, to read it. A pipe would keep the caller waiting, and a device may never end.

    Raises:
        OSError: If it cannot be opened, or is anything but a regular file.
    """

    def opener(name: str, flags: int) -> int:
        descriptor = os.open(name, flags | os.O_NONBLOCK)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError(errno.EINVAL, "not a regular file", name)
        return descriptor

    return open(path, "rb", opener=opener)


def make_folder(folder: Path, group: int | None = None) -> None:
    """Create a folder, and those that it is in, if it is not there: for its owner, and for the group if one is given.

    The folders that it is in are as the system makes them, but if a group is given, it may enter them.

    Raises:
        OSError: If it cannot be created.
    """
    if not folder.is_dir():
        make_parents(folder, group)
        folder.mkdir(mode=0o700, exist_ok=True)
        _admit(folder, group, 0o050)


def make_parents(folder: Path, group: int | None) -> None:
    """Create the folders that a folder is in, if they are not there, and let a group, if one is given, enter what is new.

    Raises:
        OSError: If one cannot be created.
    """
    for parent in [parent for parent in reversed(folder.parents) if not parent.is_dir()]:
        parent.mkdir(exist_ok=True)
        if not parent.stat().st_mode & 0o001:  # as with a umask of 077
            _admit(parent, group, 0o010)


def make_folder_like_its_parent(folder: Path, group: int | None = None) -> None:
    """Create a folder, if it is not there, for those who can read the folder that it is in, which must be there.

    If a group is given, it may read the folder in any case.

    Raises:
        OSError: If it cannot be created.
    """
    if not folder.is_dir():
        folder.mkdir(mode=0o700, exist_ok=True)
        # Keep an inherited setgid bit: Traefik may have access only through the group of the parent folder.
        inherited = stat.S_IMODE(folder.stat().st_mode) & stat.S_ISGID
        folder.chmod(stat.S_IMODE(folder.parent.stat().st_mode) & 0o755 | inherited)
    _admit(folder, group, 0o050)


def _admit(folder: Path, group: int | None, bits: int) -> None:
    """Give a group, if one is given, permissions for a folder: 0o050 to read it, 0o010 to enter it."""
    if group is None:
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _set_group(descriptor, folder, group)
        mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
        if mode & bits != bits:
            os.fchmod(descriptor, mode | bits)
    finally:
        os.close(descriptor)


def _set_group(descriptor: int, path: Path, group: int | None) -> None:
    if group is None or os.fstat(descriptor).st_gid == group:
        return
    try:
        os.fchown(descriptor, -1, group)
    except PermissionError as error:
        raise PermissionError(errno.EPERM, f"it {not_in_group(group)}", str(path)) from error


def may_give(group: int) -> bool:
    """Whether this process may give its files to a group (chown(2))."""
    return os.geteuid() == 0 or group in (os.getegid(), *os.getgroups())


def not_in_group(group: int) -> str:
    """Return why a file cannot be given to a group: the rest of a sentence."""
    return f"cannot be given to the group {group}, because the user of this process is not in that group"
