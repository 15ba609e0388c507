"""The performance profile, in its quick form, from beginning to end: everything works; the numbers say little then."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
WHO = {"ours", "floor", "direct"}


@pytest.mark.timeout(400)
async def test_all_parts_are_measured_drawn_and_told(tmp_path: Path) -> None:
    """With a real Hub, a real Traefik and real WebSockets; requests where there is wrk."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks", "--quick", "--contenders", *WHO, "--to", str(tmp_path)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    out, error = await process.communicate()
    assert process.returncode == 0, error.decode()[-3000:]
    result = json.loads((tmp_path / "results.json").read_text())
    parts: dict[str, dict[str, Any]] = result["parts"]

    assert result["failures"] == []
    assert list(parts) == ["routes", "requests", "websockets", "churn", "restart"]
    assert not [
        level for level in parts["routes"]["levels"] for each in level["contenders"].values() if "failed" in each
    ]
    for name in ("websockets", "churn", "restart"):
        assert parts[name]["failures"] == []
    if shutil.which("wrk"):
        assert parts["requests"]["failures"] == []
        assert {sample["contender"] for sample in parts["requests"]["samples"]} == WHO
        assert all(sample["requests"] > 0 == sample["failed"] for sample in parts["requests"]["samples"])
    else:
        assert "wrk is not installed" in parts["requests"]["failures"][0]
    assert {sample["contender"] for sample in parts["websockets"]["opened"]} == WHO
    assert {sample["failed"] for sample in parts["churn"]["samples"]} == {0}
    assert all(sample["changes"] > 0 for sample in parts["churn"]["samples"] if sample["changing"])
    cut_off = {s["event"]: s["cut_off_s"] for s in parts["restart"]["samples"] if s["contender"] == "ours"}
    assert len(cut_off) == 3
    assert cut_off["the Hub is restarted"] == 0
    assert None not in cut_off.values()
    assert result["versions"]["traefik"] in out.decode()
    assert (tmp_path / "tables.rst").read_text().count(".. list-table::") == len(parts)
    for name in parts:
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "</svg>" in (tmp_path / f"{name}.svg").read_text()
