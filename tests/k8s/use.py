"""What users do while pods are exchanged or die."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from support.hub import RealHub
from support.pods.cluster import Cluster, Pod
from support.pods.service import only
from support.waiting import eventually, meanwhile
from tornado.websocket import WebSocketClosedError, websocket_connect


@dataclass
class Use:
    """What users get meanwhile, through the Service."""

    requests: int = 0
    failed: list[str] = field(default_factory=list)

    async def go_on(self, hub: RealHub, name: str, pid: int, seconds: float = 0) -> None:
        """Ask the server of a user, one request after the other."""
        while True:
            self.requests += 1
            try:
                answer = await hub.ask(f"user/{name}/x?seconds={seconds}")
                if answer.by != name or answer.seen["pid"] != pid:
                    self.failed.append(f"{answer.status} {answer.body[:200]!r}")
            except (OSError, ValueError) as error:
                self.failed.append(repr(error))
            await asyncio.sleep(0.02)


class Open:
    """A websocket and a download of a user through one pod. Both go on until somebody else ends them.

    Attributes:
        seen: How many messages and lines have come.
        ended: Which of the two have ended.
    """

    def __init__(self, url: str, user: str) -> None:
        """Open nothing yet.

        Args:
            url: Where only that pod answers.
            user: Whose server it is.
        """
        self.seen = {"websocket": 0, "download": 0}
        self.ended: set[str] = set()
        self._where = f"{urlsplit(url).netloc}/user/{user}"

    async def talk(self) -> None:
        """Send messages over a websocket, and wait for each echo."""
        socket = await websocket_connect(f"ws://{self._where}/socket")
        try:
            with contextlib.suppress(WebSocketClosedError):
                while True:
                    message = str(self.seen["websocket"])
                    await socket.write_message(message)
                    echo = await socket.read_message()
                    if echo is None:
                        break
                    assert echo == message
                    self.seen["websocket"] += 1
                    await asyncio.sleep(0.05)
        finally:
            socket.close()
        self.ended.add("websocket")

    async def download(self) -> None:
        """Read the numbered lines of a download."""
        host, _, path = self._where.partition("/")
        reader, writer = await asyncio.open_connection(*host.split(":"))
        with contextlib.closing(writer):
            writer.write(f"GET /{path}/download HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                head = await reader.readuntil(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 200 "), head
                while line := await reader.readuntil(b"\n"):
                    assert int(line) == self.seen["download"]
                    self.seen["download"] += 1
        self.ended.add("download")

    async def goes_on(self) -> None:
        """Return when more has come on both."""
        before = dict(self.seen)
        await eventually(
            lambda: all(self.seen[kind] > before[kind] + 5 for kind in before),
            what=f"more on both than {before}; ended: {self.ended}",
        )

    async def has_ended(self) -> None:
        """Return when both have ended."""
        await eventually(lambda: self.ended == self.seen.keys(), what=f"the end of both; so far: {self.ended}")


@contextlib.asynccontextmanager
async def opened(cluster: Cluster, pods: Sequence[Pod], user: str) -> AsyncIterator[dict[str, Open]]:
    """Open both through each pod, and keep them during the block; yields them by the names of the pods."""
    async with contextlib.AsyncExitStack() as stack:
        found = {pod.name: Open(await stack.enter_async_context(only(cluster, pod, "http")), user) for pod in pods}
        work = [each() for one in found.values() for each in (one.talk, one.download)]
        await stack.enter_async_context(meanwhile(*work))
        for one in found.values():
            await one.goes_on()
        yield found
