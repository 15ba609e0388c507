"""Looks up the names of etcd's members in threads of our own, as the Hub may have filled asyncio's. Does I/O in these."""

from __future__ import annotations

import socket

from aiohttp.abc import AbstractResolver, ResolveResult

from ..threads import NAMES


class OwnThreadsResolver(AbstractResolver):
    """A resolver for aiohttp, whose own one uses the threads that the Hub uses as well."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of a host.

        Raises:
            OSError: If it has none.
        """
        found = await NAMES.run(socket.getaddrinfo, host, port, family=family, type=socket.SOCK_STREAM)
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=int(address[1]),
                family=kind,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, _, protocol, _, address in found
        ]

    async def close(self) -> None:
        """Nothing is open."""
