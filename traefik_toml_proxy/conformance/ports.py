"""Ports that nobody else is given before somebody listens there. I/O: binds sockets."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import socket
from collections.abc import Iterator

# Linux gives the ports from 32768 on to sockets that ask for any (ip(7), ip_local_port_range), and so may give one that is
# free now to somebody else at any moment. These are below, in blocks: each process that asks here has one to itself.
_BLOCKS = range(10_000, 32_700, 100)


def free_ports(number: int, host: str = "127.0.0.1") -> list[int]:
    """Return ports that nobody listens on now, at an address on loopback; they come round after a hundred others.

    Args:
        number: How many; at most a hundred.
        host: The address.
    """
    candidates = itertools.islice(_block(os.getpid()), _BLOCKS.step)
    found: list[int] = []
    while len(found) < number and (port := next(candidates, None)):
        with socket.socket() as trial, contextlib.suppress(OSError):
            # As those do that listen there: what is left of old connections does not matter.
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind((host, port))
            found.append(port)
    return found + _any(number - len(found), host)


def _any(number: int, host: str) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind((host, 0))
        return [one.getsockname()[1] for one in sockets]


@functools.cache
def _block(_pid: int) -> Iterator[int]:
    """Return the ports of this process in turn; none if all blocks are taken. One that was forked has others."""
    for first in _BLOCKS:
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0ports {first} of traefik_toml_proxy.conformance")  # unix(7): an abstract name
        except OSError:
            claim.close()
        else:
            claim.detach()  # it stays open until the process ends
            return itertools.cycle(range(first, first + _BLOCKS.step))
    return iter(())
