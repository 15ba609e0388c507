"""A server on loopback that is one function, called for each connection (benchmarks/listening.py)."""

from __future__ import annotations

from benchmarks.listening import Answer, answering

__all__ = ["Answer", "answering"]
