"""A TCP relay in front of a server, which loses answers or goes silent when a test wants that."""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType

from typing_extensions import Self


class Relay:
    """Passes on connections to one address.

    Attributes:
        loses_answers: Cut a connection when the server answers, in place of passing that on.
        is_silent: Pass nothing on, in either direction.
        answered: How many pieces of answers have come from the server.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.loses_answers = False
        self.is_silent = False
        self.answered = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
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
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
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
