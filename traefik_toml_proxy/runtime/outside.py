"""Looks at a Traefik that others run, and at the files beside ours. Does blocking I/O; call it in a thread."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..access import open_regular
from ..stores.toml_text import loads
from ..traefik.outside import OutsideTraefik, options_of_command, options_of_tree, port_of
from .checks import rejections
from .listeners import has_socket, listening_inodes, processes
from .others_files import FilesOf

# Where Traefik looks for its configuration (pkg/cli/loader_file.go), and in which forms.
_PLACES = ("/etc/traefik/traefik", "$XDG_CONFIG_HOME/traefik", "$HOME/.config/traefik", "./traefik")
_ENDINGS = (".toml", ".yaml", ".yml")
# The options with what it watches.
_WATCHED = ("providers.file.directory", "providers.file.filename")
_standard_loads: Callable[[str], dict[str, Any]] | None = (
    importlib.import_module("tomllib").loads if sys.version_info >= (3, 11) else None
)
# The largest file to read, and how much of the end of a log, in bytes.
_LARGEST = 2**20
_END_OF_LOG = 2**16


def find_traefik(url: str, file: Path, folder: Path) -> OutsideTraefik | None:
    """Return the Traefik that listens at ``url``, or else one that watches ``file``; None if none can be seen.

    Args:
        url: The entry point.
        file: The file with the routes.
        folder: The folder around it that Traefik is to watch.
    """
    port = port_of(url)
    inodes = listening_inodes(port)
    others = []
    for process in processes():
        if "traefik" in process.name or "traefik" in _own_name(process.pid):
            if has_socket(process.pid, inodes):
                return _look_at(process.pid, file)
            others.append(_look_at(process.pid, file))
    if inodes:  # it belongs to another user
        others = [traefik for traefik in others if traefik.entry_point_at(port)]
    else:
        others = [traefik for traefik in others if traefik.watches(str(file), str(folder))]
    return others[0] if others else None


def _own_name(pid: int) -> str:
    """Return the name that a process was started under, without its folder; the kernel has the one of the file."""
    with contextlib.suppress(OSError):
        command = Path(f"/proc/{pid}/cmdline").read_bytes().partition(b"\0")[0]
        return command.decode(errors="replace").rpartition("/")[2]
    return ""


def _look_at(pid: int, file: Path) -> OutsideTraefik:
    files = FilesOf(pid)
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[1:]
        options, source = _options(pid, files, [argument for argument in arguments if argument])
    except (OSError, ValueError) as error:
        options, source = None, f"what cannot be read ({error})"
    return OutsideTraefik(
        pid,
        options and {name: _as_here(files, name, value, file) for name, value in options.items()},
        source,
        _may_read(files, options or {}, file),
        _complaints(files, options or {}),
        in_container=files.differ,
        is_hidden=files.hidden,
    )


def _options(pid: int, files: FilesOf, arguments: list[str]) -> tuple[dict[str, str] | None, str]:
    """Return the static configuration of a process, and where it is from. A file goes before the command line.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is broken.
    """
    given = options_of_command(arguments)
    named = given.get("configfile")
    candidates = [named] if named else [f"{place}{ending}" for place in _expanded(pid) for ending in _ENDINGS]
    for candidate in candidates:
        if files.hidden and not named:
            break  # there may be one of these, but who gives options means them
        path = files.path(candidate)
        if named or path.exists():
            tree = parsed(path)
            return (
                (None, f"{candidate}, which this Python cannot read")
                if tree is None
                else (
                    options_of_tree(tree),
                    candidate,
                )
            )
    return (given, "its command line") if given else (None, "its environment, which is not looked at")


def _expanded(pid: int) -> Iterator[str]:
    environment: dict[str, str] = {}
    with contextlib.suppress(OSError):
        pairs = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
        environment = {name: value for name, _, value in (pair.partition("=") for pair in pairs)}
    for place in _PLACES:
        variable, _, rest = place.partition("/")
        if not variable.startswith("$"):
            yield place
        elif environment.get(variable[1:]):
            yield f"{environment[variable[1:]]}/{rest}"


def _as_here(files: FilesOf, name: str, value: str, file: Path) -> str:
    """Return an option; a path to ``file``, or to a folder around it, is the one that this process knows."""
    if name not in _WATCHED or not value:
        return value
    ours = files.around(value, file)
    return str(ours) if ours else files.absolute(value)


def _may_read(files: FilesOf, options: Mapping[str, str], file: Path) -> bool | None:
    """Whether the user of a process may read ``file``, by whatever path that process has; None if it is not known."""
    if not files.differ:
        return files.may_read(str(file))
    for name in _WATCHED:
        value = options.get(name, "")
        ours = files.around(value, file) if value.startswith("/") else None
        if ours is not None:
            return files.may_read(str(Path(value, file.relative_to(ours))))
    return None


def _complaints(files: FilesOf, options: Mapping[str, str]) -> tuple[str, ...]:
    """Return the last errors about files in its log, if that is a file."""
    path = options.get("log.filepath")
    if not path:
        return ()
    with contextlib.suppress(OSError), open_regular(files.path(path)) as log:
        log.seek(max(0, log.seek(0, os.SEEK_END) - _END_OF_LOG))
        return tuple(rejections(log.read(_END_OF_LOG).decode(errors="replace").splitlines()))
    return ()


def broken_neighbour(file: Path, folder: Path) -> tuple[str, str] | None:
    """Return another file than ``file``, in a folder and all folders in it, that Traefik cannot read, and why; or None.

    Only what is no TOML or YAML is found, and not in files with templates.
    """
    for path in sorted(folder.rglob("*")):
        if path.suffix in _ENDINGS and path != file:
            try:
                parsed(path)
            except ValueError as error:
                return str(path), " ".join(str(error).split())
            except OSError:
                continue
    return None


def parsed(path: Path) -> Mapping[str, Any] | None:
    """Return the tree in a TOML or YAML file; None if it has templates, or there is no parser for it.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is neither; the message has nothing of the text, which may be secret.
    """
    with open_regular(path) as file:
        text = file.read(_LARGEST).decode()
    if "{{" in text:
        return None
    return _toml(text) if path.suffix == ".toml" else _yaml(text)


def _toml(text: str) -> Mapping[str, Any]:
    # The `toml` package, which reads our own file, refuses some of what Traefik takes.
    if _standard_loads:
        return _standard_loads(text)
    try:
        return loads(text)
    except ValueError as error:
        line = getattr(error, "lineno", None)
        raise ValueError(f"invalid TOML at line {line}" if line else "invalid TOML") from None


def _yaml(text: str) -> Mapping[str, Any] | None:
    try:
        import yaml  # JupyterHub needs it, for jupyter-events
    except ImportError:
        return None
    try:
        tree = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise ValueError(f"invalid YAML at line {mark.line + 1}" if mark else "invalid YAML") from None
    if tree is not None and not isinstance(tree, Mapping):
        raise ValueError("it is no mapping")
    return tree or {}
