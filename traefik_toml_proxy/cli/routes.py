"""``python -m traefik_toml_proxy routes``: prints the routes, and when each was used. Does I/O, and changes nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from ..errors import ProxyError
from ..proxies.examination import Examination
from ..routes import Route, RouteTable
from ..runtime.activity import ConnectionActivity
from ..runtime.live_looks import Stored, ask_what_is_live, read_stored
from ..seams import Answer
from .hub import Unloadable
from .of_hub import HubCommand
from .output import say, say_json, say_table


class RoutesApp(HubCommand):
    """Prints the routes."""

    name = "traefik_toml_proxy routes"
    description = """Print the routes of a JupyterHub: whom each is for, where it leads, and when it was last used.

    It executes the Hub's configuration file. A route was last used when Traefik last sent data to its target over a
    connection that is still open; it keeps an idle one for 90 seconds. The exit status is 0 if the routes are live, and 1 if
    they are not.
    """
    examples = """
    python -m traefik_toml_proxy routes -f /etc/jupyterhub/jupyterhub_config.py
    """

    def start(self) -> None:
        """Print the routes in the file."""
        try:
            examination = self.load().examination()
            stored = read_stored(examination.dynamic_file())
            answer = ask_what_is_live(examination.point(), stored) if stored and stored.secret_path else None
        except (Unloadable, ProxyError, OSError, ValueError) as error:
            self.fail(str(error))
        if stored is None:
            self.fail(f"There are no routes yet: {examination.dynamic_file()} is written when the Hub starts.")
        live = answer is not None and answer.serves(stored.snapshot.revision)
        seen, problems = _last_used(stored.snapshot.table, examination) if live else ({}, [])
        if self.json:
            say_json(_as_tree(stored, answer, seen))
        else:
            routes = sorted(stored.snapshot.table, key=lambda route: route.routespec)
            say_table(
                ("Route", "For", "Target", "Last used"),
                [(route.routespec, _owner(route), route.target, _ago(seen.get(route.routespec))) for route in routes],
            )
            revision = f"Revision {stored.snapshot.revision} with {len(routes)} routes is "
            say(
                revision
                + ("live." if live else f"not live: {answer.description if answer else 'it has no secret path'}.")
            )
            for problem in problems:
                say(problem)
        self.exit(0 if live else 1)


def _last_used(table: RouteTable, examination: Examination) -> tuple[Mapping[str, datetime], list[str]]:
    """Return when each route was last used, and why that is not known."""
    problems: list[str] = []
    log = logging.Logger("traefik_toml_proxy activity")  # noqa: LOG001 - one of its own, which nobody else configures
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: problems.append(record.getMessage())  # type: ignore[method-assign]
    log.addHandler(handler)
    activity = ConnectionActivity(_Fixed(table), examination.url(), interval=1, log=log)
    return asyncio.run(activity.sample()), problems


class _Fixed:
    """Routes that do not change."""

    def __init__(self, table: RouteTable) -> None:
        self.table = table


def _owner(route: Route) -> str:
    """Return whom a route is for, as JupyterHub has noted it in the route's data (jupyterhub/proxy.py)."""
    match route.as_dict()["data"]:
        case {"user": str(user), "server_name": str(server)} if server:
            return f"user {user}, server {server}"
        case {"user": str(user)}:
            return f"user {user}"
        case {"service": str(service)}:
            return f"service {service}"
        case {"hub": True}:
            return "the Hub"
    return ""


def _ago(at: datetime | None) -> str:
    if at is None:
        return ""
    elapsed = max(0, int((datetime.now(timezone.utc) - at).total_seconds()))
    return f"{elapsed} s ago" if elapsed < 120 else f"{elapsed // 60} min ago"


def _as_tree(stored: Stored, answer: Answer | None, seen: Mapping[str, datetime]) -> dict[str, Any]:
    return {
        "revision": stored.snapshot.revision,
        "live_revision": answer.revision if answer else None,
        "live": answer is not None and answer.serves(stored.snapshot.revision),
        "routes": [
            route.as_dict() | {"last_used": seen[route.routespec].isoformat() if route.routespec in seen else None}
            for route in sorted(stored.snapshot.table, key=lambda route: route.routespec)
        ],
    }
