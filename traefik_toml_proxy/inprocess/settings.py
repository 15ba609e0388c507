"""What a proxy in a process of its own is told at its start, as JSON can have it. Does no I/O, but names what does."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Any

from .engine import EngineSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildSettings:
    """What does not change while the process runs. There is no secret in it.

    Attributes:
        engine: How requests are served.
        access_log: Whether each request is reported.
    """

    engine: EngineSettings
    access_log: bool

    def as_tree(self) -> dict[str, Any]:
        """Return them as JSON can have them."""
        engine = self.engine
        return {
            "trusted": [str(network) for network in engine.trusted],
            "most_clients": engine.most_clients,
            "hub_url": engine.hub_url,
            "ignored": engine.ignored.pattern if engine.ignored else None,
            "ignores_pongs": engine.ignores_pongs,
            "access_log": self.access_log,
        }

    @classmethod
    def of_tree(cls, tree: dict[str, Any]) -> ChildSettings:
        """Return those that :meth:`as_tree` has returned."""
        engine = EngineSettings(
            trusted=tuple(ipaddress.ip_network(network) for network in tree["trusted"]),
            most_clients=tree["most_clients"],
            hub_url=tree["hub_url"],
            ignored=None if tree["ignored"] is None else re.compile(tree["ignored"]),
            ignores_pongs=tree["ignores_pongs"],
        )
        return cls(engine=engine, access_log=tree["access_log"])
