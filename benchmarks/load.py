"""Runs a program that sends requests as fast as it can, or at fixed times, and has its results. I/O: processes."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from .waiting import within

# How many seconds longer than it is told a program may run.
_MORE_SECONDS = 60


async def results_of(*command: str, seconds: float) -> dict[str, Any]:
    """Run a program that prints its results as its last line, in JSON, and return them.

    Args:
        command: The program and its arguments.
        seconds: For how long it sends requests.

    Raises:
        RuntimeError: If it fails.
        asyncio.TimeoutError: If it does not end.
    """
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        output, _ = await within(seconds + _MORE_SECONDS, process.communicate())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    last = output.decode().strip().rpartition("\n")[2]
    if not last.startswith("{"):
        raise RuntimeError(f"{command[0]} failed: {output.decode()[-500:]}")
    results: dict[str, Any] = json.loads(last)
    return results
