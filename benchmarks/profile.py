"""All parts, one after another, and their results as one JSON object. I/O: by the parts."""

from __future__ import annotations

import asyncio
import signal
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from . import busy, churn, requests, restart, routes, websockets
from .bench import Bench, Common, progress
from .machine import now

_Measure = Callable[[Bench, Any, dict[str, Any]], Awaitable[None]]

PARTS: Mapping[str, tuple[_Measure, Any]] = {
    "routes": (routes.measure, routes.Options()),
    "requests": (requests.measure, requests.Options()),
    "websockets": (websockets.measure, websockets.Options()),
    "churn": (churn.measure, churn.Options()),
    "busy": (busy.measure, busy.Options()),
    "restart": (restart.measure, restart.Options()),
}

# Enough to check that everything works; the numbers mean little.
QUICK: Mapping[str, Any] = {
    "routes": routes.Options(existing=(0, 200), burst=20, burst_existing=200, repeat=2, bursts=1, seconds=3),
    "requests": requests.Options(existing=(200,), seconds=1, rounds=1),
    "websockets": websockets.Options(existing=200, seconds=1, rounds=1, open_sockets=50),
    "churn": churn.Options(existing=(200,), seconds=2, rounds=1),
    "busy": busy.Options(existing=200, seconds=1, rounds=1),
    "restart": restart.Options(existing=(50,), rounds=1, apart=1, seconds=60),
}


def run(common: Common, options: Mapping[str, Any], save: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """Measure, and return all results as plain JSON.

    If it is interrupted, it returns what was measured until then, marked as interrupted.

    Args:
        common: Which contenders to compare.
        options: The options of each part to measure.
        save: Called after each part with all results so far, so that an accident costs no more than one part.

    Raises:
        asyncio.CancelledError: If it is interrupted before anything was measured.
    """
    return asyncio.run(_run(common, options, save))


async def _run(common: Common, options: Mapping[str, Any], save: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    cancel_on_signals()
    result: dict[str, Any] = {"date": now(), "interrupted": True, "failures": [], "parts": {}}
    begin = time.monotonic()
    async with Bench.opened(common) as bench:
        result.update(bench.about())
        try:
            for name, given in options.items():
                measured: dict[str, Any] = {}
                result["parts"][name] = measured
                measure, _ = PARTS[name]
                before = time.monotonic()
                try:
                    await measure(bench, given, measured)
                except Exception as error:  # noqa: BLE001 - whatever it is, the other parts can still be measured
                    traceback.print_exc()
                    result["failures"].append(f"{name} was not completed: {type(error).__name__}: {error}")
                finally:
                    measured["seconds_taken"] = time.monotonic() - before
                    result["seconds_taken"] = time.monotonic() - begin
                    save(result)
            result["interrupted"] = False
        except asyncio.CancelledError:
            progress("interrupted; here is what was measured until now")
    return result


def cancel_on_signals() -> None:
    """Have Ctrl-C and SIGTERM cancel this task, but only once: a second signal must not interrupt the clean-up."""
    me = asyncio.current_task()
    assert me is not None
    received: list[int] = []

    def cancel(number: int) -> None:
        if not received:
            me.cancel()
        received.append(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, cancel, number)
