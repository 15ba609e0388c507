"""TraefikSupervisor: starts, adopts, watches, restarts and stops one Traefik. Does I/O, never on the event loop."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import hashlib
import logging
import math
import os
import resource
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from ..errors import TraefikStartFailed
from ..files import run_in_thread
from ..seams import NO_METRICS, Event, Metrics
from ..threads import in_thread
from ..traefik.static import GRACE_SECONDS
from .checks import explain_output, rejections, usual_cause, watches_no_file
from .output import FollowedOutput
from .process import ProcessIdentity, ProcessRecord, RunningProcess
from .program import Program

# Seconds to wait for Traefik to exit after SIGTERM, and then after SIGKILL.
_STOP_SECONDS = GRACE_SECONDS + 1.5
_KILL_SECONDS = 5
# Traefik is restarted at once after it exits. The pause grows, in seconds, if it keeps exiting soon after a start.
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0
_STABLE_SECONDS = 10.0
_OUTPUT_INTERVAL = 0.5
# Routes that are rejected are written again, and rejected again, at least this often, in seconds.
_REJECTED_SECONDS = 90.0


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
        is_taken: Callable[[str], bool] | None = None,
        most_output: int | None = None,
        metrics: Metrics = NO_METRICS,
    ) -> None:
        """Set what to run; nothing is started yet.

        Args:
            program: The Traefik to start.
            static_file: The path of the static configuration, which must be written before :meth:`start`.
            static_text: The expected content of that file.
            folder: The working directory, which also holds the output and the record of the process.
            environment: The whole environment of the process.
            configured_environment: The variables that the admin has set; a Traefik with different ones is not adopted.
            ends_with_hub: Called when Python exits without :meth:`stop`; returns whether to stop a Traefik of ours.
            log: Gets the output of Traefik, and reports its exits.
            is_taken: Called with each line of the output; returns whether not to log it. None to log every line.
            most_output: The most bytes that the file with the output can have without a Hub to empty it, a limit for every
                file that the process writes. None for no limit.
            metrics: Is told of each restart.
        """
        self._metrics = metrics
        self._command = [*program.command, f"--configFile={static_file}"]
        self._static_file = static_file
        self._static_text = static_text
        settings = repr((program, sorted(configured_environment.items())))
        self._digest = hashlib.sha256(static_text + settings.encode()).hexdigest()
        self._ends_with_hub = ends_with_hub
        self._folder = folder
        self._environment = dict(environment)
        self._log = log
        self._output = FollowedOutput(folder / "traefik.log", log, is_taken=is_taken)
        self._most_output = most_output
        self._record_file = folder / "traefik-process.json"
        self._record_is_missing = False  # and the log says so
        # Held while the record is written: of two processes, it must name the later one.
        self._recording = asyncio.Lock()
        self._running: RunningProcess | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def pid(self) -> int | None:
        """The process ID of the running Traefik, or None."""
        return self._running.pid if self._running else None

    @property
    def last_lines(self) -> list[str]:
        """The last lines of Traefik's output."""
        return self._output.last_lines

    async def was_left(self) -> bool:
        """Whether nobody has stopped the Traefik that was started last: it runs, or was killed. Not so after a reboot."""
        record = await in_thread(ProcessRecord.read, self._record_file)
        this = await in_thread(ProcessIdentity.of, os.getpid())
        return record is not None and this is not None and record.identity.boot == this.boot

    async def adopt(self) -> bool:
        """Take over a Traefik that an earlier Hub started, if its program and settings are the current ones.

        If they differ, it is stopped. A process that merely has the recorded process ID is left alone: the start time and
        the command line must match as well.

        Returns:
            Whether a process was taken over.
        """
        record = await in_thread(ProcessRecord.read, self._record_file)
        if record is None or not await in_thread(record.is_running):
            return False
        self._running = RunningProcess(record.identity, None)
        if record.command == self._command and record.static_sha256 == self._digest:
            await in_thread(self._output.skip_to_end)
            self._log.info("Taking over the running Traefik (process %d)", record.identity.pid)
            return True
        self._log.info("Stopping the running Traefik (process %d): the settings have changed", record.identity.pid)
        await self._stop_process()
        return False

    async def start(self) -> None:
        """Start Traefik; return when the process runs, which is before it serves requests.

        Raises:
            TraefikStartFailed: If the program could not be run, or its static configuration was changed.
        """
        try:
            async with self._recording:
                await run_in_thread(self._spawn)  # to its end, so that stop() knows the process
        except OSError as error:
            raise TraefikStartFailed(f"{self._command[0]} could not be run: {error}", []) from error

    def _spawn(self) -> None:
        if not self._static_file.exists() or self._static_file.read_bytes() != self._static_text:
            # Traefik would start anyway, with wrong settings, and listen on all addresses.
            raise TraefikStartFailed(f"{self._static_file} was deleted or edited.", [])
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
        if self._most_output is not None:
            # Go programs ignore SIGXFSZ: what does not fit is lost, and they go on. A command such as sudo may forbid it.
            with contextlib.suppress(OSError, ValueError):
                _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
                resource.prlimit(child.pid, resource.RLIMIT_FSIZE, (self._most_output, hard))
        # If the child has exited already, it has no identity to record. It keeps its process ID until it is waited for.
        identity = ProcessIdentity.of(child.pid)
        self._running = RunningProcess(identity or ProcessIdentity(child.pid, "", 0), child)
        atexit.register(self._end_with_hub)
        if identity is not None:
            self._write_record(identity)

    def _write_record(self, identity: ProcessIdentity) -> None:
        try:
            ProcessRecord(identity, self._command, self._digest).write(self._record_file)
        except OSError as error:
            if not self._record_is_missing:
                self._record_is_missing = True
                self._log.warning(
                    "%s could not be written (%s): the next Hub cannot take over this Traefik; will retry",
                    self._record_file,
                    error.strerror,
                )
        else:
            if self._record_is_missing:
                self._record_is_missing = False
                self._log.info("%s has been written: the next Hub can take over this Traefik", self._record_file)

    async def keep_record(self) -> None:
        """Write the record of the process again if it is not in its file: the next Hub needs it to take over Traefik."""
        async with self._recording:
            running = self._running
            if (
                running is not None
                and running.identity.boot
                and not await in_thread(self._is_recorded, running.identity)
            ):
                if not self._record_is_missing:
                    self._log.warning("%s was deleted or edited: writing it again", self._record_file)
                await run_in_thread(self._write_record, running.identity)

    def _is_recorded(self, identity: ProcessIdentity) -> bool:
        return ProcessRecord.read(self._record_file) == ProcessRecord(identity, self._command, self._digest)

    async def while_running(self, waiting: Awaitable[None]) -> None:
        """Await ``waiting``, but only while the process runs, and while it may serve.

        Raises:
            TraefikStartFailed: If the process exits first, or its output says that it will never load the routes. The error
                has the last lines of its output.
        """
        assert self._running is not None  # noqa: S101
        running = self._running
        waiter = asyncio.ensure_future(waiting)
        exited = asyncio.ensure_future(running.wait())
        try:
            while not waiter.done():
                await asyncio.wait([waiter, exited], timeout=_OUTPUT_INTERVAL, return_when=asyncio.FIRST_COMPLETED)
                await self._output.catch_up()  # log it before a possible error, which it may explain
                if not waiter.done() and (exited.done() or watches_no_file(self.last_lines)):
                    await self._output.finish()
                    lines = self.last_lines
                    reason = await in_thread(explain_output, lines)
                    raise TraefikStartFailed(reason or f"it exited ({running.describe_exit()}).", lines)
            await waiter
        finally:
            for task in (waiter, exited):
                task.cancel()
            await asyncio.wait([waiter, exited])

    def watch(self, before_restart: Callable[[], Awaitable[object]]) -> None:
        """From now on, log Traefik's output, and restart it whenever it exits.

        Args:
            before_restart: Awaited before each restart, to repair files that Traefik needs.
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
            if time.monotonic() - running.since > _STABLE_SECONDS:
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
        """Try to restart Traefik; return whether that worked."""
        try:
            await before_restart()
        except Exception:  # noqa: BLE001 - a bug: log the traceback, and try to serve anyway
            self._log.exception("Preparing to restart Traefik failed unexpectedly; starting it anyway")
        try:
            await self.start()
        except TraefikStartFailed as error:
            self._log.error("%s; trying again in %g s", error, pause)
            return False
        self._metrics.count(Event.RESTART)
        self._log.info("Traefik has been started again (process %d)", self.pid)
        return True

    async def replace(self, cause: str, served: float = math.inf) -> None:
        """End a process that loads no routes any more; :meth:`watch` starts another one. Returns when it has exited.

        A process that rejects the routes is left alone: it serves the last ones, but a new one would serve none.

        Args:
            cause: Why it does not load them, or "" if that is not known.
            served: For how many seconds it has served the same routes. What it has rejected before that does not count, as
                when somebody had cut the file.
        """
        running = self._running
        if running is None:
            return
        await self._output.catch_up()
        if rejected := rejections(self._output.lines_of_the_last(min(served, _REJECTED_SECONDS))):
            self._log.error(
                "Traefik (process %d) keeps the last routes that it could load: %s", running.pid, rejected[-1]
            )
            return
        self._log.error(
            "Traefik (process %d) answers, but does not load the routes any more; replacing it: %s",
            running.pid,
            cause or await in_thread(lambda: explain_output(self.last_lines) or usual_cause()),
        )
        await self._end(running)

    async def stop(self) -> None:
        """Stop watching and stop the process; return when it has exited. May be called twice."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
            self._tasks = []
        pid = self.pid
        await self._stop_process()
        await self._output.finish()
        await in_thread(self._output.close)
        if pid is not None:
            self._log.info("Traefik (process %d) has been stopped", pid)

    async def detach(self) -> None:
        """Stop watching the process, but leave it running."""
        self._running = None
        await self.stop()

    def _end_with_hub(self) -> None:
        """Stop the process if Python exits before :meth:`stop` was called, as when the Hub fails to start."""
        running = self._running
        if running is not None and self._ends_with_hub():
            running.send(signal.SIGTERM)

    async def _stop_process(self) -> None:
        """Stop the process, and forget it."""
        atexit.unregister(self._end_with_hub)
        running, self._running = self._running, None
        if running is not None:
            await self._end(running)
            await in_thread(self._record_file.unlink, missing_ok=True)

    async def _end(self, running: RunningProcess) -> None:
        """End a process: with SIGTERM, then, if it does not exit in time, with SIGKILL."""
        for number, seconds in ((signal.SIGTERM, _STOP_SECONDS), (signal.SIGKILL, _KILL_SECONDS)):
            await in_thread(running.send, number)
            exited = asyncio.ensure_future(running.wait())
            try:
                await asyncio.wait([exited], timeout=seconds)
                if exited.done():
                    await exited
                    return
            finally:
                exited.cancel()
                await asyncio.wait([exited])
        self._log.error("Traefik (process %d) could not be stopped", running.pid)
