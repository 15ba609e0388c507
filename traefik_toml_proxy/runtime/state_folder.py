"""The folder for the proxy's own files, which only one Hub uses, and the static configuration. Does I/O, in threads."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from pathlib import Path

from ..errors import ConfigurationError, StoreLocked
from ..files import AtomicFile, ReplaceFailed, run_in_thread
from ..locks import LockHeld, OwnerLock
from ..threads import in_thread
from .checks import check_folder, check_own, check_owner, others_can_write

_STATIC_FILE = "c.TraefikProxy.static_config_file"


class StateFolder:
    """Keeps the folder, its lock and the static configuration as they should be, while a Hub uses them."""

    def __init__(
        self,
        folder: Path,
        log: logging.Logger,
        trait: str = "c.TraefikProxy.state_dir",
        *,
        must_be_own: bool = False,
    ) -> None:
        """Set the folder; nothing is made before :meth:`open`.

        Args:
            folder: The folder.
            log: Where it is logged what others have done to it.
            trait: What sets its path.
            must_be_own: Whether it must not be another user's, not even for a Hub that runs as root: by its files, that user
                would have the Hub send signals to processes.
        """
        self.folder = folder
        self._must_be_own = must_be_own
        self._trait = trait
        self._log = log
        self._lock = OwnerLock(folder / "hub.lock")
        self._static: AtomicFile | None = None
        self._static_text = b""
        # What is wrong, as it was logged last; "" if nothing is.
        self._problem = ""
        # Whether others can write to it, and the log says so.
        self._is_open = False
        self._repairing = asyncio.Lock()

    async def open(self) -> None:
        """Make the folder, for the Hub's user only, and lock it for this Hub.

        Raises:
            ConfigurationError: If it cannot be created, or others can write to it, or its files are another user's, or the
                folder itself is and must not be.
            StoreLocked: If another Hub uses it.
        """
        await in_thread(_make, self.folder, self._trait)
        await in_thread(check_owner, self.folder)
        if self._must_be_own:
            await in_thread(check_own, self.folder, self._trait)
        await run_in_thread(_lock, self._lock.acquire, self.folder, self._trait)

    async def write_static(self, path: Path, text: bytes) -> None:
        """Lock the file with the static configuration, and write it.

        Raises:
            ConfigurationError: If it cannot be written.
            StoreLocked: If another Hub uses it.
        """
        self._static, self._static_text = AtomicFile(path, 0o600), text
        await run_in_thread(_lock, self._static.lock, path, _STATIC_FILE)
        try:
            await self._static.replace(text)
        except LockHeld as error:
            raise _locked(path, error, _STATIC_FILE) from None
        except ReplaceFailed as error:
            raise ConfigurationError(f"{error}. c.TraefikProxy.static_config_file sets this path.") from error

    async def repair(self) -> None:
        """Make what is gone again, and write the static configuration again if others have changed it.

        Does not raise; what is wrong is logged once, and once more when it is mended. May be called while it is under way,
        as before a restart of Traefik: two at a time would each close the files of the other.
        """
        async with self._repairing:
            self._report_access(await in_thread(_open_to_others, self.folder, self._trait))
            await self._repair()

    def _report_access(self, problem: str) -> None:
        """Say that others can write to the folder, or no longer can. Whoever has opened it may have had a reason."""
        if problem and not self._is_open:
            self._log.warning("%s", problem)
        elif self._is_open and not problem:
            self._log.info("Only its owner can write to %s again", self.folder)
        self._is_open = bool(problem)

    async def _repair(self) -> None:
        damage = await in_thread(self._damage)
        if not damage:
            if self._problem:
                self._problem = ""
                self._log.info("The files of the proxy in %s are as they should be again", self.folder)
            return
        problem, is_mended = f"{damage}: making it again", True
        try:
            await run_in_thread(self._make_again)
            if self._static is not None:
                harm = await in_thread(self._static.damage)
                if harm:
                    await self._static.replace(self._static_text)
        except (OSError, ConfigurationError) as error:
            problem, is_mended = f"{damage}, and cannot be made again; will retry: {error}", False
        if not self._problem or not (is_mended or problem == self._problem):
            self._log.warning("%s", problem)
        self._problem = problem

    def _damage(self) -> str:
        try:
            if not self.folder.is_dir():
                return f"{self.folder} was deleted"
            if self._lock.was_lost():
                return f"{self._lock.path} was deleted"
        except OSError as error:
            return f"{self.folder} cannot be examined ({error.strerror})"
        harm = self._static.damage() if self._static else None
        return f"{self._static.path} {harm}" if self._static and harm else ""

    def _make_again(self) -> None:
        _make(self.folder, self._trait)
        if self._lock.was_lost():
            self._lock.reacquire()

    async def close(self) -> None:
        """Release the locks; the files stay. May be called twice."""
        if self._static is not None:
            await in_thread(self._static.unlock)
        await in_thread(self._lock.release)


def _make(folder: Path, trait: str) -> None:
    """Create the folder, for the Hub's user only. Blocks.

    Raises:
        ConfigurationError: If it cannot be created, or others can write to it.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"The folder {folder} cannot be created: {error.strerror}. {trait} sets this path."
        ) from error
    check_folder(folder, trait)


def _open_to_others(folder: Path, trait: str) -> str:
    """Return that others can write to the folder, or "". Blocks."""
    with contextlib.suppress(OSError):  # if it is gone, it is made again
        return others_can_write(folder, trait)
    return ""


def _lock(acquire: Callable[[], None], what: Path, trait: str) -> None:
    """Lock a file or folder for this Hub. Blocks."""
    try:
        acquire()
    except LockHeld as error:
        raise _locked(what, error, trait) from None
    except OSError as error:
        raise ConfigurationError(f"{what} cannot be used: {error}. {trait} sets this path.") from error


def _locked(what: Path, error: LockHeld, trait: str) -> StoreLocked:
    return StoreLocked(str(what), error.owner, f"give this Hub its own {trait.rpartition('.')[2]}")
