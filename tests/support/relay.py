"""A TCP relay in front of a server on loopback (benchmarks/ha/relay.py)."""

from __future__ import annotations

from benchmarks.ha import relay as shared


class Relay(shared.Relay):
    """Passes on connections to a port of this machine."""

    def __init__(self, port: int) -> None:
        super().__init__(f"http://127.0.0.1:{port}")
