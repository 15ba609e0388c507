"""The writer is killed (SIGKILL) at each step of a commit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support import killed_writer
from support.disk import SYNC_FOLDER
from support.killed_writer import CASES, NEW, OLD, Case
from support.store_contract import routes_of, table_of
from support.stores import SETTINGS, toml_store

from traefik_toml_proxy.routes import RouteTable, Snapshot
from traefik_toml_proxy.stores.toml_document import TomlRenderer, read_snapshot

NOTHING = Snapshot(0, RouteTable())


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what each killed writer has left."""
    folder = tmp_path_factory.mktemp("killed")
    tests = str(Path(killed_writer.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, killed_writer.__file__, str(folder)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": f"{tests}:{os.environ.get('PYTHONPATH', '')}"},
        timeout=100,
        check=True,
    )
    assert json.loads(done.stdout) == {case.name: -signal.SIGKILL for case in CASES}
    return folder


def expected(case: Case) -> Snapshot:
    """Return the snapshot that must be there: the old one until the rename, the new one from then on."""
    if (case.step, case.after) in [("rename", True), (SYNC_FOLDER, False), (SYNC_FOLDER, True)]:
        return NEW
    return NOTHING if case.first else OLD


def bytes_of(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_the_file_is_the_old_one_or_the_new_one(killed: Path, case: Case) -> None:
    """It is intact, byte for byte, and the next writer can lock it, read it, clean up and go on."""
    path = killed / case.name / "dynamic.toml"
    kept = expected(case)
    contents = {snapshot.revision: TomlRenderer(SETTINGS, writer="a test").render(snapshot) for snapshot in (OLD, NEW)}
    assert bytes_of(path) == contents.get(kept.revision, b"")

    store = toml_store(path)
    snapshot = await store.open()
    left = [file.name for file in path.with_name("dynamic.toml.tmp").iterdir()]
    await store.commit(Snapshot(snapshot.revision + 1, table_of("cleo")))
    await store.close()

    assert (snapshot.revision, routes_of(snapshot)) == (kept.revision, routes_of(kept))
    assert left == ["lock"]
    written = read_snapshot(path.read_text())
    assert written is not None
    assert routes_of(written) == set(table_of("cleo"))
