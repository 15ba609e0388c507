"""All cases, a module for each group; here their order. Importing it starts nothing."""

from __future__ import annotations

from ..case import Case
from . import activity, api, bodies, changes, failures, headers, lifecycle, messages, names, routing, tls, websockets

CASES: tuple[Case, ...] = tuple(
    case
    for module in (
        api,
        routing,
        names,
        messages,
        headers,
        bodies,
        websockets,
        changes,
        failures,
        lifecycle,
        tls,
        activity,
    )
    for case in module.GROUP.cases
)
