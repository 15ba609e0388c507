"""One Traefik process: its identity, the record that the next Hub reads, signals, and its end. Does I/O."""

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


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """Tells a process apart from another one that got its number later.

    Attributes:
        pid: Its number.
        boot: Which boot of the machine (a number and a start time may come again after a reboot).
        start_ticks: When it was started, in clock ticks since the boot (proc(5), /proc/pid/stat, field 22).
    """

    pid: int
    boot: str
    start_ticks: int

    @classmethod
    def of(cls, pid: int, *, include_exited: bool = False) -> ProcessIdentity | None:
        """Return the identity of the process that has this number now, or None if there is none. Blocks for a moment.

        Args:
            pid: The number.
            include_exited: Whether a process counts that has exited but still has its number: nobody has waited for it,
                or some of its threads, with its sockets, have not ended yet.
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
        identity: Which process it is.
        command: What it was started with.
        static_sha256: A hash of its static configuration and other settings.
    """

    identity: ProcessIdentity
    command: list[str]
    static_sha256: str

    @classmethod
    def read(cls, path: Path) -> ProcessRecord | None:
        """Return the record in a file, or None if there is none that makes sense. Blocks."""
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
                return cls(ProcessIdentity(pid, boot, start_ticks), [*command, last], digest)
        return None

    def write(self, path: Path) -> None:
        """Write the record, as a whole. Blocks.

        Raises:
            OSError: If that fails; the old record is still there.
        """
        write_private(path, json.dumps(asdict(self)).encode())

    def is_running(self) -> bool:
        """Whether the recorded process still runs, with the recorded configuration file. Blocks for a moment."""
        if ProcessIdentity.of(self.identity.pid) != self.identity:
            return False
        try:
            arguments = Path(f"/proc/{self.identity.pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
        return os.fsencode(self.command[-1]) in arguments


class RunningProcess:
    """A running Traefik: our child, or one that an earlier Hub started.

    Attributes:
        identity: Which process it is.
        since: When it was started or adopted, on the monotonic clock.
    """

    def __init__(self, identity: ProcessIdentity, child: subprocess.Popen[bytes] | None) -> None:
        self.identity = identity
        self.since = time.monotonic()
        self._child = child

    @property
    def pid(self) -> int:
        """Its number."""
        return self.identity.pid

    def alive(self) -> bool:
        """Whether it still runs. Blocks for a moment."""
        if self._child is None:
            return ProcessIdentity.of(self.pid) == self.identity
        try:
            return self._child.returncode is None and self._exit_status() is None
        except ChildProcessError:  # somebody else has waited for it
            return False

    def _has_its_number(self) -> bool:
        if self._child is None:
            return ProcessIdentity.of(self.pid, include_exited=True) == self.identity
        return self._child.returncode is None

    def _exit_status(self) -> object:
        """Return how our child has exited, or None; it keeps its number."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to its process group, if it still runs. Blocks for a moment."""
        if self.alive():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

    async def wait(self) -> None:
        """Return when it has exited."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except OSError:  # Linux before 5.3, or it has exited already
            while await asyncio.to_thread(self.alive):
                await asyncio.sleep(0.2)
        else:
            loop = asyncio.get_running_loop()
            exited = loop.create_future()
            loop.add_reader(descriptor, lambda: None if exited.done() else exited.set_result(None))
            try:
                if await asyncio.to_thread(self._has_its_number):  # otherwise the descriptor is of another process
                    await exited
            finally:
                loop.remove_reader(descriptor)
                os.close(descriptor)
        await asyncio.to_thread(self._reap)

    def _reap(self) -> None:
        if self._child is not None:
            # A script around Traefik can exit before it. The number is not used again before it is waited for.
            with contextlib.suppress(ChildProcessError, ProcessLookupError, PermissionError):
                if self._child.returncode is None and self._exit_status():
                    os.killpg(self.pid, signal.SIGKILL)
            self._child.wait()
        else:
            with contextlib.suppress(
                ChildProcessError
            ):  # it is our child only if the Hub is the machine's init process
                os.waitpid(self.pid, os.WNOHANG)

    def describe_exit(self) -> str:
        """Return how it exited, in words."""
        code = self._child.returncode if self._child is not None else None
        if code is None:
            return "it was started by an earlier Hub, so its exit status is not known"
        return f"exit status {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"
