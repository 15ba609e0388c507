"""TraefikSupervisor with programs that misbehave on demand: starting, watching, stopping, adopting."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import pytest_asyncio
from support.processes import MARK, alive, command_line, environment, identity, open_files, started_here
from support.programs import FOREVER, any_script
from support.waiting import PATIENCE, eventually

from traefik_toml_proxy.errors import TraefikStartFailed
from traefik_toml_proxy.runtime import supervisor as module
from traefik_toml_proxy.runtime.process import ProcessRecord
from traefik_toml_proxy.runtime.program import Program
from traefik_toml_proxy.runtime.supervisor import TraefikSupervisor

Maker = Callable[..., TraefikSupervisor]


@pytest_asyncio.fixture
async def make(tmp_path: Path) -> AsyncIterator[Maker]:
    """Make TraefikSupervisors that run a shell script; each is stopped at the end."""
    made: list[TraefikSupervisor] = []

    def make(body: str = FOREVER, *, name: str = "traefik", static: bytes = b"some", **more: Any) -> TraefikSupervisor:
        (tmp_path / "traefik.toml").write_bytes(static)
        process = TraefikSupervisor(
            Program((str(any_script(tmp_path / name, body)),), (3, 7, 0)),
            tmp_path / "traefik.toml",
            static,
            folder=tmp_path,
            environment={"PATH": os.environ["PATH"], **MARK},
            configured_environment={},
            ends_with_hub=lambda: True,
            log=logging.getLogger("hub"),
            **more,
        )
        made.append(process)
        return process

    yield make
    for process in reversed(made):
        await process.stop()


def restarts(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what the log says about when each restart comes."""
    messages = [record.getMessage() for record in caplog.records]
    return [message.rpartition("; starting it again ")[2] for message in messages if "has exited" in message]


async def nothing() -> None:
    """Do nothing before a restart."""


async def killed(process: TraefikSupervisor) -> int:
    """Kill the process, and wait until it runs again; return the old process id."""
    pid = process.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await eventually(lambda: process.pid != pid and alive(process.pid))
    return pid


