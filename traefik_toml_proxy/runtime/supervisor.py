"""TraefikSupervisor: starts, adopts, watches, restarts and stops one Traefik. Does I/O, never on the event loop."""

from __future__ import annotations

import asyncio
import atexit
import hashlib
import logging
import os
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from ..errors import TraefikStartFailed
from ..traefik.static import GRACE_SECONDS
from .checks import explain_output
from .output import FollowedOutput
from .process import ProcessIdentity, ProcessRecord, RunningProcess
from .program import Program

# When a Traefik that was told to stop is killed, and how long that may take, in seconds.
_STOP_SECONDS = GRACE_SECONDS + 1.5
_KILL_SECONDS = 5
# A Traefik that exits is started again at once. The pause grows while it keeps exiting soon after its start.
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0
_GOOD_LIFE = 10.0
_OUTPUT_INTERVAL = 0.5


class TraefikSupervisor:
    """Keeps one Traefik running, in its own process group, until it is stopped."""

    def __init__(
        self,
        program: Program,
        static_file: Path,
        static_text: bytes,
        *,
        folder: Path,
        environment: Mapping[str, str],
        configured_environment: Mapping[str, str],
        ends_with_hub: Callable[[], bool],
        log: logging.Logger,
    ) -> None:
        """Prepare to run Traefik; nothing is started yet.

        Args:
            program: What to start.
            static_file: Its static configuration; written before :meth:`start`.
            static_text: The content of that file.
            folder: Its working directory, and where its output and the record of the process are kept.
            environment: Its whole environment.
            configured_environment: The variables that the admin has set; a running Traefik that was started with others
                is not adopted.
            ends_with_hub: Called when Python exits without :meth:`stop`: whether a Traefik that was started here is to be
                stopped then.
            log: Where its output and its exits are logged.
        """
        self._command = [*program.command, f"--configFile={static_file}"]
        self._static_file = static_file
        self._static_text = static_text
        settings = repr((program, sorted(configured_environment.items())))
        self._digest = hashlib.sha256(static_text + settings.encode()).hexdigest()
        self._ends_with_hub = ends_with_hub
        self._folder = folder
        self._environment = dict(environment)
        self._log = log
        self._output = FollowedOutput(folder / "traefik.log", log)
        self._record_file = folder / "traefik-process.json"
        self._running: RunningProcess | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def pid(self) -> int | None:
        """The number of the running process."""
        return self._running.pid if self._running else None

    @property
    def last_lines(self) -> list[str]:
        """The last lines of its output."""
        return self._output.last_lines

    async def adopt(self) -> bool:
        """Take over a Traefik that an earlier Hub started, if it runs with exactly what would be started now.

        A Traefik of ours that runs with anything else is stopped. A process that only has the recorded number is left
        alone: the start time and the command line have to match as well.

        Returns:
            Whether one was taken over.
        """
        record = await asyncio.to_thread(ProcessRecord.read, self._record_file)
        if record is None or not await asyncio.to_thread(record.is_running):
            return False
        self._running = RunningProcess(record.identity, None)
        if record.command == self._command and record.static_sha256 == self._digest:
            await asyncio.to_thread(self._output.skip_to_end)
            self._log.info("Taking over the Traefik that is running (process %d)", record.identity.pid)
            return True
        self._log.info(
            "Stopping the Traefik that is running (process %d): its settings have changed", record.identity.pid
        )
        await self._end()
        return False

    async def start(self) -> None:
        """Start it; returns when the process runs, not when it serves.

        Raises:
            TraefikStartFailed: If the program could not be run, or its configuration is not in place.
        """
        spawning = asyncio.ensure_future(asyncio.to_thread(self._spawn))
        try:
            await asyncio.shield(spawning)
        except asyncio.CancelledError:
            await spawning  # so that stop() knows of the process
            raise
        except OSError as error:
            raise TraefikStartFailed(f"{self._command[0]} could not be run: {error}", []) from error

    def _spawn(self) -> None:
        if not self._static_file.exists() or self._static_file.read_bytes() != self._static_text:
            # It would start all the same, with settings that nobody has asked for, on every address.
            raise TraefikStartFailed(f"{self._static_file} was deleted or edited by somebody else.", [])
        try:
            output = self._output.open_for_child()
        except OSError as error:
            reason = f"{self._output.path} cannot be written: {error.strerror}. The Hub must own its state_dir."
            raise TraefikStartFailed(reason, []) from error
        try:
            child = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self._folder,
                env=self._environment,
                start_new_session=True,
            )
        finally:
            os.close(output)
        # A child that has exited already keeps its number until it is waited for; it gets no record.
        identity = ProcessIdentity.of(child.pid)
        self._running = RunningProcess(identity or ProcessIdentity(child.pid, "", 0), child)
        atexit.register(self._end_with_hub)
        if identity is not None:
            self._write_record(identity)

    def _write_record(self, identity: ProcessIdentity) -> None:
        try:
            ProcessRecord(identity, self._command, self._digest).write(self._record_file)
        except OSError as error:
            self._log.warning(
                "%s could not be written (%s): the next Hub cannot take over this Traefik",
                self._record_file,
                error.strerror,
            )

    async def while_running(self, waiting: Awaitable[None]) -> None:
        """Await ``waiting``, but only as long as the process lives.

        Raises:
            TraefikStartFailed: If the process exits first, with its last lines.
        """
        assert self._running is not None  # noqa: S101
        running = self._running
        waiter = asyncio.ensure_future(waiting)
        exited = asyncio.ensure_future(running.wait())
        try:
            await asyncio.wait([waiter, exited], return_when=asyncio.FIRST_COMPLETED)
            await self._output.catch_up()  # its output may explain whatever comes next
            if not waiter.done():
                await self._output.finish()
                lines = self._output.last_lines
                reason = explain_output(lines) or f"it exited ({running.describe_exit()})."
                raise TraefikStartFailed(reason, lines)
            await waiter
        finally:
            for task in (waiter, exited):
                task.cancel()
            await asyncio.wait([waiter, exited])

    def watch(self, before_restart: Callable[[], Awaitable[object]]) -> None:
        """From now on, log its output, and start it again whenever it exits.

        Args:
            before_restart: Awaited before each start, to see that its configuration is in place.
        """
        self._tasks = [
            asyncio.create_task(self._output.follow(_OUTPUT_INTERVAL), name="traefik_toml_proxy output"),
            asyncio.create_task(self._keep_running(before_restart), name="traefik_toml_proxy keeper"),
        ]

    async def _keep_running(self, before_restart: Callable[[], Awaitable[object]]) -> None:
        pause = 0.0
        while True:
            assert self._running is not None  # noqa: S101
            running = self._running
            await running.wait()
            if time.monotonic() - running.since > _GOOD_LIFE:
                pause = 0.0
            await self._output.finish()
            when = f"in {pause:g} s" if pause else "at once"
            self._log.error(
                "Traefik (process %d) has exited (%s); starting it again %s", running.pid, running.describe_exit(), when
            )
            await asyncio.sleep(pause)
            pause = min(max(_FIRST_PAUSE, 2 * pause), _LONGEST_PAUSE)
            while not await self._restart(before_restart, pause):
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    async def _restart(self, before_restart: Callable[[], Awaitable[object]], pause: float) -> bool:
        """Try to start it again; returns whether it runs."""
        try:
            await before_restart()
        except Exception:  # noqa: BLE001 - a bug: logged with its traceback; a Traefik is better than none
            self._log.exception("Preparing to start Traefik failed unexpectedly; it is started all the same")
        try:
            await self.start()
        except TraefikStartFailed as error:
            self._log.error("%s; trying again in %g s", error, pause)
            return False
        return True

    async def stop(self) -> None:
        """Stop the process and the watching; returns when it is gone. May be called twice."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
            self._tasks = []
        await self._end()
        await self._output.finish()

    async def leave(self) -> None:
        """Stop watching the process, but let it run."""
        self._running = None
        await self.stop()

    def _end_with_hub(self) -> None:
        """Stop the process when Python exits and nobody has called :meth:`stop`, as when the Hub fails to start."""
        running = self._running
        if running is not None and self._ends_with_hub():
            running.send(signal.SIGTERM)

    async def _end(self) -> None:
        """Stop the process: first with SIGTERM, then with SIGKILL."""
        atexit.unregister(self._end_with_hub)
        running, self._running = self._running, None
        if running is None:
            return
        for number, seconds in ((signal.SIGTERM, _STOP_SECONDS), (signal.SIGKILL, _KILL_SECONDS)):
            await asyncio.to_thread(running.send, number)
            exited = asyncio.ensure_future(running.wait())
            try:
                await asyncio.wait([exited], timeout=seconds)
                if exited.done():
                    await exited
                    break
            finally:
                exited.cancel()
                await asyncio.wait([exited])
        else:
            self._log.error("Traefik (process %d) could not be stopped", running.pid)
        await asyncio.to_thread(self._record_file.unlink, missing_ok=True)
