"""The settings of a proxy in a process of its own: what it is told at its start, as JSON, and for its keeper. No I/O."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .engine import EngineSettings
from .listeners import Place


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


@dataclass(frozen=True, slots=True, kw_only=True)
class KeeperSettings:
    """The settings of a proxy in a process of its own.

    Attributes:
        folder: The folder for its record and its socket.
        event_loop: See :func:`~.loop.make_loop`.
        child: What it is told at its start.
        places: Where it listens; for each, whether with TLS, and the port to which all is sent for https, or None.
        ends_with_hub: Called at the start, and when Python exits; returns whether it ends with the Hub.
    """

    folder: Path
    event_loop: str
    child: ChildSettings
    places: tuple[tuple[Place, bool, int | None], ...]
    ends_with_hub: Callable[[], bool]
