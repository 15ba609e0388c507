"""A Hub in a process of its own that does what it is told, and can be killed.

``python -m support.soak.hub <traits as JSON>`` prints ``[]`` when all is imported, starts a proxy, prints ``{}``, and takes
commands as lines of JSON. It answers each when it is done, in any order. When its standard input ends, it stops the proxy.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import json
import logging
import os
import shutil
import sys
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from support.disk import disturbed, failing
from support.waiting import PATIENCE, within
from traefik_toml_proxy import TraefikTomlProxy
from traefik_toml_proxy.threads import LOOKS, NAMES, OURS, PROBES

TESTS = Path(__file__).parents[2]

# Seconds that Python may take to start and import everything: that is not what is tested.
_LONGEST_IMPORT = 180
# More than there are threads in a pool, or timers that are not cancelled.
_MANY = 500
# How many guests there are at once.
_GUESTS = 10


class HubGone(Exception):
    """The Hub was killed before it answered."""


class Refused(Exception):
    """The Hub got an error; the message begins with its type."""


class Hub:
    """The process, for the test that starts it.

    Attributes:
        pid: Its id.
        python_seconds: How long it took until Python had started and imported everything.
    """

    def __init__(self, process: asyncio.subprocess.Process, python_seconds: float) -> None:
        self._process = process
        self.pid = process.pid
        self.python_seconds = python_seconds
        self._numbers = itertools.count()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._reading = asyncio.create_task(self._read())

    @staticmethod
    def prefix() -> list[str] | None:
        """Return what begins a command that runs without root's right to use any file; None if that is not possible."""
        if os.geteuid() != 0:
            return []
        return ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] if shutil.which("setpriv") else None

    @classmethod
    async def started(cls, traits: Mapping[str, Any], log: Path) -> Hub:
        """Start it, and wait until its proxy has started.

        Args:
            traits: The traits of its proxy, as JSON.
            log: The file to which its log is appended.
        """
        began = time.monotonic()
        with log.open("ab") as stderr:
            process = await asyncio.create_subprocess_exec(
                *(*(cls.prefix() or []), sys.executable, "-m", "support.soak.hub", json.dumps(dict(traits))),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=stderr,
                limit=2**22,
                env={**os.environ, "PYTHONPATH": f"{TESTS}:{os.environ.get('PYTHONPATH', '')}"},
            )
        assert process.stdout is not None
        try:
            imported = await within(_LONGEST_IMPORT * PATIENCE, process.stdout.readline())
            python_seconds = time.monotonic() - began
            ready = await within(60 * PATIENCE, process.stdout.readline())
            assert (imported, ready) == (b"[]\n", b"{}\n"), "the Hub has not started; see its log"
        except BaseException:
            process.kill()
            await process.wait()
            raise
        return cls(process, python_seconds)

    async def do(self, name: str, *arguments: Any) -> Any:
        """Have a command done; return its result.

        Raises:
            HubGone: If the Hub ends first.
            Refused: If the command raised an error.
        """
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([number, name, arguments]).encode() + b"\n")
        if self._reading.done():
            self._give_up()
        return await within(90 * PATIENCE, answer)

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            number, error, result = json.loads(line)
            answer = self._waiting.pop(number)
            if not answer.done():
                answer.set_exception(Refused(error)) if error else answer.set_result(result)
        self._give_up()

    def _give_up(self) -> None:
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(HubGone("the Hub has ended"))
        self._waiting.clear()

    async def kill(self) -> None:
        """Send it SIGKILL, and wait until it has ended."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._ended()

    async def stop(self) -> None:
        """Have it stop its proxy, and wait until it has ended."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        await within(60 * PATIENCE, self._ended())

    async def _ended(self) -> None:
        await self._process.wait()
        await self._reading


class _Commands:
    """What a Hub can be told to do."""

    def __init__(self, proxy: TraefikTomlProxy) -> None:
        self._proxy = proxy
        self._disk = contextlib.ExitStack()
        self._guests = itertools.count()

    async def add(self, routespec: str, target: str, data: dict[str, Any]) -> None:
        await self._proxy.add_route(routespec, target, data)

    async def delete(self, routespec: str) -> None:
        await self._proxy.delete_route(routespec)

    async def routes(self) -> Any:
        routes = await self._proxy.get_all_routes()
        for route in routes.values():
            route["data"].pop("last_activity", None)
        return {routespec: [route["target"], route["data"]] for routespec, route in routes.items()}

    async def break_disk(self, step: str, number: int) -> None:
        path = Path(self._proxy.state_dir).resolve() / "dynamic.toml"
        self._disk.enter_context(disturbed(path, step, failing(number)))

    async def mend_disk(self) -> None:
        self._disk.close()

    async def fill_pools(self) -> None:
        """Have all threads started that may ever be: a pool starts one when all others are busy."""
        free = threading.Event()
        busy = [pool.run(free.wait) for pool in (OURS, PROBES, NAMES, LOOKS) for _ in range(_MANY)]
        free.set()
        await asyncio.gather(*busy)

    async def guests(self, target: str, rounds: int) -> int:
        """Let guests come, some at once, and go one after the other, in so many rounds; return how many changes that were.

        No name comes twice, so that what is kept by name is seen. Their number crosses the one from which there are layers.
        """
        for _ in range(rounds):
            routespecs = [f"/user/guest-{next(self._guests)}/" for _ in range(_GUESTS)]
            await asyncio.gather(*(self.add(routespec, target, {"user": routespec}) for routespec in routespecs))
            await self.routes()
            for routespec in routespecs:
                await self.delete(routespec)
        return 2 * rounds * _GUESTS

    async def inside(self) -> dict[str, Any]:
        """How many tasks, objects by type and blocks of memory there are; this task is not counted."""
        await _forget_timers()
        gc.collect()
        blocks = sys.getallocatedblocks()
        kinds = Counter(type(each) for each in gc.get_objects())
        objects: Counter[str] = Counter()
        for kind, number in kinds.items():
            objects[f"{kind.__module__}.{kind.__qualname__}"] += number
        return {"tasks": len(asyncio.all_tasks()) - 1, "objects": objects, "blocks": blocks}


async def _forget_timers() -> None:
    """Have the event loop forget cancelled timers: it keeps them until their time comes, or until most are cancelled."""
    loop = asyncio.get_running_loop()
    for timer in [loop.call_later(3600, lambda: None) for _ in range(_MANY)]:
        timer.cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def _answer(number: int, doing: Awaitable[Any]) -> None:
    try:
        error, result = None, await doing
    except Exception as problem:  # noqa: BLE001 - the test gets it
        error, result = f"{type(problem).__name__}: {problem}", None
    print(json.dumps([number, error, result]), flush=True)


async def _main(traits: dict[str, Any]) -> None:
    print("[]", flush=True)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format=f"%(asctime)s Hub {os.getpid()} %(message)s")
    proxy = TraefikTomlProxy(**traits, log=logging.getLogger("hub"))
    await proxy.start()
    commands = _Commands(proxy)
    print("{}", flush=True)
    stdin = asyncio.StreamReader(limit=2**22)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    under_way = set()
    while line := await stdin.readline():
        number, name, arguments = json.loads(line)
        do: Callable[..., Awaitable[Any]] = getattr(commands, name)
        task = asyncio.create_task(_answer(number, do(*arguments)))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
    await proxy.stop()


if __name__ == "__main__":
    asyncio.run(_main(json.loads(sys.argv[1])))
