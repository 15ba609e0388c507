"""Looks at what the proxy needs on its machine, and changes nothing. Does blocking I/O; call it in a thread.

Each look returns what it has found. An error of the checks that it shares with the start is left to the caller.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import shlex
import stat
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ..access import may_give, not_in_group
from ..errors import MOUNT_OF_ITS_OWN, ConfigurationError, quoted
from ..findings import Finding, fine, unknown, wrong
from ..traefik.outside import seconds
from ..traefik.static import Version
from ..traefik.tls import validity_problem
from .certificate import PairFiles, admins_pair
from .checks import cannot_watch, check_address, check_folder, check_owner, may_listen, may_not_listen, own_name
from .listeners import has_socket, listening_inodes
from .process import ProcessRecord
from .program import Program, child_environment, find_program

# cap_net_bind_service in the first word of what a file permits (linux/capability.h, struct vfs_cap_data).
_BIND_SERVICE = 1 << 10


def own_traefik(state_dir: Path) -> int | None:
    """Return the process of the Traefik that the Hub has started and that still runs, or None."""
    record = ProcessRecord.read(state_dir / "traefik-process.json")
    return record.identity.pid if record is not None and record.is_running() else None


def hub_runs(state_dir: Path) -> bool | None:
    """Whether a Hub uses the state folder; None if that cannot be told. It takes no lock, which could keep a Hub out."""
    try:
        inode = (state_dir / "hub.lock").stat().st_ino
        locks = Path("/proc/locks").read_text().splitlines()
    except FileNotFoundError:
        return False
    except OSError:
        return None
    # proc(5): 1: FLOCK  ADVISORY  WRITE 123 08:01:4567 0 EOF
    return any("FLOCK" in line and f":{inode} " in line for line in locks)


def find(command: Sequence[str], environment: Mapping[str, str]) -> Program:
    """Return the Traefik program that the Hub would start. Raises as :func:`~.program.find_program` does."""
    return asyncio.run(find_program(command, child_environment(environment)))


def look_at_program(program: Program) -> Iterator[Finding]:
    """Say which program it is."""
    yield fine("Traefik", f"version {_text(program.version)}, {' '.join(program.command)}")


def _text(version: Version) -> str:
    return ".".join(map(str, version))


def look_at_folder(folder: Path, configured: str) -> Iterator[Finding]:
    """Look at the state folder.

    Args:
        folder: The absolute path.
        configured: The path as it was configured.
    """
    about = "state_dir"
    check_folder(folder)
    check_owner(folder)
    if not folder.exists():
        around = next(path for path in folder.parents if path.exists())
        if not os.access(around, os.W_OK | os.X_OK):
            raise ConfigurationError(
                f"The folder {folder} cannot be created: this user may not write to {around}. c.TraefikProxy.state_dir sets "
                "this path."
            )
        relative = (
            " It is relative: look again from the folder that the Hub runs in."
            if not Path(configured).expanduser().is_absolute()
            else ""
        )
        yield fine(about, f"{folder} will be created.{relative}")
    elif os.geteuid() == 0 != folder.stat().st_uid:
        yield unknown(
            about,
            f"{folder} belongs to another user than root.",
            "Look again as the user that the Hub runs as, with sudo -u.",
        )
    else:
        yield fine(about, str(folder))


def look_at_file(file: Path, trait: str) -> Iterator[Finding]:
    """Look at a file that the Hub replaces.

    Args:
        file: The absolute path.
        trait: The trait that sets it.
    """
    real = file.resolve()
    if str(real) in _mount_points():
        yield wrong(trait, f"{file} is {MOUNT_OF_ITS_OWN}.")
        return
    if real.is_dir():
        yield wrong(trait, f"{file} is a folder.", f"c.TraefikTomlProxy.{trait} must be the path of a file.")
        return
    folder = next((path for path in real.parents if path.exists()), real.parent)
    if not os.access(folder, os.W_OK | os.X_OK) or (real.exists() and not os.access(real, os.R_OK)):
        yield wrong(
            trait,
            f"This user may not create and read files in {folder}.",
            f"Run: chown the folder to the Hub's user, or set c.TraefikTomlProxy.{trait}.",
        )
        return
    if (
        stat.S_IMODE(folder.stat().st_mode) & 0o022
        and not folder.stat().st_mode & stat.S_ISVTX
        and folder == real.parent
    ):
        yield wrong(
            trait,
            f"Users other than its owner can write to {folder}, and so replace the file with the routes.",
            f"Run: chmod go-w {folder}",
        )
        return
    yield fine(trait, str(file))


def look_at_group(group: int, name: str, file: Path, watched: Path) -> Iterator[Finding]:
    """Look whether a group that is to read a file can do so.

    Args:
        group: The group.
        name: Its name, or its number.
        file: The absolute path of the file.
        watched: The folder that Traefik watches, or the one around the file.
    """
    about = "dynamic_config_file_group"
    real, watched = file.resolve(), watched.resolve()
    there = [folder for folder in reversed(real.parents) if folder.is_dir()]
    inherited = (
        there[-1] == real.parent and there[-1].stat().st_mode & stat.S_ISGID and there[-1].stat().st_gid == group
    )
    if not (may_give(group) or inherited):
        yield wrong(
            about,
            f"The file with the routes {not_in_group(group)}.",
            f"Run: usermod --append --groups {shlex.quote(name)} {own_name()}, and start the Hub anew.",
        )
        return
    for folder in there:
        lists = folder in (real.parent, watched)
        if not _group_has(folder, group, 0o5 if lists else 0o1):
            what, mode = ("read", "rx") if lists else ("enter", "x")
            path = shlex.quote(str(folder))
            yield wrong(
                about,
                f"The group {quoted(name)} may not {what} {folder}, so Traefik does not see the routes.",
                f"Run: chgrp {shlex.quote(name)} {path} && chmod g+{mode} {path}",
            )
            return
    yield fine(about, name)


def _group_has(folder: Path, group: int, bits: int) -> bool:
    """Whether a group, or everybody, has permissions for a folder. An ACL may give more (acl(5)), and is not read."""
    status = folder.stat()
    shift = 3 if status.st_gid == group else 0
    return stat.S_IMODE(status.st_mode) >> shift & bits == bits or _has_acl(folder)


def _has_acl(folder: Path) -> bool:
    with contextlib.suppress(OSError):
        return "system.posix_acl_access" in os.listxattr(folder)
    return False


def _mount_points() -> set[str]:
    """Return the mount points of this process (proc(5), mountinfo), in which spaces and the like are escaped."""
    try:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return set()
    return {line.split()[4].encode().decode("unicode_escape") for line in lines}


def look_at_addresses(addresses: Mapping[str, str], program: Program, own: int | None) -> Iterator[Finding]:
    """Look at the addresses where Traefik is to listen.

    Args:
        addresses: The addresses of its entry points, by name.
        program: The program.
        own: The process of the Traefik that the Hub has started, or None.
    """
    for name, address in addresses.items():
        about = f"entry point {name}"
        port = address.partition("/")[0].rpartition(":")[2]
        inodes = listening_inodes(int(port)) if port.isdigit() else set()
        if own is not None and inodes and (has_socket(own, inodes) or not _may_look_into(own)):
            yield fine(about, f"Traefik (process {own}) listens at {address}")
        elif not may_listen(address) and not _may_bind(program):
            yield wrong(about, f"Traefik {may_not_listen()} ({address})")
        else:
            check_address(address)
            yield fine(about, f"{address} is free")


def _may_look_into(pid: int) -> bool:
    return os.access(f"/proc/{pid}/fd", os.R_OK)


def _may_bind(program: Program) -> bool:
    """Whether the program may listen at ports below 1024 whoever runs it."""
    try:
        capabilities = os.getxattr(os.path.realpath(program.command[0]), "security.capability")
    except OSError:
        return False
    return bool(int.from_bytes(capabilities[4:8], "little") & _BIND_SERVICE)


def look_at_inotify(folder: Path) -> Iterator[Finding]:
    """Look whether a Traefik of this user could watch a folder, or the one around it that exists."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        make, add = libc.inotify_init1, libc.inotify_add_watch
    except (OSError, AttributeError):
        yield unknown("inotify", "This system has none.")
        return
    descriptor = make(os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        works = descriptor >= 0 and add(descriptor, os.fsencode(existing), 0x100) >= 0
    finally:
        if descriptor >= 0:
            os.close(descriptor)
    if works:
        yield fine("inotify", "files can be watched")
    else:
        yield wrong("inotify", f"Traefik {cannot_watch()}")


def look_at_certificate(files: PairFiles) -> Iterator[Finding]:
    """Look at the admin's certificate."""
    pair = admins_pair(files)
    now = datetime.now(timezone.utc)
    problem = validity_problem(pair.not_before, pair.not_after, now)
    if problem:
        yield wrong(
            "certificate",
            f"The certificate in {files.cert_file} {problem}.",
            "Renew it; the new one is served a few seconds after the files were replaced.",
        )
    else:
        yield fine("certificate", f"{files.cert_file} is valid for {(pair.not_after - now).days} more days")


def look_at_timeouts(entry_point: Mapping[str, Any], name: str) -> Iterator[Finding]:
    """Look for limits in ``extra_static_config`` that cut off what users do.

    Args:
        entry_point: The static configuration of the public entry point.
        name: Its name.
    """
    limits = entry_point.get("transport", {}).get("respondingTimeouts", {})
    found = False
    for limit, what in (("readTimeout", "uploads"), ("writeTimeout", "downloads")):
        value = str(limits.get(limit, "0s"))
        if seconds(value) != 0:
            found = True
            yield wrong(
                "time-outs",
                f"extra_static_config cuts off {what} that take longer than {quoted(value)}: "
                f"entryPoints.{name}.transport.respondingTimeouts.{limit}.",
                'Remove it, or set it to "0s".',
            )
    if not found:
        yield fine("time-outs", "no upload, download or websocket is cut off")
