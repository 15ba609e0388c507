"""Fixtures for all tests: real Traefik, temporary state, and guards that fail a test which leaves or blocks something."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
import traceback
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import support.uninstalled  # noqa: F401 - makes `benchmarks` importable
from blockbuster import BlockBusterFunction, BlockingError, blockbuster_ctx
from hypothesis import settings
from support import ports
from support.backend import Backend
from support.fixtures import BackendMaker, ProxyMaker
from support.processes import MARK, command_line, started_here
from support.traefik import TRAEFIK_COMMAND
from support.waiting import PATIENCE

from traefik_toml_proxy import TraefikTomlProxy

# For CI, which is to say whether a change is good: the same examples for each run of the same test. Without it, each run
# searches elsewhere.
settings.register_profile("same-examples", derandomize=True)

# Blocking calls that blockbuster does not know.
_ALSO_BLOCKING = (
    "builtins.open",
    "io.open",
    "os.chmod",
    "os.fsync",
    "os.ftruncate",
    "os.lstat",
    "os.open",
    "os.pread",
    "os.pwrite",
    "os.truncate",
    "os.waitid",
    "subprocess.Popen.communicate",
    "subprocess.Popen.wait",
    "threading.Event.wait",
)
# Where asyncio or the standard library makes such calls itself.
_NOT_OURS = [
    ("logging/__init__.py", {"emit"}),
    ("asyncio/base_events.py", {"subprocess_exec"}),
    ("linecache.py", {"checkcache", "updatecache"}),
    ("concurrent/futures/thread.py", {"submit"}),
    ("threading.py", {"start"}),
    ("coverage/inorout.py", {"should_trace"}),
    ("conformance/hub.py", {"make_internal_certificates"}),  # JupyterHub does it, when it starts
]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the soak."""
    group = parser.getgroup("soak")
    group.addoption("--minutes", type=float, default=10, help="how long the soak takes (default: 10)")
    group.addoption("--seed", type=int, help="decides what happens in the soak, and when (default: another each time)")


