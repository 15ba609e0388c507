"""The network of a cluster: a namespace for each pod, and a switch that joins them. Nothing outside of it is reached."""

from __future__ import annotations

import asyncio
import ctypes
import itertools
import os
import socket
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from support.processes import MARK

_CLONE_NEWNET = 0x40000000
# The networks of pods, by the version of IP.
_SUBNETS = {4: ("10.213.0.{}", 24), 6: ("fd00:213::{}", 64)}
# The versions that this machine knows.
VERSIONS = (4, 6) if Path("/proc/net/if_inet6").exists() else (4,)


def missing() -> str:
    """Return why pods cannot be run here; "" if they can."""
    if os.geteuid() != 0:
        return "only root can run pods"
    trial = "ip link set lo up && ip link add switch type bridge && ip link add pod type veth peer name eth"
    done = subprocess.run(["unshare", "--net", "--mount", "sh", "-c", trial], capture_output=True, text=True)
    return done.stderr.strip()


class Namespace:
    """A network of its own. It is there as long as a process that does nothing, like the pause container of a pod."""

    def __init__(self) -> None:
        """Make it, with a loopback interface."""
        self._holder = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", "ip link set lo up && echo up && exec sleep infinity"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            env=os.environ | MARK,
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"up\n"
        self.pid = self._holder.pid
        self._threads = ThreadPoolExecutor(2, "in-the-cluster", self._enter)

    def _enter(self) -> None:
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            entered = ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET)
            assert entered == 0, os.strerror(ctypes.get_errno())
        finally:
            os.close(descriptor)

    @property
    def path(self) -> str:
        """Its file."""
        return f"/proc/{self.pid}/ns/net"

    def run(self, *command: str) -> None:
        """Run a command in it."""
        subprocess.run(["nsenter", f"--net={self.path}", *command], check=True, capture_output=True)

    async def connect(self, address: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to an address, from within.

        Raises:
            OSError: If nobody accepts the connection.
        """
        loop = asyncio.get_running_loop()
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        found: Any = await loop.run_in_executor(self._threads, lambda: socket.socket(family))
        try:
            found.setblocking(False)
            await loop.sock_connect(found, (address, port))
            return await asyncio.open_connection(sock=found)
        except BaseException:
            found.close()
            raise

    def close(self) -> None:
        """Remove it, with its interfaces."""
        self._threads.shutdown()
        self._holder.kill()
        self._holder.wait()
        assert self._holder.stdout is not None
        self._holder.stdout.close()


class Network:
    """The switch, and the machine that the kubelet runs on: it reaches all pods."""

    def __init__(self, versions: Sequence[int] = VERSIONS) -> None:
        """Make it, without pods.

        Args:
            versions: The versions of IP that it knows. The first one is that of a pod's own address.
        """
        self._node = Namespace()
        self._versions = versions
        self._numbers = itertools.count(2)
        self._node.run("ip", "link", "add", "switch", "type", "bridge")
        self._node.run("ip", "link", "set", "switch", "up")
        self._give(self._node, "switch", 1)

    def number(self) -> int:
        """Return a number that no pod has."""
        return next(self._numbers)

    def addresses(self, number: int) -> list[str]:
        """Return the addresses of the pod with that number, one of each version."""
        return [_SUBNETS[version][0].format(number) for version in self._versions]

    def _give(self, namespace: Namespace, device: str, number: int) -> None:
        for version, address in zip(self._versions, self.addresses(number), strict=True):
            # It is nobody else's: do not wait until that is known.
            options = ["nodad"] if version == 6 else []
            namespace.run("ip", "addr", "add", f"{address}/{_SUBNETS[version][1]}", "dev", device, *options)

    def plug_in(self, namespace: Namespace, number: int) -> None:
        """Give a pod its addresses. Blocks."""
        cable = f"pod{namespace.pid}"
        self._node.run(
            *("ip", "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", str(namespace.pid))
        )
        self._node.run("ip", "link", "set", cable, "master", "switch", "up")
        namespace.run("ip", "link", "set", "eth0", "up")
        self._give(namespace, "eth0", number)

    def unplug(self, number: int) -> None:
        """Forget where a pod was that is gone: who connects to it is told in seconds that it is not there. Blocks."""
        for address in self.addresses(number):
            self._node.run("ip", "neigh", "flush", "to", address, "dev", "switch")

    async def connect(self, address: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to a pod, from the machine that it runs on.

        Raises:
            OSError: If it does not accept the connection.
        """
        return await self._node.connect(address, port)

    def close(self) -> None:
        """Remove it."""
        self._node.close()
