"""A proxy in the Hub's process that goes on without it, for the conformance suite. Does no I/O of its own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from traefik_toml_proxy.proxies.inprocess import InProcessProxy


class StayingProxy(InProcessProxy):
    """The proxy of a Hub with ``cleanup_proxy = False``: the suite's have no such setting."""

    def __init__(self, **traits: Any) -> None:
        app = SimpleNamespace(**vars(traits.pop("app")), cleanup_proxy=False)
        super().__init__(**traits, app=app)
