"""The store that is one TOML file, watched by Traefik's file provider. Does I/O, never on the event loop."""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime, timezone
from pathlib import Path

from ..errors import CommitFailed, StoreError, StoreLocked
from ..files import AtomicFile, LockHeld, ReplaceFailed, run_to_completion
from ..routes import RouteTable, Snapshot
from .toml_document import TomlRenderer, read_snapshot

# Up to these limits, rendering takes a few milliseconds at most: less than a thread hop costs, or little more.
_FEW_ROUTES = 50
_FEW_CHARACTERS = 5_000


class TomlFileStore:
    """Keeps the routes in one TOML file (see :class:`~traefik_toml_proxy.seams.Store` for the contract)."""

    def __init__(self, path: Path, renderer: TomlRenderer, *, mode: int, log: logging.Logger) -> None:
        """Prepare to use a file; nothing is touched before :meth:`open`.

        Args:
            path: The file; Traefik loads it only if its name ends in ``.toml``.
            renderer: Makes the text of the file.
            mode: The permissions of the file, such as 0o600.
            log: Where a file that could not be read is reported.
        """
        self._path = path
        self._renderer = renderer
        self._mode = mode
        self._log = log
        self._file: AtomicFile | None = None

    @property
    def location(self) -> str:
        """The path of the file."""
        return str(self._path)

    async def open(self) -> Snapshot:
        """Lock the file and read it; a file that cannot be read is set aside under another name."""
        return await run_to_completion(self._open)

    def _open(self) -> Snapshot:
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._path = self._path.resolve()
            self._file = AtomicFile(self._path, self._mode)
            self._file.lock()
            return self._read() or Snapshot(0, RouteTable())
        except LockHeld as error:
            raise self._locked(error) from None
        except OSError as error:
            raise StoreError(
                f"Cannot keep the routes in {self._path}: {error}. The Hub must be able to create and read files in "
                "its folder; c.TraefikTomlProxy.dynamic_config_file and c.TraefikProxy.state_dir say where."
            ) from error

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
        except ValueError as error:
            aside = self._set_aside()
            self._log.warning(
                "%s cannot be used (%s): kept as %s; starting without its routes", self._path, error, aside
            )
            return None

    def _set_aside(self) -> Path:
        """Rename the file so that Traefik does not load it and nobody overwrites it."""
        stamp = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S")
        aside, number = self._path.with_name(f"{self._path.name}.broken-{stamp}"), 1
        while aside.exists():
            number += 1
            aside = self._path.with_name(f"{self._path.name}.broken-{stamp}-{number}")
        self._path.rename(aside)
        return aside

    async def commit(self, snapshot: Snapshot) -> None:
        """Render the snapshot and replace the file; after an error the file is as it was."""
        file = self._opened
        if _is_small(snapshot.table):
            data = self._renderer.render(snapshot)
        else:
            data = await asyncio.to_thread(self._renderer.render, snapshot)
        try:
            await file.replace(data)
        except LockHeld as error:
            raise self._locked(error) from None
        except ReplaceFailed as error:
            raise CommitFailed(
                self.location,
                f"{error.step} failed ({error.strerror})",
                "The routes are as before; look at the free space and the permissions of its folder.",
            ) from error

    async def damage(self) -> str | None:
        """Return what somebody else did to the file since the last commit, or None."""
        return await asyncio.to_thread(self._opened.damage)

    async def close(self) -> None:
        """Unlock the file."""
        if self._file is not None:
            await asyncio.to_thread(self._file.unlock)

    @property
    def _opened(self) -> AtomicFile:
        if self._file is None:
            raise StoreError(f"{self._path} is not open")
        return self._file


def _is_small(table: RouteTable) -> bool:
    """Whether the table is rendered so quickly that the event loop may do it."""
    if len(table) > _FEW_ROUTES:
        return False
    return sum(len(route.routespec) + len(route.target) + len(route.data_json) for route in table) <= _FEW_CHARACTERS
