"""A Service of a cluster: an address outside of it, whose connections go to random pods that were ready a moment ago."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Mapping
from functools import partial

from support.charts import fits, ports
from support.servers import answering
from support.waiting import meanwhile

from .cluster import Cluster, Pod

# Seconds until all machines of a cluster know that a pod is ready, or is not any more.
LATE = 1.0


class Service:
    """Passes on connections.

    Attributes:
        url: Where it listens, on this machine.
    """

    def __init__(self, cluster: Cluster, selector: Mapping[str, str], port: str, *, scheme: str = "http") -> None:
        """Listen nowhere yet.

        Args:
            cluster: Where the pods are.
            selector: The labels of the pods.
            port: The name of their port.
            scheme: What the URL begins with.
        """
        self.url = ""
        self._cluster = cluster
        self._selector = dict(selector)
        self._port = port
        self._scheme = scheme
        self._known: list[Pod] = []

    def _pods(self) -> list[Pod]:
        pods = self._cluster.pods.values()
        return [pod for pod in pods if pod.is_ready and not pod.is_leaving and fits(self._selector, pod.template)]

    async def _learn(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            loop.call_later(LATE, self._know, self._pods())
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
            await _pass_on(self._cluster, random.choice(self._known), self._port, reader, writer)


@contextlib.asynccontextmanager
async def only(cluster: Cluster, pod: Pod, port: str, *, scheme: str = "http") -> AsyncIterator[str]:
    """Pass on connections to one pod, ready or not, during the block; yields the URL."""
    async with answering(partial(_pass_on, cluster, pod, port)) as url:
        yield f"{scheme}:{url.partition(':')[2]}"


async def _pass_on(
    cluster: Cluster, pod: Pod, port: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    far_reader, far_writer = await cluster.network.connect(pod.address, ports(pod.template)[port])
    with contextlib.closing(far_writer):
        await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(2**16):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()
