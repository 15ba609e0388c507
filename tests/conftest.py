"""Fixtures for all tests: real Traefik, temporary state, and guards that fail a test which leaves or blocks something."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from blockbuster import BlockBuster, blockbuster_ctx
from support.backend import Backend
from support.fixtures import BackendMaker, ProxyMaker

from traefik_toml_proxy import TraefikTomlProxy


@pytest.fixture(autouse=True)
def nothing_blocks_the_loop() -> Iterator[BlockBuster]:
    """Fail a test in which this package blocks the event loop (a file, a wait, a process)."""
    with blockbuster_ctx("traefik_toml_proxy") as guard:
        yield guard


def _children() -> set[int]:
    """The processes that this one, or a child that has ended, has started and that still run."""
    mark = f"TTP_TEST={os.getpid()}".encode()
    found = set()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            with contextlib.suppress(OSError):
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                if fields[0] != "Z" and (
                    int(fields[1]) == os.getpid() or mark in (folder / "environ").read_bytes().split(b"\0")
                ):
                    found.add(int(folder.name))
    return found


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path: Path) -> Iterator[None]:
    """Fail a test that leaves a process, or a half-written file of ours, behind."""
    before = _children()
    yield
    deadline = time.monotonic() + 5
    while (left := _children() - before) and time.monotonic() < deadline:
        time.sleep(0.02)
    names = {pid: Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ") for pid in left}
    assert not names, f"left running: {names}"
    files = [str(file) for file in tmp_path.rglob("*.tmp/*") if file.name != "lock"]
    assert not files, f"left behind: {files}"


@pytest_asyncio.fixture(autouse=True)
async def no_task_is_left() -> AsyncIterator[None]:
    """Fail a test that leaves a task of ours running."""
    yield
    tasks = [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("traefik_toml_proxy")]
    assert not tasks, f"left running: {tasks}"


@pytest.fixture
def free_port() -> int:
    """A port on loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest_asyncio.fixture
async def make_proxy(tmp_path: Path, free_port: int) -> AsyncIterator[ProxyMaker]:
    """Make proxies as JupyterHub does, with state in tmp_path; each is stopped at the end."""
    made: list[TraefikTomlProxy] = []

    def make(**traits: Any) -> TraefikTomlProxy:
        settings: dict[str, Any] = {
            "public_url": f"http://127.0.0.1:{free_port}",
            "state_dir": str(tmp_path / "state"),
            "log": logging.getLogger("hub"),
            "traefik_env": {"TTP_TEST": str(os.getpid())},
        }
        proxy = TraefikTomlProxy(**(settings | traits))
        made.append(proxy)
        return proxy

    yield make
    for proxy in reversed(made):
        await proxy.stop()


@pytest_asyncio.fixture
async def proxy(make_proxy: ProxyMaker) -> TraefikTomlProxy:
    """A started proxy with a real Traefik and no routes."""
    proxy = make_proxy()
    await proxy.start()
    return proxy


@pytest_asyncio.fixture
async def make_backend() -> AsyncIterator[BackendMaker]:
    """Start backends that tell what reached them; each is stopped at the end."""
    async with contextlib.AsyncExitStack() as stack:

        async def make(name: str) -> Backend:
            return await stack.enter_async_context(Backend(name))

        yield make
