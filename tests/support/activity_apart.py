"""Two processes for tests of activity: ``listen URL``, which nobody may look into, and ``watch URL``, which tries to."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import sys
from urllib.parse import urlsplit

from traefik_toml_proxy.routes import RouteTable
from traefik_toml_proxy.runtime.activity import ConnectionActivity

from .waiting import eventually

_PR_SET_DUMPABLE = 4  # prctl(2)


class _Published:
    """No routes."""

    table = RouteTable()


async def _listen(url: str) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0)
    where = urlsplit(url)
    await asyncio.start_server(lambda _reader, _writer: None, where.hostname, where.port)
    print("listening", flush=True)
    await asyncio.Event().wait()


async def _watch(url: str) -> None:
    said: list[str] = []
    log = logging.getLogger("hub")
    log.warning = lambda text, *arguments: said.append(text % arguments)  # type: ignore[method-assign]
    activity = ConnectionActivity(_Published(), url, interval=0.002, log=log)
    watching = asyncio.create_task(activity.watch())
    await eventually(lambda: said)
    # Many samples later, it has said no more.
    await asyncio.sleep(0.5)
    watching.cancel()
    print(said[0])
    print(f"{len(said)} warning, {dict(await activity.last_seen())}", flush=True)


if __name__ == "__main__":
    asyncio.run({"listen": _listen, "watch": _watch}[sys.argv[1]](sys.argv[2]))
