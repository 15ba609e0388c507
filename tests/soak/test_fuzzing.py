"""Minutes of requests that no browser sends, found by what they make the in-process proxy do: ``pytest -m soak``."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import sys
from pathlib import Path
from typing import Any

import pytest
from support.desync import ATTACKS, HIDDEN, HOST, nginx, tornado
from support.waiting import PATIENCE, within

TESTS = Path(__file__).parents[1]
# The texts to begin with are the known attacks, and a body that looks like a request, after each of these lines.
LINES = [b"POST /a HTTP/1.1\r\n", b"GET /a HTTP/1.1\r\n", b"PUT /a HTTP/1.0\r\n"]
HARMLESS = (HOST + b"Content-Length: %d\r\n" % len(HIDDEN), HIDDEN)


@pytest.mark.soak
@pytest.mark.parametrize("make_server", [tornado, nginx])
async def test_only_what_was_understood_arrives(
    make_server: Any, tmp_path: Path, pytestconfig: pytest.Config, capsys: pytest.CaptureFixture[str]
) -> None:
    """A request that the proxy has not seen would be one that somebody has hidden in another (RFC 9112 section 11.2)."""
    pytest.importorskip("atheris", reason="atheris is not installed; it has packages for Linux on x86-64 only")
    seed = pytestconfig.getoption("--seed") or random.randrange(1, 10**6)
    seconds = int(60 * pytestconfig.getoption("--minutes"))
    texts = tmp_path / "texts"
    texts.mkdir()
    for number, (line, (fields, after)) in enumerate(itertools.product(LINES, (HARMLESS, *ATTACKS))):
        (texts / f"{number}").write_bytes(line + fields + b"\r\n" + after)
    options = [f"-seed={seed}", f"-max_total_time={seconds}", f"-dict={TESTS / 'soak' / 'http.dict'}"]
    options += ["-max_len=600", "-len_control=0", "-rss_limit_mb=0"]
    async with make_server(tmp_path) as server:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "support.fuzzer", str(server.port), str(server.log), *options, str(texts)),
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(TESTS)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            output, _ = await within(seconds + 60 * PATIENCE, process.communicate())
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    print(output.decode(errors="replace")[-20_000:])
    assert process.returncode == 0
    assert b"Done " in output
    with capsys.disabled():
        print(f"\n{output.decode(errors='replace').splitlines()[-1]} (--seed {seed})")
