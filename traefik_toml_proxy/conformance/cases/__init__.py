"""All cases in their order, with a module for each group. Importing it starts nothing."""

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
