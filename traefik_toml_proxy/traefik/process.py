"""TraefikProcess: start, adopt, watch, restart and stop one Traefik. Does I/O, never on the event loop."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import errno
import hashlib
import json
import logging
import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from ..errors import TraefikStartFailed
from .output import FollowedOutput
from .program import Program
from .static import GRACE_SECONDS

# After Traefik's own time for open requests: when it is killed, and how long that may take, in seconds.
_STOP_SECONDS = GRACE_SECONDS + 1.5
_KILL_SECONDS = 5
# A Traefik that ends is started again at once; the pause grows while it keeps ending sooner than after a while.
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0
_GOOD_LIFE = 10.0
_OUTPUT_INTERVAL = 0.5


@dataclass(frozen=True, slots=True)
class _Identity:
    """What makes a process the one that was started, and not another that got its number.

    Attributes:
        pid: Its number.
        boot: Which boot of the machine (a pid and its start time come again after a reboot).
        start_ticks: When it was started, since the boot (proc(5), /proc/pid/stat, field 22).
    """

    pid: int
    boot: str
    start_ticks: int

    @classmethod
    def of(cls, pid: int, *, ended_too: bool = False) -> _Identity | None:
        """Return who has this number now, or None if nobody has.

        Args:
            pid: The number.
            ended_too: Whether one counts that has ended, but still has its number: nobody has waited for it yet, or some of
                its threads are still on their way out, with its sockets.
        """
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            return None
        state, start_ticks = fields[0], int(fields[19])
        return None if state in "ZX" and not ended_too else cls(pid, boot, start_ticks)


@dataclass(frozen=True, slots=True)
class _Record:
    """What is written down about the running Traefik, for the Hub's next start."""

    identity: _Identity
    command: list[str]
    static_sha256: str

    @classmethod
    def read(cls, path: Path) -> _Record | None:
        """Return what is written in ``path``, or None if there is nothing one could use."""
        try:
            tree = json.loads(path.read_text())
        except (OSError, ValueError):
            return None
        match tree:
            case {
                "identity": {"pid": int(pid), "boot": str(boot), "start_ticks": int(start_ticks)},
                "command": [*command, str(last)],
                "static_sha256": str(digest),
            }:
                return cls(_Identity(pid, boot, start_ticks), [*command, last], digest)
        return None

    def write(self, path: Path) -> None:
        """Write it, whole or not at all."""
        new = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            with open(descriptor, "w") as file:  # noqa: PTH123 - a descriptor, not a path
                json.dump(asdict(self), file)
            new.replace(path)
        except OSError:
            new.unlink()
            raise


