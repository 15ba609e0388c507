"""A stand-in for a Hub that starts a proxy, adds routes, and waits to be killed: a program. Does I/O."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import sys
from pathlib import Path
from typing import Any

from .case import Options
from .hub import make_proxy
from .setting import Setting


async def main(task: str, ready: str) -> None:
    """Carry out the task (JSON), create the file ``ready``, and wait."""
    logging.basicConfig(level=logging.INFO)
    proxy_class, setting, config, routes = json.loads(task)
    options = Options(**setting.pop("options"))
    proxy = make_proxy(proxy_class, Setting(options, **setting), config)
    if proxy.should_start:
        started: Any = proxy.start()
        if inspect.isawaitable(started):
            await started
    for routespec, target in routes.items():
        await proxy.add_route(routespec, target, {})
    await asyncio.to_thread(Path(ready).touch)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
