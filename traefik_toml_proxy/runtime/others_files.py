"""Sees files as another process does, which may be in a container. Does blocking I/O; call it in a thread."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path


class FilesOf:
    """The files that another process sees.

    Attributes:
        differ: Whether a path may lead that process to another file than this one, as in a container.
        hidden: Whether this process cannot look at them, although they may differ.
    """

    def __init__(self, pid: int) -> None:
        self._folder = Path("/proc", str(pid))
        self._may_look = os.access(self._folder / "root", os.R_OK | os.X_OK)
        self.differ = self._differ()
        self.hidden = self.differ and not self._may_look

    def _differ(self) -> bool:
        if self._may_look:
            with contextlib.suppress(OSError):  # it has ended
                ours = Path("/proc/self")
                return not all((self._folder / name).samefile(ours / name) for name in ("ns/mnt", "root"))
        return self._is_in_a_container()

    def _is_in_a_container(self) -> bool:
        """Whether it has process ids of its own: unlike the files that it sees, everybody may know that."""
        with contextlib.suppress(OSError):
            for line in (self._folder / "status").read_text().splitlines():
                if line.startswith("NSpid:"):  # proc(5): its ids in all namespaces, from the one of /proc on
                    return len(line.split()) > 2
        return False

    def path(self, path: str) -> Path:
        """Return the path of what that process knows under ``path``.

        Raises:
            OSError: If this process cannot look at it.
        """
        if self._may_look:
            return self._folder / ("root" if path.startswith("/") else "cwd") / path.lstrip("/")
        if self.differ or not path.startswith("/"):
            raise PermissionError(errno.EACCES, "this user may not look into its container or folder", path)
        return Path(path)

    def around(self, path: str, file: Path) -> Path | None:
        """Return which of ``file`` and the folders around it that process knows under ``path``; None if it is none."""
        with contextlib.suppress(OSError):
            there = self.path(path).stat()
            for ours in (file, *file.parents):
                if ours.exists() and os.path.samestat(there, ours.stat()):
                    return ours
        return None

    def absolute(self, path: str) -> str:
        """Return an absolute path without links for what that process knows under ``path``.

        If the path would mislead, because the files differ, there is a remark behind it.
        """
        if self.differ:
            return f"{path} (as it is seen there)"
        with contextlib.suppress(OSError):
            start = "" if path.startswith("/") else os.readlink(self._folder / "cwd")  # noqa: PTH115
            return os.path.realpath(os.path.join(start, path))  # noqa: PTH118
        return path

    def may_read(self, path: str) -> bool | None:
        """Whether the user of that process may read a file, by the permissions of all that is in its path.

        Args:
            path: The absolute path, as that process knows it.

        Returns:
            None if it is not known.
        """
        try:
            lines = (self._folder / "status").read_text().splitlines()
            known = dict(line.split(":", 1) for line in lines if ":" in line)
            user, group = int(known["Uid"].split()[1]), int(known["Gid"].split()[1])
            groups = {group, *map(int, known["Groups"].split())}
            folders = [self.path(str(folder)).stat() for folder in Path(path).parents]
            needed = [*((folder, 0o1) for folder in folders), (self.path(path).stat(), 0o4)]
        except (OSError, KeyError, ValueError):
            return None
        return user == 0 or all(permitted(status, bits, user, groups) for status, bits in needed)


def permitted(status: os.stat_result, needed: int, user: int, groups: set[int]) -> bool:
    """Whether a user who is in these groups has a permission (path_resolution(7)).

    Args:
        status: What it is for.
        needed: The permission: 4 to read, 1 to enter.
        user: The id of the user, who is not root.
        groups: The ids of all their groups.
    """
    shift = 6 if status.st_uid == user else 3 if status.st_gid in groups else 0
    return bool(stat.S_IMODE(status.st_mode) >> shift & needed)
