"""One contender in a process of its own: ``python -m benchmarks.worker``. I/O: carries out commands from standard input.

Each contender has its own process, so that what one keeps in memory does not slow down another, and so that processor time,
memory and the event loop can be measured by themselves. A command is a line of JSON, and so is the answer. When the input
ends, the contender is stopped. While it waits for its turn, it does nothing.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import statistics
import sys
import time
import traceback
import tracemalloc
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from .client import Client
from .contenders import contender_class
from .contenders.base import Contender, Settings
from .heartbeat import Heartbeat, idle_delay_ms
from .processes import Process, cpu_seconds, descendants, end, identify, is_running, resident_bytes, user_seconds
from .stats import Sample
from .workload import Entry, Servers, last_existing, new_entries

# How many seconds a change may take to be served after the call for it has returned.
_LATE = 60

# How many changes are committed one after another.
_COMMITS = 20


class Worker:
    """Carries out the commands for one contender; each method ``do_...`` is a command.

    Args:
        contender: What is measured.
    """

    def __init__(self, contender: Contender) -> None:
        self.contender = contender
        self.settings = contender.settings
        self._client = Client(self.settings.public_url)
        self._proxies: list[Process] = []
        self._made = 0
        me = identify(os.getpid())
        self._me = [me] if me else []

    async def do_describe(self) -> dict[str, Any]:
        """Return what is missing, or the version and where it is imported from."""
        missing = self.contender.missing()
        version = "" if missing else self.contender.version()
        location = "" if missing else self.contender.location()
        return {
            "missing": missing,
            "version": version,
            "location": location,
            "most_at_once": self.contender.most_at_once,
        }

    async def do_start(self, fill: bool) -> dict[str, Any]:
        """Start the contender and, unless it already has its table, fill it."""
        idle_ms = await idle_delay_ms()
        # What JupyterHub has imported is there with every proxy. A full collection of it takes some 60 ms, and says nothing
        # about any of them.
        gc.collect()
        gc.freeze()
        unused = resident_bytes(self._me)
        self.contender.prepare()
        gc.collect()
        start_ms, start_gap_ms = await self._timed(self.contender.start)
        self._proxies = descendants(os.getpid())
        before = resident_bytes(self._me)
        fill_ms, fill_gap_ms = 0.0, 0.0
        if fill:
            fill_ms, fill_gap_ms = await self._timed(self.contender.fill)
            await self._wait_for_table()
            # Traefik loads the file twice for the first rename after its start: no measured change should pay for that.
            await self.do_change(1)
        gc.collect()
        return {
            "idle_gap_ms": idle_ms,
            "start_ms": start_ms,
            "start_gap_ms": None if self.contender.is_bare else start_gap_ms,
            "fill_ms": fill_ms,
            "fill_gap_ms": None if self.contender.is_bare else fill_gap_ms,
            "fill_rss_bytes": resident_bytes(self._me) - before,
            "grown_rss_bytes": resident_bytes(self._me) - unused,
            "routes": await self.contender.count(),
            "proxies": self._proxies,
        }

    async def _timed(self, action: Callable[[], Awaitable[None]]) -> tuple[float, float]:
        async with Heartbeat() as heartbeat:
            begin = time.perf_counter()
            await action()
            elapsed = time.perf_counter() - begin
        return elapsed * 1000, heartbeat.worst_ms

    async def _wait_for_table(self) -> None:
        if not self.contender.is_bare:
            await self._client.wait_until_at("/", "hub", _LATE)
            last = last_existing(self.settings.existing)
            if last is not None:
                await self._client.wait_until_at(last, "user", _LATE)

    async def do_change(self, size: int) -> dict[str, Any]:
        """Add ``size`` new routes at once, then delete them at once."""
        entries = new_entries(self._made, size, self.settings.servers)
        self._made += size
        routespecs = [entry.routespec for entry in entries]
        added = await self._measure(lambda: self.contender.add(entries), entries, "user")
        deleted = await self._measure(lambda: self.contender.delete(routespecs), entries, "hub")
        return {"add": added, "delete": deleted}

    async def do_churn(self, seconds: float) -> dict[str, Any]:
        """Add and delete one route at a time for some seconds; return the number of changes, and the time that they took."""
        begin = time.perf_counter()
        changes = 0
        while time.perf_counter() < begin + seconds:
            entries = new_entries(self._made, 1, self.settings.servers)
            self._made += 1
            await self.contender.add(entries)
            await self.contender.delete([entry.routespec for entry in entries])
            changes += 2
        return {"changes": changes, "seconds": time.perf_counter() - begin}

    async def _measure(self, action: Callable[[], Awaitable[None]], entries: Sequence[Entry], server: str) -> Sample:
        is_bare = self.contender.is_bare
        if not is_bare:
            self._client.ask("/")  # opens the connection, so that the check below need not
        hub_cpu, proxy_cpu = time.process_time(), cpu_seconds(self._proxies)
        late = []
        async with Heartbeat() as heartbeat:
            begin = time.perf_counter()
            await action()
            elapsed = time.perf_counter() - begin
            heartbeat.stop()
            hub_cpu, proxy_cpu = time.process_time() - hub_cpu, cpu_seconds(self._proxies) - proxy_cpu
            # Check it now, before anything else gets a chance to run.
            if not is_bare:
                late = [entry.routespec for entry in entries if not self._client.is_at(entry.routespec, server)]
        live = elapsed
        for routespec in late:
            await self._client.wait_until_at(routespec, server, _LATE)
            live = time.perf_counter() - begin
        return {
            "ms": elapsed * 1000,
            "live_ms": live * 1000,
            "changes": len(entries),
            "missed": len(late),
            "loop_gap_ms": None if is_bare else heartbeat.worst_ms,
            "hub_cpu_ms": hub_cpu * 1000,
            "proxy_cpu_ms": proxy_cpu * 1000,
        }

    async def do_get_all(self) -> dict[str, Any]:
        """Measure ``get_all_routes`` once."""
        async with Heartbeat() as heartbeat:
            begin = time.perf_counter()
            routes = await self.contender.count()
            elapsed = time.perf_counter() - begin
        return {"ms": elapsed * 1000, "loop_gap_ms": heartbeat.worst_ms, "routes": routes}

    async def do_usage(self) -> dict[str, Any]:
        """Return the memory in use."""
        gc.collect()
        return {
            "hub_rss_bytes": resident_bytes(self._me),
            "proxy_rss_bytes": resident_bytes(self._proxies),
        }

    async def do_cpu(self) -> dict[str, Any]:
        """Return the processor time that the proxy has used, in seconds, with that of the Hub, which is at rest.

        And how much of it is not the kernel's.
        """
        processes = [*self._me, *self._proxies]
        return {"seconds": cpu_seconds(processes), "user_seconds": user_seconds(processes)}

    async def do_idle(self, seconds: float) -> dict[str, Any]:
        """Return how much of a core each part of it needs while nothing happens, in percent: the busiest of each kind."""
        parts = {
            name: [process for pid in pids if (process := identify(pid))]
            for name, pids in self.contender.parts().items()
        }
        before = {name: [cpu_seconds([process]) for process in found] for name, found in parts.items()}
        await asyncio.sleep(seconds)
        return {
            name: max(
                (cpu_seconds([process]) - used) / seconds * 100
                for process, used in zip(found, before[name], strict=True)
            )
            for name, found in parts.items()
        }

    async def do_memory(self) -> dict[str, Any]:
        """Start, fill the table, and return how much more of Python's memory is in use per route."""
        self.contender.prepare()
        await self.contender.start()
        self._proxies = descendants(os.getpid())
        warm_up = new_entries(0, 1, self.settings.servers)
        await self.contender.add(warm_up)  # what the first change imports and creates does not count
        await self.contender.count()
        gc.collect()
        tracemalloc.start()
        await self.contender.fill()
        gc.collect()
        traced, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        routes = self.settings.existing + 1
        return {
            "routes": routes,
            "bytes_per_route": traced / routes,
            "peak_bytes_per_route": peak / routes,
            "proxies": self._proxies,
        }

    async def do_commits(self) -> dict[str, Any]:
        """Return how long it takes to get a changed table into its file: what ours adds to Traefik's own work."""
        # Imported only here: another version of the package has other internals.
        from .contenders.ours import Ours
        from .internals import commit_times

        assert isinstance(self.contender, Ours)
        times = await commit_times(self.contender, _COMMITS)
        return {"n": len(times), "median_ms": statistics.median(times), "max_ms": max(times)}

    async def do_compute(self, share: float, piece: float, seconds: float) -> dict[str, Any]:
        """Have the thread of the Hub compute for a share of the time, in pieces of some seconds.

        Returns the real share, and how much it has computed in each second of that time.
        """
        begin = time.perf_counter()
        busy, rounds = 0.0, 0
        while (now := time.perf_counter()) < begin + seconds:
            while share and time.perf_counter() < now + piece:
                sum(range(100))
                rounds += 1
            busy += time.perf_counter() - now if share else 0
            await asyncio.sleep(piece / share - piece if share else piece)
        return {"share": busy / (time.perf_counter() - begin), "rounds_per_s": rounds / busy if busy else None}

    async def do_stop(self) -> dict[str, Any]:
        """Stop the contender, and end what it leaves running."""
        started = {*self._proxies, *descendants(os.getpid())}
        left = []
        try:
            async with Heartbeat() as heartbeat:
                begin = time.perf_counter()
                await self.contender.stop()
                elapsed = time.perf_counter() - begin
        finally:
            left = [process for process in started if is_running(process)]
            for process in left:
                end(process)
        return {"ms": elapsed * 1000, "loop_gap_ms": heartbeat.worst_ms, "left_running": len(left)}


