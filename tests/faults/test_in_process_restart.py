"""The Hub is killed and started again, and its port is kept open by systemd: those who come meanwhile wait."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import AsyncIterator

import pytest
from support.processes import MARK
from support.waiting import within

pytestmark = pytest.mark.timeout(120)

# What systemd does for a service with a socket: it is descriptor 3 of the process that LISTEN_PID names.
_HUB = """
import asyncio, os, sys
from types import SimpleNamespace

os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
from traefik_toml_proxy import InProcessProxy

async def main():
    app = SimpleNamespace(internal_ssl=False, subdomain_host="")
    proxy = InProcessProxy(public_url=sys.argv[2], app=app)
    await proxy.start()
    print("started", flush=True)
    sys.stdin.read()
    await proxy.stop()

asyncio.run(main())
"""


@contextlib.asynccontextmanager
async def hub(listening: socket.socket) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a Hub with a socket that it has not opened."""
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _HUB, str(listening.fileno()), url),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        pass_fds=[listening.fileno()],
        env=MARK,
    )
    assert process.stdout is not None
    try:
        assert await within(60, process.stdout.readline()) == b"started\n"
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def ask(listening: socket.socket) -> bytes:
    """Send a request, and return the beginning of the answer."""
    reader, writer = await asyncio.open_connection(*listening.getsockname())
    try:
        writer.write(b"GET /_chp_healthz HTTP/1.1\r\nHost: h\r\n\r\n")
        return await reader.readline()
    finally:
        writer.close()


async def test_who_comes_while_the_hub_is_away_waits_for_it() -> None:
    """Nobody is refused, whether the Hub was killed or has stopped."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        async with hub(listening) as first:
            assert await within(20, ask(listening)) == b"HTTP/1.1 200 OK\r\n"
            first.kill()
            await first.wait()
        early = [asyncio.ensure_future(ask(listening)) for _ in range(20)]
        await asyncio.sleep(0.2)
        assert not any(each.done() for each in early)
        async with hub(listening) as second:
            assert await within(20, asyncio.gather(*early)) == [b"HTTP/1.1 200 OK\r\n"] * 20
            assert second.stdin is not None
            second.stdin.close()
            assert await within(30, second.wait()) == 0
        late = asyncio.ensure_future(ask(listening))
        async with hub(listening):
            assert await within(20, late) == b"HTTP/1.1 200 OK\r\n"
