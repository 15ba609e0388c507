"""When routes were last used, as the Hub wants to know it. Only async, no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone

from ..tasks import with_pauses


async def times_of(seen: Mapping[str, float]) -> dict[str, datetime]:
    """Return when each route was last used; lets others go on meanwhile, as there may be many thousands.

    Args:
        seen: By routespec, in seconds since 1970, 0 if it never was; nobody changes it meanwhile.
    """
    used = (item for item in seen.items() if item[1])
    return {spec: datetime.fromtimestamp(when, timezone.utc) async for spec, when in with_pauses(used)}
