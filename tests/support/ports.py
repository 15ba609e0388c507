"""Ports that are free now."""

from __future__ import annotations

from traefik_toml_proxy.conformance.ports import free_ports

__all__ = ["free_port", "free_ports"]


def free_port() -> int:
    """Return a port on loopback that nobody listens on."""
    return free_ports(1)[0]
