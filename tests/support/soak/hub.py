"""A Hub in a process of its own that does what it is told, and can be killed.

``python -m support.soak.hub <traits as JSON>`` starts a proxy, prints ``{}``, and then takes commands as lines of JSON. It
answers each when it is done, in any order. When its standard input ends, it stops the proxy.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import json
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from support.disk import disturbed, failing
from support.waiting import PATIENCE, within
from traefik_toml_proxy import TraefikTomlProxy

TESTS = Path(__file__).parents[2]


class HubGone(Exception):
    """The Hub was killed before it answered."""


class Refused(Exception):
    """The Hub got an error; the message begins with its type."""


class Hub:
    """The process, for the test that starts it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.pid = process.pid
        self._numbers = itertools.count()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def started(cls, traits: Mapping[str, Any], log: Path) -> Hub:
        """Start it, and wait until its proxy has started.

        Args:
            traits: The traits of its proxy, as JSON.
            log: The file to which its log is appended.
        """
        with log.open("ab") as stderr:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "support.soak.hub", json.dumps(dict(traits))),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=stderr,
                limit=2**22,
                env={**os.environ, "PYTHONPATH": f"{TESTS}:{os.environ.get('PYTHONPATH', '')}"},
            )
        assert process.stdout is not None
        try:
            ready = await within(60 * PATIENCE, process.stdout.readline())
            assert ready == b"{}\n", "the Hub has not started; see its log"
        except BaseException:
            process.kill()
            await process.wait()
            raise
        return cls(process)

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

    async def inside(self) -> dict[str, int]:
        """How many tasks and objects there are; this one and its own are not counted."""
        gc.collect()
        return {"tasks": len(asyncio.all_tasks()) - 1, "objects": len(gc.get_objects())}


async def _answer(number: int, doing: Awaitable[Any]) -> None:
    try:
        error, result = None, await doing
    except Exception as problem:  # noqa: BLE001 - the test gets it
        error, result = f"{type(problem).__name__}: {problem}", None
    print(json.dumps([number, error, result]), flush=True)


async def _main(traits: dict[str, Any]) -> None:
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
