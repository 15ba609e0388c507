"""Writers that are killed in the middle of a commit, each in its own process: ``python killed_writer.py <folder>``.

They are forks of one process that has imported everything: it takes two seconds instead of a minute.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import NamedTuple

from support.disk import STEPS_BEFORE, SYNC_FOLDER, disturbed
from support.store_contract import table_of
from support.stores import toml_store
from traefik_toml_proxy.routes import Snapshot

OLD = Snapshot(1, table_of("ada", "bob"))
NEW = Snapshot(2, table_of("bob", *(f"user{number}" for number in range(300))))


class Case(NamedTuple):
    """Where a writer is killed.

    Attributes:
        step: See support/disk.py.
        after: Whether it is killed after the step instead of before it.
        first: Whether it is the first commit, when there is no old file.
    """

    step: str
    after: bool
    first: bool

    @property
    def name(self) -> str:
        """The name of its folder."""
        return f"{'first' if self.first else 'second'} commit, {'after' if self.after else 'before'} {self.step}"


CASES = [
    Case(step, after, first)
    for step in (*STEPS_BEFORE, SYNC_FOLDER)
    for after in (False, True)
    for first in (False, True)
]


async def _write(path: Path, case: Case) -> None:
    store = toml_store(path)
    await store.open()
    for snapshot in [OLD][case.first :]:
        await store.commit(snapshot)
    with disturbed(path, case.step, lambda: os.kill(os.getpid(), signal.SIGKILL), after=case.after):
        await store.commit(NEW)


def _killed(path: Path, case: Case) -> int:
    """Run the case in a fork; return its exit status."""
    pid = os.fork()
    if pid == 0:
        asyncio.run(_write(path, case))
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


if __name__ == "__main__":
    print(json.dumps({case.name: _killed(Path(sys.argv[1]) / case.name / "dynamic.toml", case) for case in CASES}))
