"""What users do while pods are exchanged or die."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from support.hub import RealHub


@dataclass
class Use:
    """What users get meanwhile, through the Service."""

    requests: int = 0
    failed: list[str] = field(default_factory=list)

    async def go_on(self, hub: RealHub, name: str, pid: int, seconds: float = 0) -> None:
        """Ask the server of a user, one request after the other."""
        while True:
            self.requests += 1
            try:
                answer = await hub.ask(f"user/{name}/x?seconds={seconds}")
                if answer.by != name or answer.seen["pid"] != pid:
                    self.failed.append(f"{answer.status} {answer.body[:200]!r}")
            except (OSError, ValueError) as error:
                self.failed.append(repr(error))
            await asyncio.sleep(0.02)
