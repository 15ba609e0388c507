"""One Traefik process: its identity, the record of it for the next Hub, signals, and waiting for its exit. Does I/O."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from ..files import write_private
from ..threads import in_thread


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """Identifies a process even if its process ID is reused later.

    Attributes:
        pid: The process ID.
        boot: The ID of the boot (after a reboot, a process may have the same ID and start time).
        start_ticks: When the process started, in clock ticks since the boot (proc(5), /proc/pid/stat, field 22).
    """

    pid: int
    boot: str
    start_ticks: int

    @classmethod
    def of(cls, pid: int, *, include_exited: bool = False) -> ProcessIdentity | None:
        """Return the identity of the process that has this ID now, or None if there is none. Blocks briefly.

        Args:
            pid: The process ID.
            include_exited: Whether to include a process that has exited but still has its ID, because nobody has waited
                for it, or because some of its threads, and so its sockets, still exist.
        """
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            return None
        state, start_ticks = fields[0], int(fields[19])
        return None if state in "ZX" and not include_exited else cls(pid, boot, start_ticks)


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """What the next Hub needs to know about the running Traefik.

    Attributes:
        identity: The identity of the process.
        command: The command that started it.
        static_sha256: A hash of its static configuration and other settings.
    """

    identity: ProcessIdentity
    command: list[str]
    static_sha256: str

    @classmethod
    def read(cls, path: Path) -> ProcessRecord | None:
        """Return the record in a file, or None if it has no valid one. Blocks."""
        try:
            tree = json.loads(path.read_text())
        except (OSError, ValueError, RecursionError):
            return None
        match tree:
            case {
                "identity": {"pid": int(pid), "boot": str(boot), "start_ticks": int(start_ticks)},
                "command": [*command, str(last)],
                "static_sha256": str(digest),
            }:
                return cls(ProcessIdentity(pid, boot, start_ticks), [*command, last], digest)
        return None

    def write(self, path: Path) -> None:
        """Replace the record in a file atomically. Blocks.

        Raises:
            OSError: If it cannot be written; an old record stays in place.
        """
        write_private(path, json.dumps(asdict(self)).encode())

    def is_running(self) -> bool:
        """Whether the recorded process still runs, with the recorded configuration file. Blocks briefly."""
        if ProcessIdentity.of(self.identity.pid) != self.identity:
            return False
        try:
            arguments = Path(f"/proc/{self.identity.pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
        return os.fsencode(self.command[-1]) in arguments


class RunningProcess:
    """A running Traefik: our child, or a process that an earlier Hub started.

    Attributes:
        identity: The identity of the process.
        since: When it was started or adopted, in seconds on the monotonic clock.
    """

    def __init__(self, identity: ProcessIdentity, child: subprocess.Popen[bytes] | None) -> None:
        self.identity = identity
        self.since = time.monotonic()
        self._child = child

    @property
    def pid(self) -> int:
        """The process ID."""
        return self.identity.pid

    def alive(self) -> bool:
        """Whether the process still runs. Blocks briefly."""
        if self._child is None:
            return ProcessIdentity.of(self.pid) == self.identity
        try:
            return self._child.returncode is None and self._exit_status() is None
        except ChildProcessError:  # it has been waited for elsewhere
            return False

    def _still_has_pid(self) -> bool:
        if self._child is None:
            return ProcessIdentity.of(self.pid, include_exited=True) == self.identity
        return self._child.returncode is None

    def _exit_status(self) -> object:
        """Return the exit status of our child, or None while it runs. The child keeps its process ID."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process group, if the process still runs. Blocks briefly."""
        if self.alive():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

    async def wait(self) -> None:
        """Wait until the process has exited."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except OSError:  # Linux before 5.3, or the process has exited already
            while await in_thread(self.alive):
                await asyncio.sleep(0.2)
        else:
            loop = asyncio.get_running_loop()
            exited = loop.create_future()
            loop.add_reader(descriptor, lambda: None if exited.done() else exited.set_result(None))
            try:
                if await in_thread(self._still_has_pid):  # otherwise the descriptor is another process's
                    await exited
            finally:
                loop.remove_reader(descriptor)
                os.close(descriptor)
        await in_thread(self._reap)

    def _reap(self) -> None:
        if self._child is not None:
            # A script that runs Traefik can exit before it. The process ID is not reused until wait() below.
            with contextlib.suppress(ChildProcessError, ProcessLookupError, PermissionError):
                if self._child.returncode is None and self._exit_status():
                    os.killpg(self.pid, signal.SIGKILL)
            self._child.wait()
        else:
            # It is our child only if the Hub is the init process, as in a container.
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.pid, os.WNOHANG)

    def describe_exit(self) -> str:
        """Return how the process exited, in words."""
        code = self._child.returncode if self._child is not None else None
        if code is None:
            return "it was started by an earlier Hub, so its exit status is not known"
        return f"exit status {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"
