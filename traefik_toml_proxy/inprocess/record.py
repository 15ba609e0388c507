"""The files by which the next Hub finds the proxy's process, and the end of such a process. Does I/O, in threads."""

from __future__ import annotations

import contextlib
import logging
import signal
from collections.abc import Sequence
from pathlib import Path

from ..errors import StoreLocked
from ..runtime.process import ProcessIdentity, ProcessRecord, RunningProcess
from ..runtime.state_folder import StateFolder
from ..threads import in_thread
from .child import DOOR, GRACE
from .spawning import wait_for

# Seconds until a process that is to end is told so by a signal that cannot be ignored, and that it has after that.
_TERM_SECONDS, KILL_SECONDS = GRACE + 2.0, 5.0


class Record:
    """What the next Hub needs to know about the process, in a file of state_dir."""

    def __init__(self, folder: Path, log: logging.Logger) -> None:
        """Set the folder, and where it is said that the file cannot be written."""
        self._folder = folder
        self._file = folder / "in-process.json"
        self._log = log
        self._problem = ""
        self._current: ProcessRecord | None = None

    async def of_running(self) -> ProcessRecord | None:
        """Return the record of an earlier Hub, if its process runs."""
        record = await in_thread(ProcessRecord.read, self._file)
        self._current = record if record is not None and await in_thread(record.is_running) else None
        return self._current

    def write(self, identity: ProcessIdentity, command: Sequence[str], digest: str) -> None:
        """Write it. If that cannot be, the proxy serves all the same, and the log says so once. Blocks."""
        self._current = ProcessRecord(identity, list(command), digest)
        self._write(self._current)

    def _write(self, record: ProcessRecord) -> None:
        try:
            record.write(self._file)
        except OSError as error:
            problem = f"{self._file} could not be written ({error.strerror})"
            if problem != self._problem:
                self._log.warning("%s: the next Hub cannot take over the proxy's process", problem)
            self._problem = problem
        else:
            self._problem = ""

    def mend(self) -> bool:
        """Write it again if somebody has deleted it; return whether the socket of the process is still there. Blocks."""
        if self._current is not None and not self._file.exists():
            self._write(self._current)
        return (self._folder / DOOR).exists()

    async def remove(self) -> None:
        """Remove it, and the socket of the process."""
        self._current = None
        for path in (self._file, self._folder / DOOR):
            with contextlib.suppress(OSError):  # the next process replaces it
                await in_thread(path.unlink, missing_ok=True)


async def end_process(running: RunningProcess, *, at_once: bool = False) -> None:
    """End a process; return when it has exited.

    Args:
        running: The process.
        at_once: Whether not even answers that are under way may end.
    """
    steps = [(signal.SIGKILL, KILL_SECONDS)]
    if not at_once:
        steps.insert(0, (signal.SIGTERM, _TERM_SECONDS))
    for number, seconds in steps:
        if not await in_thread(running.alive):
            break
        await in_thread(running.send, number)
        await wait_for(running.wait(), seconds)
    await wait_for(running.wait(), KILL_SECONDS)


async def end_left_running(folder: Path, log: logging.Logger, why: str) -> None:
    """End the process that an earlier Hub has left running, if there is one, and no other Hub uses it.

    Args:
        folder: ``c.InProcessProxy.state_dir``.
        log: The Hub's.
        why: Why it is not taken over.
    """
    record = Record(folder, log)
    if await record.of_running() is None:
        return
    state = StateFolder(folder, log, "c.InProcessProxy.state_dir")
    try:
        await state.open()
        found = await record.of_running()
        if found is not None:
            log.warning("Ending the proxy's process of the last Hub (process %d): %s", found.identity.pid, why)
            await end_process(RunningProcess(found.identity, None))
            await record.remove()
    except StoreLocked:
        log.debug("The proxy's process with %s is another Hub's", folder)
    finally:
        await state.close()
