"""A program with an etcd, some agents, and before them a balancer that gives each connection to a random ready one. I/O.

``python stage.py <folder> <public port> <etcd port> <peer port> <agents> [<traefik>]`` runs until its standard input ends,
which it does with the process that has started it, also if that is killed. The conformance suite starts it for
TraefikEtcdProxy.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import sys
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from traefik_toml_proxy.conformance.ports import free_ports
from traefik_toml_proxy.conformance.processes import MARK

# Seconds in which all must have ended that are told to.
_SECONDS_TO_END = 15

Process = asyncio.subprocess.Process


async def _start(log: Path, *command: str, **variables: str) -> Process:
    with log.open("wb") as output:
        return await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output, env=os.environ | variables
        )


async def _start_etcd(folder: Path, client: str, peer: str) -> Process:
    return await _start(
        folder / "etcd.log",
        str(Path(sys.executable).with_name("etcd")),
        *("--data-dir", str(folder / "etcd"), "--name", "m0", "--log-level", "error", "--unsafe-no-fsync"),
        *("--listen-client-urls", client, "--advertise-client-urls", client),
        *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"m0={peer}"),
    )


async def _start_agent(folder: Path, name: str, url: str, health: str, etcd: str, traefik: list[str]) -> Process:
    settings = {
        "etcd_endpoints": json.dumps([etcd]),
        "replica_name": name,
        "public_url": url,
        "health_address": urlsplit(health).netloc,
        "state_dir": str(folder / name),
        "leave_seconds": "0",
        "traefik_command": json.dumps(traefik),
        # So that what is left of it is found: Traefik inherits nothing else.
        "traefik_env": json.dumps({name: value for name, value in os.environ.items() if name == MARK}),
    }
    variables = {f"TRAEFIK_AGENT_{key.upper()}": value for key, value in settings.items()}
    return await _start(folder / f"{name}.log", sys.executable, "-m", "traefik_toml_proxy", "agent", **variables)


class Balancer:
    """Gives each connection to a random replica among those that are ready."""

    def __init__(self, replicas: dict[str, str]) -> None:
        """Know the URLs of the replicas, each with that of its agent."""
        self._replicas = replicas
        self._ready: list[str] = []

    async def watch(self) -> None:
        """Ask who is ready, all the time."""
        while True:
            self._ready = [url for url, health in self._replicas.items() if await asyncio.to_thread(_is_ready, health)]
            await asyncio.sleep(0.1)

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on one connection."""
        while not self._ready:
            await asyncio.sleep(0.05)
        with contextlib.suppress(OSError):
            where = urlsplit(random.choice(self._ready))
            far_reader, far_writer = await asyncio.open_connection(where.hostname, where.port)
            await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))
            far_writer.close()
        writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(2**16):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()


def _is_ready(health: str) -> bool:
    try:
        with urllib.request.urlopen(f"{health}/readyz", timeout=1) as response:
            return bool(response.status == 200)
    except OSError:
        return False


async def main(folder: Path, port: int, etcd_port: int, peer_port: int, count: int, *traefik: str) -> None:
    """Run everything.

    Args:
        folder: For all files.
        port: Where users are served.
        etcd_port: Where etcd listens for clients.
        peer_port: Where it listens for other members.
        count: How many replicas there are. If it is one, users reach its Traefik, and there is no balancer.
        traefik: The binary; if there is none, the agents look for one.
    """
    etcd = f"http://127.0.0.1:{etcd_port}"
    started = [await _start_etcd(folder, etcd, f"http://127.0.0.1:{peer_port}")]
    ports = free_ports(2 * count)
    urls = [f"http://127.0.0.1:{number}" for number in ports]
    replicas = dict(zip(urls[:count] if count > 1 else [f"http://127.0.0.1:{port}"], urls[count:], strict=True))
    for number, (url, health) in enumerate(replicas.items()):
        started.append(await _start_agent(folder, f"agent{number}", url, health, etcd, [*traefik]))
    balancer = Balancer(replicas)
    if count > 1:
        await asyncio.start_server(balancer.accept, "127.0.0.1", port)
    watching = asyncio.create_task(balancer.watch())
    await asyncio.to_thread(sys.stdin.buffer.read)
    watching.cancel()
    for process in reversed(started):  # etcd last
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
    await asyncio.wait([asyncio.create_task(process.wait()) for process in started], timeout=_SECONDS_TO_END)


if __name__ == "__main__":
    _, given, *numbers_and_traefik = sys.argv
    port, etcd_port, peer_port, count = map(int, numbers_and_traefik[:4])
    asyncio.run(main(Path(given), port, etcd_port, peer_port, count, *numbers_and_traefik[4:]))
