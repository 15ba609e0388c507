"""A Service of a cluster: an address outside of it, whose connections go to random pods that were ready a moment ago."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Iterable

from support.servers import answering
from support.waiting import meanwhile

from .cluster import Pod
from .network import Network

# Seconds until all machines of a cluster know that a pod is ready, or is not any more.
LATE = 1.0


class Service:
    """Passes on connections.

    Attributes:
        url: Where it listens, on this machine.
    """

    def __init__(self, network: Network, pods: Callable[[], Iterable[Pod]], port: int, *, scheme: str = "http") -> None:
        """Listen nowhere yet.

        Args:
            network: The network of the cluster.
            pods: Returns the pods that it selects.
            port: Their port.
            scheme: What the URL begins with.
        """
        self.url = ""
        self._network = network
        self._pods = pods
        self._port = port
        self._scheme = scheme
        self._known: list[Pod] = []

    async def _learn(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            now = [pod for pod in self._pods() if pod.is_ready and not pod.is_leaving]
            loop.call_later(LATE, self._know, now)
            await asyncio.sleep(0.05)

    def _know(self, pods: list[Pod]) -> None:
        self._known = pods

    @property
    def known(self) -> list[Pod]:
        """The pods that it passes connections to."""
        return self._known

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Listen during the block."""
        async with answering(self._accept) as url, meanwhile(self._learn()):
            self.url = f"{self._scheme}:{url.partition(':')[2]}"
            yield

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Without such a pod, as a client sees it whose packets get no answer, or are refused.
        if self._known:
            far_reader, far_writer = await self._network.connect(random.choice(self._known).address, self._port)
            with contextlib.closing(far_writer):
                await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(2**16):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()
