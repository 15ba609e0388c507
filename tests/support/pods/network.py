"""The network of a cluster: a namespace for each pod, and a switch that joins them. Nothing outside of it is reached."""

from __future__ import annotations

import asyncio
import ctypes
import itertools
import os
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from support.processes import MARK

_CLONE_NEWNET = 0x40000000
_SUBNET = "10.213.0"


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

    @property
    def path(self) -> str:
        """Its file."""
        return f"/proc/{self.pid}/ns/net"

    def run(self, *command: str) -> None:
        """Run a command in it."""
        subprocess.run(["nsenter", f"--net={self.path}", *command], check=True, capture_output=True)

    def close(self) -> None:
        """Remove it, with its interfaces."""
        self._holder.kill()
        self._holder.wait()
        assert self._holder.stdout is not None
        self._holder.stdout.close()


class Network:
    """The switch, and the machine that the kubelet runs on: it reaches all pods."""

    def __init__(self) -> None:
        """Make it, without pods."""
        self._node = Namespace()
        self._numbers = itertools.count(2)
        for command in (
            ("link", "add", "switch", "type", "bridge"),
            ("addr", "add", f"{_SUBNET}.1/24", "dev", "switch"),
            ("link", "set", "switch", "up"),
        ):
            self._node.run("ip", *command)
        self._threads = ThreadPoolExecutor(2, "in-the-cluster", self._enter)

    def _enter(self) -> None:
        descriptor = os.open(self._node.path, os.O_RDONLY)
        try:
            assert ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET) == 0, os.strerror(
                ctypes.get_errno()
            )
        finally:
            os.close(descriptor)

    def address(self) -> str:
        """Return an address that nobody has."""
        return f"{_SUBNET}.{next(self._numbers)}"

    def plug_in(self, namespace: Namespace, address: str) -> None:
        """Give a pod its address. Blocks."""
        cable = f"pod{namespace.pid}"
        self._node.run(
            *("ip", "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", str(namespace.pid))
        )
        self._node.run("ip", "link", "set", cable, "master", "switch", "up")
        namespace.run("ip", "addr", "add", f"{address}/24", "dev", "eth0")
        namespace.run("ip", "link", "set", "eth0", "up")

    async def connect(self, address: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to a pod, from the machine that it runs on.

        Raises:
            OSError: If it does not accept the connection.
        """
        loop = asyncio.get_running_loop()
        found: Any = await loop.run_in_executor(self._threads, lambda: socket.socket(socket.AF_INET))
        try:
            found.setblocking(False)
            await loop.sock_connect(found, (address, port))
            return await asyncio.open_connection(sock=found)
        except BaseException:
            found.close()
            raise

    def close(self) -> None:
        """Remove it."""
        self._threads.shutdown()
        self._node.close()
