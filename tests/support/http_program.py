"""A program that serves HTTP, in a process of its own."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from types import TracebackType
from typing import TypeVar

from typing_extensions import Self

from .backend import get
from .waiting import eventually

P = TypeVar("P", bound="HttpProgram")


class HttpProgram(ABC):
    """Runs between ``__aenter__`` and ``__aexit__``, and may be started again afterwards."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._process: asyncio.subprocess.Process | None = None

    @abstractmethod
    async def _start(self) -> asyncio.subprocess.Process:
        """Start the process; it need not serve yet."""

    async def __aenter__(self) -> Self:
        self._process = await self._start()
        await eventually(self._serves, within=20)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.kill()
        await self._process.wait()

    async def _serves(self) -> bool:
        try:
            await get(self.url)  # not over TLS: any answer will do
        except OSError:
            return False
        return True