async def _serve(worker: Worker, answers: TextIO) -> None:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    started = False
    while line := await reader.readline():
        command: dict[str, Any] = json.loads(line)
        started = command["do"] != "stop" and (started or command["do"] in ("start", "memory"))
        work = asyncio.create_task(_answer(worker, **command))
        hung_up = asyncio.create_task(_until_closed(reader))
        await asyncio.wait({work, hung_up}, return_when=asyncio.FIRST_COMPLETED)
        # The input may end before the work is done.
        for task in (work, hung_up):
            task.cancel()
        await asyncio.wait({work, hung_up})
        if work.cancelled():
            break
        with suppress(BrokenPipeError):
            answers.write(json.dumps(work.result()) + "\n")
            answers.flush()
    if started:
        await worker.do_stop()


async def _answer(worker: Worker, do: str, **arguments: Any) -> dict[str, Any]:
    try:
        answer: dict[str, Any] = await getattr(worker, f"do_{do}")(**arguments)
    except Exception as error:  # noqa: BLE001 - the answer says what it is
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {error}"}
    return answer


async def _until_closed(reader: asyncio.StreamReader) -> None:
    """Return when the input has ended. No command comes before the one before it is answered."""
    while not reader.at_eof():
        await asyncio.sleep(0.5)


def _main() -> None:
    # The proxies inherit the standard output and write to it, so the answers go to a copy of it.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    given = json.loads(sys.argv[2])
    settings = Settings(**{**given, "servers": Servers(*given["servers"])})
    os.chdir(settings.folder)
    if settings.traefik:
        # Contenders that start `traefik` by its name find this one first.
        first = Path(settings.folder) / "bin"
        first.mkdir(exist_ok=True)
        if not (first / "traefik").exists():
            (first / "traefik").symlink_to(settings.traefik)
        os.environ["PATH"] = f"{first}{os.pathsep}{os.environ['PATH']}"
    asyncio.run(_serve(Worker(contender_class(sys.argv[1])(settings)), answers))


if __name__ == "__main__":
    _main()
