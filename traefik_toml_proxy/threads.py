"""Threads of our own for what blocks, as the Hub looks up names in asyncio's default ones. Only async, no I/O."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class Threads:
    """A few threads, which are started when needed, and end when the last session that holds them does.

    All proxies of a process share them. A thread in the middle of a call cannot be ended: Python waits for it when it exits,
    as it does for asyncio's threads. So each call must end within seconds; to look up a name takes as long as the resolver
    tries.
    """

    def __init__(self, name: str, most: int) -> None:
        """Start nothing.

        Args:
            name: What the names of the threads begin with.
            most: The most threads at a time. Further calls wait for one of them.
        """
        self._name = name
        self._most = most
        self._holders = 0
        self._executor: ThreadPoolExecutor | None = None

    @property
    def executor(self) -> ThreadPoolExecutor:
        """What runs the calls."""
        if self._executor is None:
            self._executor = ThreadPoolExecutor(self._most, thread_name_prefix=self._name)
        return self._executor

    def run(self, call: Callable[..., T], *arguments: object, **named: object) -> asyncio.Future[T]:
        """Call a function in one of the threads. If the result is no longer wanted, the call still runs to its end."""
        return asyncio.get_running_loop().run_in_executor(self.executor, functools.partial(call, *arguments, **named))

    def hold(self) -> Callable[[], Awaitable[None]]:
        """Keep the threads until the function that is returned has been called, which may be called again."""
        self._holders += 1
        held = True

        async def release() -> None:
            nonlocal held
            if not held:
                return
            held = False
            self._holders -= 1
            if not self._holders and self._executor is not None:
                self._executor.shutdown(wait=False)
                self._executor = None

        return release


# Files and processes. One that hangs, as on a network file system, must not keep all others waiting.
OURS = Threads("traefik_toml_proxy", 8)
# What can hang for longer, because it waits for others, gets threads of its own, so that changes are written meanwhile.
PROBES = Threads("traefik_toml_proxy probe", 4)
NAMES = Threads("traefik_toml_proxy names", 2)
# Those that hang at files of others keep only further looks waiting.
LOOKS = Threads("traefik_toml_proxy looks", 2)

in_thread = OURS.run


def hold_all() -> Callable[[], Awaitable[None]]:
    """Keep all these threads until the function that is returned has been called."""
    releases = [threads.hold() for threads in (OURS, PROBES, NAMES, LOOKS)]

    async def release() -> None:
        for each in releases:
            await each()

    return release
