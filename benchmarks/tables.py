"""The routes that are measured, and for the floor a dynamic file like ours. Pure.

A table of N existing routes is the Hub's route ``/`` and N routes of users. Like the servers of a real Hub, each has a
target of its own; only the last one (and every route that is added while measuring) leads to a server that answers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

# The headers by which the two servers behind the routes, and the floor's revision, are known.
SERVER_HEADER = "X-Benchmark-Server"
REVISION_HEADER = "X-Benchmark-Revision"
REVISION_PATH = "/benchmark-revision"


class Entry(NamedTuple):
    """One route, as JupyterHub gives it to a proxy."""

    routespec: str
    target: str
    data: dict[str, Any]


class Servers(NamedTuple):
    """Where the two servers behind the routes listen."""

    hub: str
    user: str


def existing_entries(count: int, servers: Servers) -> Iterator[Entry]:
    """Yield the Hub's route and ``count`` users' routes, the last of which is :func:`last_existing`."""
    yield Entry("/", servers.hub, {"hub": True})
    for number in range(count):
        is_last = number == count - 1
        # An address of its own; nothing listens there, and nothing asks.
        far, near = divmod(number, 250)
        target = servers.user if is_last else f"http://127.9.{far}.{near + 1}:8888"
        yield Entry(_user_routespec("existing", number), target, _user_data("existing", number))


def last_existing(count: int) -> str | None:
    """Return the routespec of the last users' route, by which a table is seen to be served, if there is any."""
    return _user_routespec("existing", count - 1) if count else None


def new_entries(first: int, count: int, servers: Servers) -> list[Entry]:
    """Return routes to add; ``first`` counts all that were added before, so that no name comes twice."""
    return [
        Entry(_user_routespec("new", number), servers.user, _user_data("new", number))
        for number in range(first, first + count)
    ]


def _user_routespec(kind: str, number: int) -> str:
    return f"/user/{kind}-{number:06d}/"


def _user_data(kind: str, number: int) -> dict[str, Any]:
    return {"user": f"{kind}-{number:06d}", "server_name": ""}


def floor_static(address: str, dynamic_file: str, entry_point: str) -> str:
    """Return a static configuration with what ours has that matters for the time of a reload.

    Args:
        address: Where to listen, ``host:port``.
        dynamic_file: The absolute path of the dynamic file.
        entry_point: The name that the routers in it use.
    """
    return (
        "[global]\ncheckNewVersion = false\nsendAnonymousUsage = false\n"
        '[log]\nlevel = "ERROR"\nnoColor = true\n'
        '[providers]\nprovidersThrottleDuration = "0s"\n'
        f"[providers.file]\nfilename = '{dynamic_file}'\nwatch = true\n"
        f'[entryPoints.{entry_point}]\naddress = "{address}"\n'
        f"[entryPoints.{entry_point}.http]\nsanitizePath = false\nencodeQuerySemicolons = true\n"
        f'[entryPoints.{entry_point}.transport.respondingTimeouts]\nreadTimeout = "0s"\n'
    )


def floor_dynamic(count: int, servers: Servers) -> str:
    """Return a dynamic file like the one ours writes for ``count`` routes; used where ours is not there to write it."""
    parts = ["[tls.stores.default.defaultCertificate]\ncertFile = ''\nkeyFile = ''\n"]
    for routespec, target, _ in existing_entries(count, servers):
        name = re.sub(r"[^A-Za-z0-9-]", "_", routespec) + "0123456789abcdef"
        path = routespec.rstrip("/")
        rule = f"Path(`{path}`) || PathPrefix(`{routespec}`)" if path else "PathPrefix(`/`)"
        parts.append(
            f'\n[http.routers.{name}]\nrule = "{rule}"\nentryPoints = ["http"]\n'
            f'priority = {len(routespec)}\nservice = "{name}"\n'
            f'\n[[http.services.{name}.loadBalancer.servers]]\nurl = "{target}"\n'
            f'\n[jupyterhub.routes.{name}]\nroutespec = "{routespec}"\ntarget = "{target}"\ndata = ""\n'
        )
    return "".join(parts)


def entry_point_of(dynamic_text: str) -> str:
    """Return the name of the entry point that the first router in a dynamic file uses.

    Raises:
        ValueError: If no router names one.
    """
    found = re.search(r"""entryPoints\s*=\s*\[\s*["']([A-Za-z0-9_-]+)["']""", dynamic_text)
    if not found:
        raise ValueError("no router in the dynamic file names an entry point")
    return found[1]


def with_certificate(dynamic_text: str, cert_file: str, key_file: str) -> str:
    """Return a dynamic file with another default certificate: the first one's files may go with their owner."""
    text = re.sub(r"(?m)^(\s*certFile\s*=\s*).*$", lambda found: f"{found[1]}'{cert_file}'", dynamic_text)
    return re.sub(r"(?m)^(\s*keyFile\s*=\s*).*$", lambda found: f"{found[1]}'{key_file}'", text)


def revision_router(revision: int, entry_point: str) -> str:
    """Return the few lines, to be put at the end of a dynamic file, by which its revision is seen from outside."""
    return (
        f'\n[http.routers.benchmark-revision]\nrule = "Path(`{REVISION_PATH}`)"\nentryPoints = ["{entry_point}"]\n'
        'priority = 2000000\nmiddlewares = ["benchmark-revision"]\nservice = "noop@internal"\n'
        "\n[http.middlewares.benchmark-revision.headers.customResponseHeaders]\n"
        f'{REVISION_HEADER} = "{revision}"\n'
    )
