"""TomlFileStore: stores the routes in one TOML file that Traefik watches. Does I/O, never on the event loop."""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
from datetime import datetime, timezone
from pathlib import Path

from ..access import make_folder
from ..errors import CommitFailed, StoreError, StoreLocked, StoreTooNew
from ..files import AtomicFile, KeptFiles, ReplaceFailed, run_in_thread
from ..locks import FolderLock, LockHeld
from ..routes import RouteTable, Snapshot
from ..threads import in_thread
from ..traefik.sharing import same_names
from .neighbours import file_with_same_names, folder_to_touch
from .toml_document import NewerFormat, TomlRenderer, read_snapshot

# Up to these limits, rendering takes a few milliseconds at most, about as long as a thread hop.
_SMALL_TABLE_ROUTES = 50
_SMALL_TABLE_CHARACTERS = 5_000
# How long other Hubs that start at the same moment may take until their first commit, in seconds.
_LONGEST_CLAIM = 10.0


class TomlFileStore:
    """Keeps the routes in one TOML file (see :class:`~traefik_toml_proxy.seams.Store` for the contract)."""

    def __init__(
        self,
        path: Path,
        renderer: TomlRenderer,
        *,
        mode: int,
        log: logging.Logger,
        group: int | None = None,
        needs: KeptFiles | None = None,
        watched: Path | None = None,
    ) -> None:
        """Set the path and the permissions; nothing is read or written before :meth:`open`.

        Args:
            path: The file; Traefik loads it only if its name ends in ``.toml``.
            renderer: Makes the text of the file.
            mode: The permissions of the file, such as 0o600.
            log: Reports a file that could not be read.
            group: The id of the group of the file, which may also read the folders that are made; None for no other one.
            needs: Files that the text of the file names; each commit makes sure that they are there.
            watched: The folder that Traefik watches, which may be further up than the file's own; None for that one.
        """
        self._path = path
        self._renderer = renderer
        self._mode = mode
        self._group = group
        self._log = log
        self._needs = needs
        self._watched = watched
        self._touched: Path | None = None
        # Held until the first commit: from then on, others can see which names are taken.
        self._claim: FolderLock | None = None
        self._file: AtomicFile | None = None

    @property
    def location(self) -> str:
        """The path of the file."""
        return str(self._path)

    @property
    def moves(self) -> int:
        """How often the folder of the file was replaced by another one."""
        return self._file.moves if self._file else 0

    async def open(self) -> Snapshot:
        """Lock the file and read it; if it is not valid, rename it and start without its routes."""
        return await run_in_thread(self._open)

    def _open(self) -> Snapshot:
        try:
            make_folder(self._path.parent, self._group)
            self._path = self._path.resolve()
            self._touched = folder_to_touch(self._path, self._watched)
            self._file = AtomicFile(self._path, self._mode, self._group)
            self._file.lock()
            self._touch()
            self._check_others()
            return self._read() or Snapshot(0, RouteTable())
        except LockHeld as error:
            raise self._locked(error) from None
        except OSError as error:
            raise StoreError(
                f"Cannot keep the routes in {self._path}: {error}. The Hub must be able to create and read files in its "
                "folder, which c.TraefikTomlProxy.dynamic_config_file or c.TraefikProxy.state_dir sets."
            ) from error

    def _check_others(self) -> None:
        """Check that no file beside this one has the same names: Traefik would take the first of two routers with one name.

        No other Hub does so before this one's file says which names it has, as two may be started at the same moment.

        Raises:
            StoreError: If one has. It may be a copy, or that of a Hub which no longer runs; then its routes would be served.
        """
        namespace = self._renderer.namespace
        if not namespace:
            return  # Traefik has only this file
        folder = self._watched or self._path.parent
        self._claim = FolderLock(folder)
        is_free = True
        with contextlib.suppress(OSError):  # such as on a file system without locks: then it is only looked at
            is_free = self._claim.acquire(_LONGEST_CLAIM)
        if not is_free:
            raise StoreError(
                f"Another process has kept {folder} locked for {_LONGEST_CLAIM:g} s, as a Hub does for a moment when it "
                f"starts. Find it with: fuser -v {shlex.quote(str(folder))}"
            )
        other = file_with_same_names(self._path, folder, namespace)
        if other is not None:
            raise StoreError(same_names(str(other), str(self._path), namespace))

    def _touch(self) -> None:
        if self._touched is not None:
            os.utime(self._touched)

    def _locked(self, error: LockHeld) -> StoreLocked:
        return StoreLocked(
            self.location,
            error.owner,
            "give this Hub its own state_dir, and its own dynamic_config_file if that is set",
        )

    def _read(self) -> Snapshot | None:
        try:
            return read_snapshot(self._path.read_text("utf-8"))
        except FileNotFoundError:
            return None
        except NewerFormat as error:
            raise StoreTooNew(self.location, error.found, error.known, error.writer) from None
        except ValueError as error:
            aside = self._set_aside()
            self._log.warning(
                "%s cannot be used (%s): renamed to %s; starting without its routes", self._path, error, aside
            )
            return None

    def _set_aside(self) -> Path:
        """Rename the file, so that Traefik does not load it and it is not overwritten; return the new path."""
        stamp = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S")
        aside, number = self._path.with_name(f"{self._path.name}.broken-{stamp}"), 1
        while aside.exists():
            number += 1
            aside = self._path.with_name(f"{self._path.name}.broken-{stamp}-{number}")
        self._path.rename(aside)
        return aside

    async def commit(self, snapshot: Snapshot) -> None:
        """Render the snapshot and replace the file; after an error, the old version is still in place."""
        file = self._opened
        if _is_small(snapshot.table):
            data = self._renderer.render(snapshot)
        else:
            data = await in_thread(self._renderer.render, snapshot)
        try:
            await file.replace(data, self._needs)
        except LockHeld as error:
            raise self._locked(error) from None
        except ReplaceFailed as error:
            what = "" if error.filename == self.location else f" of {error.filename}, which it needs,"
            raise CommitFailed(
                self.location,
                f"{error.step}{what} failed ({error.strerror})",
                f"{error.advice or 'The file is unchanged; check the free space and the permissions of its folder'}.",
            ) from error
        finally:
            await self._release_claim()
            # Also after a cancellation, which does not stop the replacement. It was possible when the store was opened.
            if self._touched is not None:
                with contextlib.suppress(OSError):
                    await run_in_thread(self._touch)

    async def damage(self) -> str | None:
        """Return what others have done to the file since the last commit, or None."""
        return await in_thread(self._damage)

    def _damage(self) -> str | None:
        return self._opened.damage() or (self._needs.damage() if self._needs else None)

    async def close(self) -> None:
        """Release the locks; the file stays."""
        await self._release_claim()
        if self._file is not None:
            await in_thread(self._file.unlock)

    async def _release_claim(self) -> None:
        if self._claim is not None:
            claim, self._claim = self._claim, None
            await run_in_thread(claim.release)

    @property
    def _opened(self) -> AtomicFile:
        if self._file is None:
            raise StoreError(f"{self._path} is not open")
        return self._file


def _is_small(table: RouteTable) -> bool:
    """Whether rendering the table is quick enough to do on the event loop."""
    if len(table) > _SMALL_TABLE_ROUTES:
        return False
    return (
        sum(len(route.routespec) + len(route.target) + len(route.data_json) for route in table)
        <= _SMALL_TABLE_CHARACTERS
    )
