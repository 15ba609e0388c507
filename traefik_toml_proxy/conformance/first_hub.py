"""A Hub that starts a proxy, adds routes, says so, and waits to be killed. A program; does I/O."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import sys
from typing import Any

from .case import Options
from .subject import Setting, make_proxy


async def main() -> None:
    """Read the task as one line of JSON, do it, print ``ready``, and wait."""
    logging.basicConfig(filename="first-hub.log", level=logging.INFO)
    line = await asyncio.to_thread(sys.stdin.readline)
    proxy_class, setting, config, routes = json.loads(line)
    options = Options(**setting.pop("options"))
    proxy = make_proxy(proxy_class, Setting(options, **setting), config)
    if proxy.should_start:
        started: Any = proxy.start()
        if inspect.isawaitable(started):
            await started
    for routespec, target in routes.items():
        await proxy.add_route(routespec, target, {})
    print("ready", flush=True)  # noqa: T201 - that is how it says so
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
