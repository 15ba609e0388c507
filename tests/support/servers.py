"""A server on loopback that is one function, called for each connection (conformance/listening.py)."""

from __future__ import annotations

from traefik_toml_proxy.conformance.listening import Answer, answering

__all__ = ["Answer", "answering"]
