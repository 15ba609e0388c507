"""conformance.processes: what the suite has started is found and killed, and nothing else."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from traefik_toml_proxy.conformance.processes import (
    MARK,
    descendants,
    folder_prefix,
    kill_all,
    own_processes,
    start_time,
)

# Starts a child that outlives it, prints the child's id, and waits.
_PARENT = "import subprocess, sys; print(subprocess.Popen(['sleep', '60'], stdout=2).pid, flush=True); sys.stdin.read()"


@pytest.fixture
def parent() -> Iterator[subprocess.Popen[str]]:
    """A process with a child, both marked as started by this run of the suite."""
    process = subprocess.Popen(
        [sys.executable, "-c", _PARENT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, MARK: str(os.getpid())},
    )
    yield process
    process.kill()
    process.communicate()


def test_processes_of_a_killed_parent_are_still_found_and_killed(parent: subprocess.Popen[str]) -> None:
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert {parent.pid, child} <= own_processes()
    assert descendants(parent.pid) == {child}
    started = start_time(child)

    kill_all([parent.pid])

    assert own_processes() & {parent.pid, child} == {child}
    assert start_time(child) == started != ""

    ends = os.pidfd_open(child)
    kill_all([child])

    assert select.select([ends], [], [], 10)[0] == [ends]
    assert child not in own_processes()
    os.close(ends)


def test_children_are_found_whatever_their_environment_and_nothing_else() -> None:
    other = subprocess.Popen(["sleep", "60"], env={**os.environ, MARK: "1"})
    try:
        assert other.pid in own_processes()
        assert 1 not in own_processes()
        assert os.getpid() not in own_processes()
    finally:
        other.kill()
        other.wait()


@pytest.mark.parametrize("is_told", [False, True])
def test_a_process_without_the_mark_is_found_by_its_folder(tmp_path: Path, is_told: bool) -> None:
    """It works there, or is told to: a Traefik inherits few variables, and outlives its agent."""
    folder = tmp_path / f"{folder_prefix()}x" / "agent"
    folder.mkdir(parents=True)
    script = "import subprocess, sys; print(subprocess.Popen(sys.argv[1:], stdout=2, start_new_session=True).pid)"
    child = ["sh", "-c", "sleep 60; true", str(folder)] if is_told else ["sleep", "60"]
    parent = subprocess.run(
        [sys.executable, "-c", script, *child],
        cwd="/" if is_told else folder,
        env={"PATH": os.environ["PATH"]},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    orphan = int(parent.stdout)
    try:
        assert orphan in own_processes()
    finally:
        kill_all([orphan])
    assert orphan not in own_processes()


def test_a_process_that_does_not_exist_has_no_start_time() -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()

    assert start_time(ended.pid) == ""
    kill_all([ended.pid])
