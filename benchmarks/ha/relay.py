"""A TCP relay in front of a server, which loses answers or goes silent when that is wanted. I/O: sockets."""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType
from urllib.parse import urlsplit

from typing_extensions import Self


class Relay:
    """Passes on connections to one server.

    Args:
        url: Where the server listens.
        host: The address to listen at, on loopback.

    Attributes:
        loses_answers: Cut a connection when the server answers, in place of passing that on.
        is_silent: Pass nothing on, in either direction.
        answered: How many pieces of answers have come from the server.
    """

    def __init__(self, url: str, host: str = "127.0.0.1") -> None:
        self._where = urlsplit(url)
        self._host = host
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.loses_answers = False
        self.is_silent = False
        self.answered = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        assert self._server is not None
        return f"http://{self._host}:{self._server.sockets[0].getsockname()[1]}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, self._host, 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def cut(self) -> None:
        """Cut all connections."""
        for task in self._tasks:
            task.cancel()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._pass_on(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            far_reader, far_writer = await asyncio.open_connection(self._where.hostname, self._where.port)
            try:
                there = asyncio.create_task(self._copy(reader, far_writer, answers=False))
                back = asyncio.create_task(self._copy(far_reader, writer, answers=True))
                try:
                    await asyncio.wait([there, back], return_when=asyncio.FIRST_COMPLETED)
                finally:
                    there.cancel()
                    back.cancel()
                    await asyncio.wait([there, back])
            finally:
                far_writer.close()
                writer.close()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(2**16):
                self.answered += answers
                if answers and self.loses_answers:
                    return
                if not self.is_silent:
                    writer.write(data)
                    await writer.drain()
