"""Fuzzes the proxy in the Hub's process, guided by which code runs: ``python -m support.fuzzer <port> <log> [<option>...]``.

It sends what atheris makes through proxies to a real server, which writes the target of each request into the log. It ends
with an error if the server gets a request that the proxy has not seen, or if the next client is not served. The options are
those of libFuzzer, and a folder with the texts to begin with. I/O: sockets, files.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import atheris

with atheris.instrument_imports(include=["traefik_toml_proxy.inprocess"]):
    from traefik_toml_proxy.proxies.inprocess import InProcessProxy

from .desync import Server, ask, send, understood
from .ports import free_port
from .waiting import eventually


class Fuzzed:
    """A proxy on each event loop, with a route to the server."""

    def __init__(self, server: Server) -> None:
        """Take the server; nothing is started yet."""
        self._server = server
        self._proxies: list[InProcessProxy] = []
        self._sent = 0
        # What may arrive late of the texts so far, since whoever sent it did not wait for an answer.
        self._late: Counter[str] = Counter()

    async def start(self) -> None:
        """Start the proxies."""
        for kind in ("asyncio", "uvloop"):
            proxy = InProcessProxy(
                public_url=f"http://127.0.0.1:{free_port()}",
                app=SimpleNamespace(internal_ssl=False, subdomain_host=""),
                hub=None,
                event_loop=kind,
                log=logging.getLogger("hub"),
            )
            await proxy.start()
            await proxy.add_route("/", f"http://127.0.0.1:{self._server.port}", {})
            self._proxies.append(proxy)

    async def check(self, text: bytes) -> None:
        """Send it to each proxy.

        Raises:
            AssertionError: If something has arrived that should not, or if the next client is not served.
        """
        for proxy in self._proxies:
            self._sent += 1
            # The request inside another one has a name of its own, so that it is not taken for one of before.
            now = text.replace(b"/hidden", b"/%06x" % self._sent)
            begin = len(self._server.arrived())
            await send(proxy.public_url, now)
            after = f"/after-{self._sent}"
            assert await ask(proxy.public_url, after) == (200, b""), f"the next client is not served after {now!r}"
            arrived = await self._arrived(begin, after)
            expected = self._late + Counter(understood(now))
            assert arrived <= expected, f"{dict(arrived - expected)} arrived with {proxy.event_loop} of {now!r}"
            self._late = expected - arrived

    async def _arrived(self, begin: int, last: str) -> Counter[str]:
        """Return what has arrived from there on, without the last, which is there soon."""
        await eventually(lambda: last in self._server.arrived()[begin:])
        return Counter(self._server.arrived()[begin:]) - Counter([last])


def _main(port: int, log: Path, options: list[str]) -> None:
    fuzzed = Fuzzed(Server(port, log))
    loop = asyncio.new_event_loop()
    loop.run_until_complete(fuzzed.start())
    atheris.Setup([sys.argv[0], *options], lambda text: loop.run_until_complete(fuzzed.check(text)))
    atheris.Fuzz()


if __name__ == "__main__":
    _main(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
