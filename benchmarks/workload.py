"""The routes that are measured, and the servers behind them. Pure.

A table of N existing routes has the Hub's route ``/`` and N routes of users. As in a real Hub, each user's route has a
target of its own; only the last one, and every route that is added while measuring, leads to a server that answers. In
parts that send requests to users' routes, all of them lead to that server.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

# What the servers behind the routes do: a path that ends so gets that many bytes, or is a WebSocket.
LARGE_PATH = "/large"
LARGE_BYTES = 2**20
SOCKET_PATH = "/socket"

# The header in which each server behind the routes names itself.
SERVER_HEADER = "X-Benchmark-Server"


class Entry(NamedTuple):
    """A route, as JupyterHub passes it to ``add_route``."""

    routespec: str
    target: str
    data: dict[str, Any]


class Servers(NamedTuple):
    """Where the two servers behind the routes listen."""

    hub: str
    user: str


class Addresses(NamedTuple):
    """The addresses of all servers that may be behind the routes; see ``backend.py``.

    Attributes:
        hub: The quick server for the Hub's route.
        user: The quick server for users' routes.
        hub_tls: As ``hub``, but HTTPS.
        pages_hub: The server with pages and WebSockets for the Hub's route.
        pages_user: The server with pages and WebSockets for users' routes.
    """

    hub: str
    user: str
    hub_tls: str
    pages_hub: str
    pages_user: str

    @property
    def quick(self) -> Servers:
        """The two servers that do as little as possible."""
        return Servers(self.hub, self.user)

    @property
    def pages(self) -> Servers:
        """The two servers that are like a user's server."""
        return Servers(self.pages_hub, self.pages_user)


def existing_entries(count: int, servers: Servers, *, all_answer: bool = False) -> Iterator[Entry]:
    """Yield the Hub's route and ``count`` users' routes, the last of which is :func:`last_existing`.

    Args:
        count: How many users there are.
        servers: Where the routes lead.
        all_answer: Whether all users' routes lead to a server that answers, and not each to an address of its own.
    """
    yield Entry("/", servers.hub, {"hub": True})
    for number in range(count):
        answers = all_answer or number == count - 1
        # Nothing listens at these addresses, and nothing is requested from them.
        far, near = divmod(number, 250)
        target = servers.user if answers else f"http://127.9.{far}.{near + 1}:8888"
        yield Entry(existing_routespec(number), target, _user_data("existing", number))


def existing_routespec(number: int) -> str:
    """Return the routespec of a user's route; numbers start with 0."""
    return _user_routespec("existing", number)


def last_existing(count: int) -> str | None:
    """Return the routespec of the last user's route, if there is any; when it is served, the whole table is."""
    return existing_routespec(count - 1) if count else None


def new_entries(first: int, count: int, servers: Servers) -> list[Entry]:
    """Return routes to add. ``first`` is the number of routes added before, so that no name is used twice."""
    return [
        Entry(_user_routespec("new", number), servers.user, _user_data("new", number))
        for number in range(first, first + count)
    ]


def _user_routespec(kind: str, number: int) -> str:
    return f"/user/{kind}-{number:06d}/"


def _user_data(kind: str, number: int) -> dict[str, Any]:
    return {"user": f"{kind}-{number:06d}", "server_name": ""}
