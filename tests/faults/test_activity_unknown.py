"""Where the connections of Traefik cannot be seen, nothing is known about activity; and the log says so, once, and why."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support import activity_apart
from support.ports import free_port
from support.processes import MARK
from support.waiting import PATIENCE, eventually

from traefik_toml_proxy.routes import Route, RouteTable
from traefik_toml_proxy.runtime.activity import ConnectionActivity

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="sock_diag is a part of Linux")

# Where the network of another container would be (RFC 2544).
_HERE, _THERE = "198.18.0.1", "198.18.0.2"
_NAMESPACE, _LINK = f"ttp-{os.getpid()}", f"ttp{os.getpid()}"


async def _run(*command: str) -> None:
    """Run a program; raises if it fails."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    if process.returncode:
        raise OSError(f"{' '.join(command)}: {output.decode().strip()}")


@contextlib.asynccontextmanager
async def _process(*command: str) -> AsyncIterator[asyncio.subprocess.Process]:
    tests = str(Path(activity_apart.__file__).parents[1])
    process = await asyncio.create_subprocess_exec(
        *command, env=os.environ | MARK | {"PYTHONPATH": tests}, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    return (await asyncio.wait_for(process.stdout.readline(), 60 * PATIENCE)).decode().strip()


async def test_a_process_that_the_hub_may_not_look_into() -> None:
    """As when Traefik belongs to another user."""
    # Root may look into everything, unless it gives that up.
    prefix = ["setpriv", "--bounding-set", "-sys_ptrace"] if os.geteuid() == 0 else []
    if prefix and not shutil.which("setpriv"):
        pytest.skip("setpriv is not installed")
    url = f"http://127.0.0.1:{free_port()}"
    module = activity_apart.__name__
    async with _process(sys.executable, "-m", module, "listen", url) as listening:
        assert await _line(listening) == "listening"
        async with _process(*prefix, sys.executable, "-m", module, "watch", url) as watching:
            said, known = await _line(watching), await _line(watching)

    assert "The Hub may not look into the process of Traefik" in said
    assert known == "1 warning, {}"


async def test_another_network_namespace(caplog: pytest.LogCaptureFixture) -> None:
    """As when Traefik runs in another container."""
    port = free_port()
    try:
        await _run("ip", "netns", "add", _NAMESPACE)
    except OSError as error:
        pytest.skip(f"no network namespaces: {error}")
    try:
        await _run("ip", "link", "add", _LINK, "type", "veth", "peer", "name", "eth0", "netns", _NAMESPACE)
        await _run("ip", "address", "add", f"{_HERE}/30", "dev", _LINK)
        await _run("ip", "link", "set", _LINK, "up")
        await _run("ip", "-n", _NAMESPACE, "address", "add", f"{_THERE}/30", "dev", "eth0")
        await _run("ip", "-n", _NAMESPACE, "link", "set", "eth0", "up")
        url = f"http://{_THERE}:{port}"
        inside = ("ip", "netns", "exec", _NAMESPACE)
        async with _process(*inside, sys.executable, "-m", activity_apart.__name__, "listen", url) as listening:
            assert await _line(listening) == "listening"
            activity = ConnectionActivity(_Published(), url, interval=0.02, log=logging.getLogger("hub"))
            watching = asyncio.create_task(activity.watch())
            await eventually(lambda: "Traefik's connections cannot be seen from here" in caplog.text)
            watching.cancel()
            await asyncio.wait([watching])
    finally:
        await _run("ip", "netns", "delete", _NAMESPACE)

    assert "No such file or directory" in caplog.text
    assert await activity.last_seen() == {}


class _Published:
    """One route."""

    table = RouteTable([Route.checked("/user/ada/", "http://127.0.0.1:1", {})])