class TestStart:
    """Starting a process."""

    async def test_it_has_a_process_group_and_a_session_of_its_own(self, make: Maker) -> None:
        """Ctrl-C at the Hub's terminal does not reach it; the Hub stops it."""
        process = make()
        await process.start()
        pid = process.pid
        assert pid is not None

        assert (os.getpgid(pid), os.getsid(pid)) == (pid, pid)

    async def test_it_gets_exactly_the_environment_it_was_given(self, make: Maker, tmp_path: Path) -> None:
        """It gets nothing from the Hub's environment."""
        process = make()
        await process.start()
        await eventually(lambda: "tail" in command_line(process.pid))
        names = environment(process.pid).keys() - {"PWD", "OLDPWD", "SHLVL", "_"}  # the shell's own

        assert names == {"PATH", *MARK}
        assert Path(f"/proc/{process.pid}/cwd").resolve() == tmp_path.resolve()

    async def test_it_inherits_no_files_but_its_output(self, make: Maker, tmp_path: Path) -> None:
        """It gets no lock, socket or database of the Hub."""
        process = make()
        with (tmp_path / "hub.sqlite").open("w") as file:
            os.set_inheritable(file.fileno(), True)
            await process.start()
            await eventually(lambda: "tail" in command_line(process.pid))

        assert str(tmp_path / "traefik.log") in open_files(process.pid)
        assert str(tmp_path / "hub.sqlite") not in open_files(process.pid)

    async def test_a_program_that_is_gone_is_an_error(self, make: Maker, tmp_path: Path) -> None:
        """It may be removed after its version was read."""
        process = make()
        (tmp_path / "traefik").unlink()
        with pytest.raises(TraefikStartFailed, match=r"could not be run: .*No such file"):
            await process.start()

        assert process.pid is None

    async def test_after_a_cancelled_start_the_process_can_be_stopped(self, make: Maker) -> None:
        """The process may be running already."""
        process = make()
        starting = asyncio.create_task(process.start())
        await asyncio.sleep(0)
        starting.cancel()
        await asyncio.wait([starting])
        pid = process.pid
        assert alive(pid)
        await process.stop()

        assert not alive(pid)

    async def test_it_runs_even_if_its_record_cannot_be_written(
        self, make: Maker, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The log says what will not work later."""
        process = make()
        with mock.patch.object(ProcessRecord, "write", side_effect=OSError(errno.ENOSPC, "No space left on device")):
            await process.start()

        assert alive(process.pid)
        assert "cannot take over" in caplog.text

    async def test_a_record_that_cannot_be_written_leaves_nothing_behind(self, make: Maker, tmp_path: Path) -> None:
        """Failed attempts do not pile up."""
        process = make()
        with mock.patch("pathlib.Path.replace", side_effect=OSError(errno.ENOSPC, "No space left on device")):
            await process.start()

        assert not list(tmp_path.glob("traefik-process.json*"))

    async def test_its_output_has_a_limit(self, make: Maker, tmp_path: Path) -> None:
        """While no Hub empties the file, it ends there. The process goes on, as Go programs do."""
        limited = 'while [ "$(ulimit -f)" = unlimited ]; do :; done'
        process = make(f"trap '' XFSZ; {limited}; while :; do echo line 2>/dev/null || : >full; done", most_output=1024)
        await process.start()
        await eventually((tmp_path / "full").exists)

        assert (tmp_path / "traefik.log").stat().st_size == 1024
        assert alive(process.pid)

    async def test_lines_that_are_taken_are_not_logged(self, make: Maker, caplog: pytest.LogCaptureFixture) -> None:
        """Nor are they among the last lines, which errors quote."""
        caplog.set_level(logging.INFO)
        process = make(f"echo a secret; echo a line; {FOREVER}", is_taken=lambda line: "secret" in line)
        await process.start()
        process.watch(nothing)
        await eventually(lambda: "a line" in caplog.text)

        assert "secret" not in caplog.text
        assert process.last_lines == ["a line"]


class TestWhileRunning:
    """while_running() waits for something, but not longer than the process lives."""

    async def test_it_ends_when_what_is_awaited_does(self, make: Maker) -> None:
        """The process keeps running."""
        process = make()
        await process.start()
        await process.while_running(asyncio.sleep(0))

        assert alive(process.pid)

    async def test_an_error_of_what_is_awaited_is_raised(self, make: Maker) -> None:
        """It is not wrapped."""

        async def fail() -> None:
            raise LookupError("as it is")

        process = make()
        await process.start()
        with pytest.raises(LookupError, match="as it is"):
            await process.while_running(fail())

    async def test_its_output_is_known_afterwards(self, make: Maker) -> None:
        """The last lines may explain a failure, even if the process still runs."""
        process = make(f"echo I am thinking; {FOREVER}")
        await process.start()
        await eventually(lambda: "tail" in command_line(process.pid))
        await process.while_running(asyncio.sleep(0))

        assert process.last_lines == ["I am thinking"]

    @pytest.mark.parametrize(
        ("body", "how"),
        [("exit 3", "exit status 3"), ("exit 0", "exit status 0"), ("kill -9 $$", "killed by SIGKILL")],
    )
    async def test_its_end_is_an_error_with_the_exit_status_and_the_last_lines(
        self, make: Maker, body: str, how: str
    ) -> None:
        """The error comes at once."""
        process = make(f"echo first; echo >&2 second; {body}")
        await process.start()
        began = time.monotonic()
        with pytest.raises(TraefikStartFailed) as caught:
            await process.while_running(asyncio.sleep(3600))

        assert time.monotonic() - began < 5 * PATIENCE
        assert how in caught.value.reason
        assert caught.value.last_lines == ["first", "second"]
        assert "first\n  second" in str(caught.value)

    async def test_an_incomplete_last_line_is_shown(self, make: Maker) -> None:
        """A program may die in the middle of a line."""
        process = make("printf 'out of memory'; exit 1")
        await process.start()
        with pytest.raises(TraefikStartFailed, match="out of memory"):
            await process.while_running(asyncio.sleep(3600))

    @pytest.mark.parametrize(
        ("output", "advice"),
        [
            ("listen tcp :80: bind: address already in use", "c.JupyterHub.bind_url"),
            ("listen tcp :80: bind: permission denied", "port above 1023 with c.JupyterHub.bind_url"),
        ],
    )
    async def test_the_error_says_what_the_admin_can_do(self, make: Maker, output: str, advice: str) -> None:
        """Two common reasons are recognized by Traefik's words."""
        process = make(f"echo '{output}'; exit 1")
        await process.start()
        with pytest.raises(TraefikStartFailed) as caught:
            await process.while_running(asyncio.sleep(3600))

        assert advice in caught.value.reason
        assert output in caught.value.reason

    async def test_cancelling_ends_what_is_awaited(self, make: Maker) -> None:
        """Nothing keeps running in the background."""
        awaited = asyncio.create_task(asyncio.sleep(3600))
        process = make()
        await process.start()
        waiting = asyncio.create_task(process.while_running(awaited))
        await asyncio.wait([waiting], timeout=0.05)
        waiting.cancel()
        await asyncio.wait([waiting])

        assert awaited.cancelled()
        assert alive(process.pid)


class TestWatch:
    """watch() restarts the process whenever it ends, until it is stopped."""

    @pytest.fixture(autouse=True)
    def quick(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Make the pauses short."""
        monkeypatch.setattr(module, "_FIRST_PAUSE", 0.05)
        monkeypatch.setattr(module, "_LONGEST_PAUSE", 0.2)

    async def test_it_is_restarted_at_once(self, make: Maker, caplog: pytest.LogCaptureFixture) -> None:
        """The log says which process has ended and how."""
        process = make()
        await process.start()
        process.watch(nothing)
        pid = await killed(process)

        assert f"Traefik (process {pid}) has exited (killed by SIGKILL); starting it again at once" in caplog.text

    async def test_pauses_grow_while_it_keeps_ending(self, make: Maker, caplog: pytest.LogCaptureFixture) -> None:
        """A Traefik that cannot run does not keep the machine busy; the pauses grow up to a limit."""
        process = make("exit 1")
        await process.start()
        process.watch(nothing)
        await eventually(lambda: len(restarts(caplog)) == 6)

        assert restarts(caplog) == ["at once", "in 0.05 s", "in 0.1 s", "in 0.2 s", "in 0.2 s", "in 0.2 s"]

    async def test_after_it_has_run_for_a_while_it_is_restarted_at_once(
        self, make: Maker, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The pauses are for a Traefik that fails at start."""
        monkeypatch.setattr(module, "_STABLE_SECONDS", 0)
        process = make()
        await process.start()
        process.watch(nothing)
        for _ in range(3):
            await killed(process)

        assert restarts(caplog) == ["at once"] * 3

    async def test_preparation_comes_before_each_restart(self, make: Maker) -> None:
        """Traefik's files must be there when it starts."""
        order: list[str] = []
        process = make()
        await process.start()

        async def prepare() -> None:
            order.append(f"prepared while {await asyncio.to_thread(alive, process.pid)}")

        process.watch(prepare)
        await killed(process)
        order.append("started")

        assert order == ["prepared while False", "started"]

    async def test_a_start_that_fails_is_retried(
        self, make: Maker, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A program that is being upgraded is missing only for a moment."""
        process = make()
        await process.start()
        process.watch(nothing)
        (tmp_path / "traefik").rename(tmp_path / "aside")
        pid = process.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await eventually(lambda: "could not be run" in caplog.text)
        (tmp_path / "aside").rename(tmp_path / "traefik")
        await eventually(lambda: process.pid != pid and alive(process.pid))

    async def test_a_full_disk_does_not_make_it_start_twice(
        self, make: Maker, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A record that cannot be written is not a failed start: there is one process, which stop() ends."""
        others = started_here()
        process = make()
        await process.start()
        process.watch(nothing)
        with mock.patch.object(ProcessRecord, "write", side_effect=OSError(errno.ENOSPC, "No space left on device")):
            await killed(process)
            await killed(process)  # a second start of the first time would have come before this one

        assert restarts(caplog) == ["at once", "in 0.05 s"]
        assert started_here() - others == {process.pid}

    async def test_preparation_that_fails_does_not_end_the_watch(
        self, make: Maker, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Traefik is started anyway."""

        async def fail() -> None:
            raise RuntimeError("a fault of ours")

        process = make()
        await process.start()
        process.watch(fail)
        await killed(process)

        assert any(record.exc_info for record in caplog.records)

    async def test_its_output_is_logged(self, make: Maker, caplog: pytest.LogCaptureFixture) -> None:
        """Each line is in the Hub's log once."""
        caplog.set_level(logging.INFO, logger="hub")
        process = make(f"echo hello; {FOREVER}")
        await process.start()
        process.watch(nothing)
        await eventually(lambda: "Traefik: hello" in caplog.text)
        await process.stop()

        assert caplog.text.count("Traefik: hello") == 1

    async def test_it_is_watched_without_a_pidfd_as_well(self, make: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
        """Linux before 5.3 has none, and file descriptors may run out."""
        monkeypatch.setattr(os, "pidfd_open", mock.Mock(side_effect=OSError(errno.ENOSYS, "not there")))
        process = make()
        await process.start()
        process.watch(nothing)
        await killed(process)


async def test_the_record_names_the_later_of_two_processes(
    make: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if the record of the earlier one is being written again when the later one starts."""
    process = make()
    await process.start()
    earlier = process._running
    assert earlier is not None
    os.kill(earlier.pid, signal.SIGKILL)
    await earlier.wait()
    looking, go_on = threading.Event(), threading.Event()

    def look(_identity: object) -> bool:
        looking.set()
        return not go_on.wait(30)

    monkeypatch.setattr(process, "_is_recorded", look)
    keeping = asyncio.create_task(process.keep_record())
    await eventually(looking.is_set)
    starting = asyncio.create_task(process.start())
    await asyncio.wait([starting], timeout=0.3)  # it has to wait; without that, it would be recorded by now
    go_on.set()
    await asyncio.gather(keeping, starting)

    recorded = await asyncio.to_thread(ProcessRecord.read, tmp_path / "traefik-process.json")
    assert recorded is not None
    assert recorded.identity.pid == process.pid


class TestStop:
    """stop() ends the process, whatever it does."""

    async def test_a_process_that_handles_sigterm_can_finish(self, make: Maker, tmp_path: Path) -> None:
        """It has time to finish open requests."""
        process = make("trap 'echo bye > said; exit' TERM; echo ready > ready; while :; do sleep 0.05; done")
        await process.start()
        await eventually((tmp_path / "ready").exists)
        await process.stop()

        assert (tmp_path / "said").read_text() == "bye\n"

    async def test_a_process_that_ignores_sigterm_is_killed(
        self, make: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is killed after a short time, with its child processes."""
        monkeypatch.setattr(module, "_STOP_SECONDS", 0.2)
        process = make("trap '' TERM; tail -f /dev/null & echo $! > child; wait; " + FOREVER)
        await process.start()
        child = int(await eventually(lambda: (tmp_path / "child").exists() and (tmp_path / "child").read_text()))
        pid = process.pid
        began = time.monotonic()
        await process.stop()

        assert time.monotonic() - began < 3 * PATIENCE
        assert not alive(pid)
        await eventually(lambda: not alive(child))

    async def test_its_child_processes_end_with_it(
        self, make: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A wrapper script that ends at once leaves nothing behind, even if its child ignores the signal."""
        monkeypatch.setattr(module, "_STOP_SECONDS", 0.2)
        process = make(f"(trap '' TERM; {FOREVER}) & echo $! > child; wait")
        await process.start()
        child = int(await eventually(lambda: (tmp_path / "child").exists() and (tmp_path / "child").read_text()))
        await eventually(lambda: "tail" in command_line(child))
        await process.stop()
        await eventually(lambda: not alive(child), within=5)

    async def test_a_suspended_process_is_killed(self, make: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
        """It cannot handle a signal."""
        monkeypatch.setattr(module, "_STOP_SECONDS", 0.2)
        process = make()
        await process.start()
        pid = process.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        await process.stop()

        assert not alive(pid)

    async def test_it_may_be_called_twice_and_without_a_start(self, make: Maker) -> None:
        """Then it does nothing."""
        process = make()
        await process.stop()
        await process.start()
        await process.stop()
        await process.stop()

        assert process.pid is None

    async def test_it_may_have_ended_already(self, make: Maker) -> None:
        """No process is signalled."""
        process = make("exit 0")
        await process.start()
        pid = process.pid
        await eventually(lambda: not alive(pid))
        with mock.patch("os.killpg") as kill:
            await process.stop()

        assert signal.SIGTERM not in [call.args[1] for call in kill.call_args_list]

    async def test_it_is_not_restarted(self, make: Maker, caplog: pytest.LogCaptureFixture) -> None:
        """The watch ends before the process does."""
        process = make()
        await process.start()
        process.watch(nothing)
        await process.stop()

        assert restarts(caplog) == []

    async def test_a_pending_restart_is_cancelled(
        self, make: Maker, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """stop() may come in the pause before a restart."""
        monkeypatch.setattr(module, "_FIRST_PAUSE", 3600)
        process = make("exit 1")
        await process.start()
        process.watch(nothing)
        await eventually(lambda: len(restarts(caplog)) == 2)
        await process.stop()

        assert process.pid is None

    async def test_its_record_is_removed(self, make: Maker, tmp_path: Path) -> None:
        """There is nothing left to take over."""
        process = make()
        await process.start()
        assert (tmp_path / "traefik-process.json").exists()
        await process.stop()

        assert not (tmp_path / "traefik-process.json").exists()


# A shell that does not exec keeps `--configFile=…` on its command line, as Traefik does.
STAYS = "while :; do sleep 0.05; done"


class TestAdopt:
    """adopt() takes over a process that an earlier Hub started."""

    @pytest_asyncio.fixture
    async def orphan(self, make: Maker) -> TraefikSupervisor:
        """A running process, as an earlier Hub has started it."""
        process = make(STAYS)
        await process.start()
        pid = process.pid
        await eventually(lambda: any("--configFile" in argument for argument in command_line(pid)))
        return process

    async def test_one_with_the_same_settings_is_taken_over(self, make: Maker, orphan: TraefikSupervisor) -> None:
        """It keeps running."""
        process = make(STAYS)

        assert await process.adopt()
        assert process.pid == orphan.pid
        assert alive(process.pid)

    async def test_an_adopted_process_is_ended_by_stop(self, make: Maker, orphan: TraefikSupervisor) -> None:
        """It is treated like one that was started here."""
        process = make(STAYS)
        await process.adopt()
        await process.stop()

        assert not alive(orphan.pid)

    @pytest.mark.usefixtures("orphan")
    async def test_an_adopted_process_is_restarted_when_it_ends(
        self, make: Maker, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Its exit status is not known, since it is not a child process."""
        process = make(STAYS)
        await process.adopt()
        process.watch(nothing)
        await killed(process)

        assert "it was started by an earlier Hub, so its exit status is not known" in caplog.text

    @pytest.mark.parametrize("other", [{"static": b"other"}, {"name": "other"}])
    async def test_one_with_other_settings_is_ended(
        self, make: Maker, orphan: TraefikSupervisor, other: dict[str, object]
    ) -> None:
        """Another static configuration or another program is wanted now."""
        process = make(STAYS, **other)

        assert not await process.adopt()
        assert not alive(orphan.pid)
        assert process.pid is None

    async def test_one_that_has_ended_is_not_adopted(self, make: Maker, orphan: TraefikSupervisor) -> None:
        """There is nothing to take over, and no process to signal."""
        pid = orphan.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await eventually(lambda: not alive(pid))

        assert not await make(STAYS).adopt()

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "{",
            "null",
            "[]",
            '"text"',
            "{}",
            '{"identity": {}, "command": [], "static_sha256": ""}',
            '{"identity": {"pid": "1", "boot": "", "start_ticks": 0}, "command": [], "static_sha256": ""}',
            '{"identity": {"pid": -1, "boot": "", "start_ticks": 0}, "command": [], "static_sha256": ""}',
            '{"identity": {"pid": 0, "boot": "", "start_ticks": 0}, "command": [], "static_sha256": ""}',
            "\u0000",
        ],
    )
    async def test_an_invalid_record_is_ignored(self, make: Maker, tmp_path: Path, text: str) -> None:
        """It is as if there were none: no process is signalled, and nothing fails."""
        (tmp_path / "traefik-process.json").write_text(text)
        with mock.patch("os.killpg") as kill:
            assert not await make().adopt()

        kill.assert_not_called()

    async def test_a_record_that_is_not_text_is_ignored(self, make: Maker, tmp_path: Path) -> None:
        """It may hold any bytes."""
        (tmp_path / "traefik-process.json").write_bytes(b"\xff\xfe\xfd")

        assert not await make().adopt()

    @pytest.mark.parametrize("command", [[], [1], "text", [None]])
    async def test_a_record_with_an_invalid_command_is_ignored(
        self, make: Maker, tmp_path: Path, orphan: TraefikSupervisor, command: object
    ) -> None:
        """The process with the recorded id is left alone."""
        pid = orphan.pid
        assert pid is not None
        forge(tmp_path, pid, command=command)

        assert not await make(STAYS).adopt()
        assert alive(pid)

    async def test_a_process_with_another_command_line_is_never_signalled(self, make: Maker, tmp_path: Path) -> None:
        """Its id and start time match, but it does not run with our file."""
        other = await asyncio.create_subprocess_exec("tail", "-f", "/dev/null", env=MARK)
        forge(tmp_path, other.pid)
        with mock.patch("os.killpg") as kill:
            adopted = await make().adopt()
        here = alive(other.pid)
        other.kill()
        await other.wait()

        assert (adopted, here, kill.call_count) == (False, True, 0)

    @pytest.mark.parametrize("change", [{"start_ticks": 1}, {"boot": "another"}])
    async def test_a_process_that_only_has_the_same_id_is_never_signalled(
        self, make: Maker, tmp_path: Path, orphan: TraefikSupervisor, change: dict[str, object]
    ) -> None:
        """Process ids get reused; the start time and the boot id identify a process."""
        file = tmp_path / "traefik-process.json"
        record = json.loads(file.read_text())
        record["identity"] |= change
        file.write_text(json.dumps(record))

        assert not await make(STAYS).adopt()
        assert alive(orphan.pid)

    async def test_this_very_process_is_never_signalled(self, make: Maker, tmp_path: Path) -> None:
        """The record may name the Hub itself."""
        forge(tmp_path, os.getpid())
        with mock.patch("os.killpg") as kill:
            assert not await make().adopt()

        kill.assert_not_called()


def forge(folder: Path, pid: int, *, command: object = None) -> None:
    """Write a record that names this process."""
    record = {
        "identity": identity(pid),
        "command": [str(folder / "traefik"), f"--configFile={folder / 'traefik.toml'}"] if command is None else command,
        "static_sha256": "0" * 64,
    }
    (folder / "traefik-process.json").write_text(json.dumps(record))


@pytest.mark.parametrize("text", ["", "{}", "[" * 100_000, '{"identity": {"pid": 1}}'])
def test_what_is_no_record_is_none(tmp_path: Path, text: str) -> None:
    """Such as what is left of a file on a full disk: the next Hub starts all the same."""
    path = tmp_path / "in-process.json"
    path.write_text(text)

    assert ProcessRecord.read(path) is None