def check_address(address: str) -> None:
    """See that nobody listens where Traefik shall; blocks (it may look up a name), for a thread.

    Whoever listens there would get the users' requests, and, were it an earlier Traefik of ours, answer for the new one.

    Args:
        address: In Go's form, ``host:port`` or ``:port``.

    Raises:
        TraefikStartFailed: If it is taken. What else could be wrong with it is for Traefik to tell.
    """
    host, _, port = address.rpartition(":")
    try:
        found = socket.getaddrinfo(host.strip("[]") or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError:
        return
    for family, kind, protocol, _, where in found:
        with contextlib.suppress(OSError), socket.socket(family, kind, protocol) as trial:
            if family == socket.AF_INET6:
                trial.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind(where)
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    raise _address_is_taken(address) from error


def _address_is_taken(told: str) -> TraefikStartFailed:
    return TraefikStartFailed(
        "the address is taken by another process. Stop that one, or choose another port with "
        f"c.JupyterHub.bind_url. ({told})",
        [],
    )


class _Running:
    """A Traefik that runs: our child, or one that an earlier Hub started."""

    def __init__(self, identity: _Identity, child: subprocess.Popen[bytes] | None) -> None:
        self.identity = identity
        self.child = child
        self.since = time.monotonic()

    @property
    def pid(self) -> int:
        return self.identity.pid

    def alive(self) -> bool:
        """Whether it still runs. Blocks for a moment; for a thread."""
        if self.child is None:
            return _Identity.of(self.pid) == self.identity
        try:
            return self.child.returncode is None and self._waited_for() is None
        except ChildProcessError:  # somebody else has waited for it
            return False

    def _has_its_number(self) -> bool:
        if self.child is None:
            return _Identity.of(self.pid, ended_too=True) == self.identity
        return self.child.returncode is None

    def _waited_for(self) -> object:
        """Look whether our child has ended, and leave it its number."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to its process group, if it still runs. Blocks for a moment; for a thread."""
        if self.alive():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

    async def wait(self) -> None:
        """Return when it has ended."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except OSError:  # a Linux older than 5.3, or it has ended already
            while await asyncio.to_thread(self.alive):
                await asyncio.sleep(0.2)
        else:
            loop = asyncio.get_running_loop()
            ended = loop.create_future()
            loop.add_reader(descriptor, lambda: None if ended.done() else ended.set_result(None))
            try:
                if await asyncio.to_thread(self._has_its_number):  # so the descriptor is for it, and no other
                    await ended
            finally:
                loop.remove_reader(descriptor)
                os.close(descriptor)
        await asyncio.to_thread(self._reap)

    def _reap(self) -> None:
        if self.child is not None:
            # A script around Traefik can end before it. The number is not used again until it is waited for.
            with contextlib.suppress(ChildProcessError, ProcessLookupError, PermissionError):
                if self.child.returncode is None and self._waited_for():
                    os.killpg(self.pid, signal.SIGKILL)
            self.child.wait()
        else:
            with contextlib.suppress(ChildProcessError):  # ours only where the Hub is the machine's first process
                os.waitpid(self.pid, os.WNOHANG)

    def how_it_ended(self) -> str:
        code = self.child.returncode if self.child is not None else None
        if code is None:
            return "it was started by an earlier Hub, so why is not known"
        return f"exit status {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"


class TraefikProcess:
    """One Traefik, in its own process group, kept running until it is stopped."""

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
        """Args:
        program: What to start.
        static_file: Its static configuration; written before :meth:`start`.
        static_text: What is in it.
        folder: Where its output and the record of it are kept; its working directory.
        environment: Its whole environment.
        configured_environment: What of it is a setting; a running Traefik that has other settings is not taken over.
        ends_with_hub: Whether a Traefik that was started here is ended when this Python ends without stop(): asked then.
        log: Where its output and its deaths are told.
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
        self._running: _Running | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def pid(self) -> int | None:
        """The number of the running process."""
        return self._running.pid if self._running else None

    async def adopt(self) -> bool:
        """Take over a Traefik that an earlier Hub started, if it runs with exactly what would be started now.

        One that runs with anything else is ended. A process that only has the recorded number is left alone: what counts
        is the start time and the command line, too.

        Returns:
            Whether one was taken over.
        """
        record = await asyncio.to_thread(_Record.read, self._record_file)
        if record is None or not await asyncio.to_thread(self._is_ours, record):
            return False
        self._running = _Running(record.identity, None)
        if record.command == self._command and record.static_sha256 == self._digest:
            await asyncio.to_thread(self._output.skip_to_end)
            self._log.info("Taking over the Traefik that is running (process %d)", record.identity.pid)
            return True
        self._log.info(
            "Ending the Traefik that is running (process %d): its settings have changed", record.identity.pid
        )
        await self._end()
        return False

    @staticmethod
    def _is_ours(record: _Record) -> bool:
        if _Identity.of(record.identity.pid) != record.identity:
            return False
        try:
            arguments = Path(f"/proc/{record.identity.pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
        return os.fsencode(record.command[-1]) in arguments

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
        # A child that has ended so soon keeps its number until it is waited for; it gets no record.
        identity = _Identity.of(child.pid)
        self._running = _Running(identity or _Identity(child.pid, "", 0), child)
        atexit.register(self._end_with_hub)
        if identity is not None:
            try:
                _Record(identity, self._command, self._digest).write(self._record_file)
            except OSError as error:
                self._log.warning(
                    "%s could not be written (%s): a Hub that starts anew cannot take over this Traefik",
                    self._record_file,
                    error.strerror,
                )

    async def while_running(self, waiting: Awaitable[None]) -> None:
        """Await ``waiting``, but not longer than the process lives.

        Raises:
            TraefikStartFailed: If the process ends first, with its last lines.
        """
        assert self._running is not None  # noqa: S101
        running = self._running
        waiter = asyncio.ensure_future(waiting)
        ended = asyncio.ensure_future(running.wait())
        try:
            await asyncio.wait([waiter, ended], return_when=asyncio.FIRST_COMPLETED)
            await self._output.catch_up()  # what it said explains, whatever comes now
            if not waiter.done():
                await self._output.finish()
                raise TraefikStartFailed(self._reason(running), self._output.last_lines)
            await waiter
        finally:
            for task in (waiter, ended):
                task.cancel()
            await asyncio.wait([waiter, ended])

    def _reason(self, running: _Running) -> str:
        for line in self._output.last_lines:
            if "address already in use" in line:
                return _address_is_taken(line).reason
            if "bind: permission denied" in line:
                return (
                    "it may not listen on that port. Choose a port above 1023 with c.JupyterHub.bind_url, or give the "
                    f"Traefik program the capability cap_net_bind_service. ({line})"
                )
        return f"it ended ({running.how_it_ended()})."

    @property
    def last_lines(self) -> list[str]:
        """The last lines of its output."""
        return self._output.last_lines

    def watch(self, before_restart: Callable[[], Awaitable[object]]) -> None:
        """From now on, log its output, and start it again whenever it ends.

        Args:
            before_restart: Awaited before each start; sees that both configurations are in place.
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
                "Traefik (process %d) has ended (%s); starting it again %s", running.pid, running.how_it_ended(), when
            )
            await asyncio.sleep(pause)
            pause = min(max(_FIRST_PAUSE, 2 * pause), _LONGEST_PAUSE)
            while True:
                try:
                    await before_restart()
                except Exception:  # noqa: BLE001 - a fault of ours: logged whole; a Traefik is better than none
                    self._log.exception("Preparing the start of Traefik failed in an unexpected way; it is started")
                try:
                    await self.start()
                    break
                except TraefikStartFailed as error:
                    self._log.error("%s; trying again in %g s", error, pause)
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, _LONGEST_PAUSE)

    async def stop(self) -> None:
        """End the process and stop watching it; returns when it is gone. May be called twice."""
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
        """End the process when Python ends and nobody has called :meth:`stop`, as when the Hub fails while it starts."""
        running = self._running
        if running is not None and self._ends_with_hub():
            running.send(signal.SIGTERM)

    async def _end(self) -> None:
        """End the process: politely, then not."""
        atexit.unregister(self._end_with_hub)
        running, self._running = self._running, None
        if running is None:
            return
        for number, seconds in ((signal.SIGTERM, _STOP_SECONDS), (signal.SIGKILL, _KILL_SECONDS)):
            await asyncio.to_thread(running.send, number)
            ended = asyncio.ensure_future(running.wait())
            try:
                await asyncio.wait([ended], timeout=seconds)
                if ended.done():
                    await ended
                    break
            finally:
                ended.cancel()
                await asyncio.wait([ended])
        else:
            self._log.error("Traefik (process %d) could not be ended", running.pid)
        await asyncio.to_thread(self._record_file.unlink, missing_ok=True)
