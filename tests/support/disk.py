"""A disk that misbehaves at one step of writing a new version of a file."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

# In this order. SYNC_FOLDER comes last, when the new version is in place.
STEPS_BEFORE = ("open", "chmod", "write", "fsync", "rename")
SYNC_FOLDER = "sync folder"


def failing(number: int) -> Callable[[], None]:
    """Return a function that fails with this errno, as a system call would."""

    def fail() -> None:
        raise OSError(number, os.strerror(number))

    return fail


@contextlib.contextmanager
def disturbed(path: Path, step: str, act: Callable[[], object], *, after: bool = False) -> Iterator[None]:
    """Call ``act`` at one step of writing ``path``: before it, or after it, or in the middle of ``write``.

    Args:
        path: The file; writing any other file is not disturbed.
        step: One of STEPS_BEFORE, or SYNC_FOLDER.
        act: Raises an error, or kills the process.
        after: Whether to call ``act`` after the step instead of before it.
    """

    def is_new(name: Any) -> bool:
        return Path(os.fsdecode(name)).parent == path.with_name(path.name + ".tmp") and "new-" in os.fsdecode(name)

    def name_of(descriptor: int) -> str:
        return str(Path(f"/proc/self/fd/{descriptor}").readlink())

    def around(real: Callable[..., Any], meant: Callable[..., bool]) -> Callable[..., Any]:
        def disturbed_call(*args: Any, **kwargs: Any) -> Any:
            hit = meant(*args)
            if hit and not after:
                act()
            result = real(*args, **kwargs)
            if hit and after:
                act()
            return result

        return disturbed_call

    def half_a_write(file: int, data: memoryview) -> int:
        if not is_new(name_of(file)):
            return real_write(file, data)
        written = real_write(file, data if after else data[: max(1, len(data) // 2)])
        act()
        return written

    real_write = os.write
    patches: dict[str, contextlib.AbstractContextManager[Any]] = {
        "open": mock.patch("os.open", around(os.open, lambda name, *_: is_new(name))),
        "chmod": mock.patch("os.fchmod", around(os.fchmod, lambda file, _: is_new(name_of(file)))),
        "write": mock.patch("os.write", half_a_write),
        "fsync": mock.patch("os.fsync", around(os.fsync, lambda file: is_new(name_of(file)))),
        "rename": mock.patch.object(Path, "replace", around(Path.replace, lambda name, _: is_new(name))),
        SYNC_FOLDER: mock.patch("os.fsync", around(os.fsync, lambda file: name_of(file) == str(path.parent))),
    }
    with patches[step]:
        yield