def pytest_configure(config: pytest.Config) -> None:
    """Have pytest-xdist begin the files in their order, not those with the most tests first.

    Files with few tests take longest. A worker that got them last would have them to do when all others have finished.
    """
    config.option.loadscopereorder = False


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what takes minutes, unless -m asks for it. Give the soak, and all others, the time they need."""
    soak = [item for item in items if item.get_closest_marker("soak")]
    for item in soak:
        item.add_marker(pytest.mark.timeout(60 * config.getoption("--minutes") + 900 * PATIENCE))
    if config.getoption("--timeout") is None:
        for item in {*items} - {*soak}:
            marker = item.get_closest_marker("timeout")
            seconds = float(marker.args[0] if marker else config.getini("timeout"))
            item.add_marker(pytest.mark.timeout(seconds * PATIENCE), append=False)
    for name in ("soak", "jupyterhub"):
        if name not in config.option.markexpr:
            left_out = [item for item in items if item.get_closest_marker(name)]
            items[:] = [item for item in items if item not in left_out]
            config.hook.pytest_deselected(items=left_out)


@pytest.fixture(scope="session")
def blocking_calls() -> Iterator[list[str]]:
    """Make blocking calls on the event loop fail, and list them, as the error may be caught."""
    seen: list[str] = []

    class Recorded(BlockingError):
        def __init__(self, func: str) -> None:
            super().__init__(func)
            seen.append("".join(traceback.format_stack(limit=8)) + str(self))

    with (
        pytest.MonkeyPatch.context() as patch,
        blockbuster_ctx("traefik_toml_proxy") as guard,
        contextlib.ExitStack() as stack,
    ):
        patch.setattr("blockbuster.blockbuster.BlockingError", Recorded)
        for function in guard.functions.values():
            for file, functions in _NOT_OURS:
                function.can_block_in(file, functions)
        guard.functions["os.getcwd"].deactivate()  # answered by the kernel without waiting
        for name in _ALSO_BLOCKING:
            function = BlockBusterFunction(
                None, name, scanned_modules="traefik_toml_proxy", can_block_functions=list(_NOT_OURS)
            )
            stack.callback(function.activate().deactivate)
        yield seen


@pytest.fixture(autouse=True)
def nothing_blocks_the_loop(blocking_calls: list[str]) -> Iterator[None]:
    """Fail a test in which this package blocks the event loop: on a file, a lock, a process."""
    blocking_calls.clear()
    yield
    assert not blocking_calls, f"the event loop was blocked:\n{blocking_calls[0]}"


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path: Path) -> Iterator[None]:
    """Fail a test that leaves a process, or a half-written file of ours, behind."""
    before = started_here()
    yield
    deadline = time.monotonic() + 5 * PATIENCE
    while (left := started_here() - before) and time.monotonic() < deadline:
        time.sleep(0.02)
    names = {pid: " ".join(command_line(pid)) for pid in left}
    for pid in left:  # or the next test would fail for it
        os.kill(pid, signal.SIGKILL)
    assert not names, f"left running: {names}"
    files = [file for file in tmp_path.rglob("*") if _is_leftover(file)]
    assert not files, f"left behind: {files}"


def _is_leftover(file: Path) -> bool:
    """Whether it is a new version of a file that was never renamed into place."""
    return (file.parent.suffix == ".tmp" and file.name != "lock") or ".json." in file.name


@pytest_asyncio.fixture(autouse=True)
async def no_task_is_left() -> AsyncIterator[None]:
    """Fail a test that leaves a task of ours running, or in which one has failed without anybody noticing."""
    failed: list[Any] = []

    def note(task: asyncio.Task[Any]) -> None:
        if _is_ours(task) and not task.cancelled() and task.exception() is not None:
            failed.append(task)

    def make(loop: asyncio.AbstractEventLoop, coro: Any, **kwargs: Any) -> asyncio.Task[Any]:
        task = asyncio.Task(coro, loop=loop, **kwargs)
        task.add_done_callback(note)
        return task

    loop = asyncio.get_running_loop()
    loop.set_task_factory(make)
    loop.set_exception_handler(lambda _, context: failed.append(context))
    yield
    left = [task for task in asyncio.all_tasks() if _is_ours(task)]
    assert not left, f"left running: {left}"
    assert not failed, f"failed unnoticed: {failed}"


def _is_ours(task: asyncio.Task[Any]) -> bool:
    return task.get_name().startswith("traefik_toml_proxy")


@pytest.fixture
def free_port() -> int:
    """A port on loopback that nobody listens on."""
    return ports.free_port()


@pytest.fixture
def traits(tmp_path: Path, free_port: int) -> dict[str, Any]:
    """The traits of every proxy unless a test overrides them; valid as JSON, for a Hub in its own process."""
    return {
        "public_url": f"http://127.0.0.1:{free_port}",
        "state_dir": str(tmp_path / "state"),
        "traefik_env": MARK,
        "traefik_command": TRAEFIK_COMMAND,
        # So that the routes are exactly those that a test adds; tests of activity turn it on.
        "track_activity": False,
    }


@pytest_asyncio.fixture
async def make_proxy(traits: dict[str, Any]) -> AsyncIterator[ProxyMaker]:
    """Make proxies as JupyterHub does, with their state in tmp_path; each is stopped at the end."""
    made: list[TraefikTomlProxy] = []

    def make(**more: Any) -> TraefikTomlProxy:
        proxy = TraefikTomlProxy(**(traits | more), log=logging.getLogger("hub"))
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
    """Start backends that report what reached them; each is stopped at the end."""
    async with contextlib.AsyncExitStack() as stack:

        async def make(name: str) -> Backend:
            return await stack.enter_async_context(Backend(name))

        yield make
