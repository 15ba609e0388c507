"""A TCP relay in front of a server, which loses answers or goes silent when that is wanted. I/O: sockets."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from typing_extensions import Self

from traefik_toml_proxy.conformance.listening import answering


class Relay:
    """Passes on connections to one server.

    Args:
        url: Where the server listens.
        host: The address to listen at, on loopback.

    Attributes:
        url: Where it listens.
        loses_answers: Cut a connection when the server answers, in place of passing that on.
        is_silent: Pass nothing on, in either direction.
        answered: How many pieces of answers have come from the server.
    """

    def __init__(self, url: str, host: str = "127.0.0.1") -> None:
        self._where = urlsplit(url)
        self._host = host
        self._listening = contextlib.AsyncExitStack()
        self._tasks: set[asyncio.Task[None]] = set()
        self.url = ""
        self.loses_answers = False
        self.is_silent = False
        self.answered = 0

    async def __aenter__(self) -> Self:
        self.url = await self._listening.enter_async_context(answering(self._pass_on, host=self._host))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        await self._listening.aclose()

    def cut(self) -> None:
        """Cut all connections."""
        for task in self._tasks:
            task.cancel()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            far_reader, far_writer = await asyncio.open_connection(self._where.hostname, self._where.port)
            try:
                await self._exchange(
                    self._copy(reader, far_writer, answers=False), self._copy(far_reader, writer, answers=True)
                )
            finally:
                far_writer.transport.abort()  # a server that is frozen takes no more, and would keep it open
        finally:
            self._tasks.discard(task)

    async def _exchange(self, *ways: Coroutine[Any, Any, None]) -> None:
        """Copy both ways, until one of them ends."""
        tasks = [asyncio.create_task(way) for way in ways]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(2**16):
                self.answered += answers
                if answers and self.loses_answers:
                    return
                if not self.is_silent:
                    writer.write(data)
                    await writer.drain()
