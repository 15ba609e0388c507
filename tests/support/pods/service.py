"""A Service of a cluster: an address outside of it, whose connections go to random pods that were ready a moment ago."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Iterable

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
        self._connections: set[asyncio.Task[None]] = set()

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
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"{self._scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            async with meanwhile(self._learn()):
                yield
        finally:
            server.close()
            for task in self._connections:
                task.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            if self._known:
                far_reader, far_writer = await self._network.connect(random.choice(self._known).address, self._port)
                with contextlib.closing(far_writer):
                    await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))
        except OSError:
            pass  # as a client sees it whose packets get no answer, or are refused
        except asyncio.CancelledError:
            pass  # at the end of the block; asyncio would report it as an error
        finally:
            writer.close()
            self._connections.discard(task)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(2**16):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()
