"""Looks at what is around a file in the folder that Traefik watches. Does I/O: all functions block."""

from __future__ import annotations

import contextlib
from pathlib import Path

from ..access import open_regular
from ..errors import ConfigurationError
from .toml_document import namespace_in

# Within as many bytes of the beginning of a file, there is all that is not about routes.
_MOST_BEFORE_ROUTES = 1_000_000


def folder_to_touch(file: Path, watched: Path | None) -> Path | None:
    """Return the folder around a file that is an entry of the watched one; None if the file itself is.

    Traefik reads the folders in the one that it watches, but does not watch them (pkg/provider/file/file.go, Provide).
    For Traefik, a new time of such a folder is an event (inotify(7), IN_ATTRIB); what happens inside is none.

    Args:
        file: An absolute path without symbolic links.
        watched: ``watched_folder``; None for the folder of the file.

    Raises:
        ConfigurationError: If the file is not in the folder that Traefik watches.
    """
    if watched is None:
        return None
    watched = watched.resolve()
    if watched not in file.parents:
        raise ConfigurationError(
            f"dynamic_config_file is {file}, which is not in {watched}, the folder that watched_folder names; Traefik would "
            "not load it."
        )
    return None if watched == file.parent else watched / file.relative_to(watched).parts[0]


def file_with_same_names(file: Path, folder: Path, namespace: str) -> Path | None:
    """Return another file with the routes of a Hub in this namespace, in a folder or all folders in it; or None. Blocks."""
    for other in folder.rglob("*.toml"):
        with contextlib.suppress(OSError):  # it belongs to another user
            if namespace == _namespace_of(other) and other.resolve() != file:
                return other
    return None


def _namespace_of(file: Path) -> str:
    """Return what begins all names in a file of ours, or "". Blocks."""
    with open_regular(file) as opened:
        return namespace_in(opened.read(_MOST_BEFORE_ROUTES).decode(errors="replace"))
