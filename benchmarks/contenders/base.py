"""What every contender has in common, and how the Hub drives a proxy. I/O: by the proxies."""

from __future__ import annotations

import asyncio
import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, ClassVar

from ..waiting import within
from ..workload import Entry, Servers, existing_entries

# How many routes are added at once while a table is filled: one iteration of the event loop starts all of them.
_FILL_AT_ONCE = 2_000

# How many seconds a start or a change may take. The slowest contender needs a minute for ten changes.
PATIENCE = 240


@dataclass(frozen=True)
class Settings:
    """What a contender needs to know: plain values, which can be handed to another process.

    Attributes:
        folder: An empty folder of its own.
        public_port: For the public entry point on 127.0.0.1.
        api_port: For the proxy's API, if it has one.
        servers: The two servers behind the routes.
        existing: How many routes the table holds before anything is measured.
        traefik: The Traefik binary, or "" if there is none.
        chp: The ``configurable-http-proxy`` command, or "".
        cert_file: A certificate.
        key_file: Its key.
        tls: Whether the public entry point is HTTPS, with that certificate.
        all_answer: Whether all routes lead to servers that answer.
    """

    folder: str
    public_port: int
    api_port: int
    servers: Servers
    existing: int
    traefik: str
    chp: str
    cert_file: str
    key_file: str
    tls: bool = False
    all_answer: bool = False

    @property
    def public_url(self) -> str:
        """JupyterHub's ``bind_url``."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.public_port}"

    @property
    def api_url(self) -> str:
        """Where the API listens."""
        return f"http://127.0.0.1:{self.api_port}"

    def existing_entries(self) -> Iterator[Entry]:
        """Yield the routes that the table holds before anything is measured."""
        return existing_entries(self.existing, self.servers, all_answer=self.all_answer)


class Contender(ABC):
    """Something whose route changes are timed.

    Attributes:
        is_bare: Whether it has no routes of its own, so that a change cannot be checked by requests to the routes.
        most_at_once: The most changes that it is asked for at once.
    """

    is_bare: ClassVar[bool] = False
    most_at_once: ClassVar[int] = 1_000_000

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @abstractmethod
    def missing(self) -> str:
        """Return what is not installed, in a few words; "" if nothing is missing."""

    @abstractmethod
    def version(self) -> str:
        """Return its version."""

    def location(self) -> str:
        """Return the folder that it is imported from, if that matters; else ""."""
        return ""

    @abstractmethod
    def prepare(self) -> None:
        """Do what belongs neither to its start nor to anything that is measured."""

    @abstractmethod
    async def start(self) -> None:
        """Start the proxy and return when it serves."""

    @abstractmethod
    async def fill(self) -> None:
        """Bring the table to its size; need not wait until it is served."""

    @abstractmethod
    async def add(self, entries: Sequence[Entry]) -> None:
        """Add routes, all at once."""

    @abstractmethod
    async def delete(self, routespecs: Sequence[str]) -> None:
        """Delete routes, all at once."""

    @abstractmethod
    async def count(self) -> int:
        """Return how many routes ``get_all_routes`` returns."""

    def parts(self) -> dict[str, list[int]]:
        """Return the ids of its processes by what they are, if it consists of several."""
        return {}

    @abstractmethod
    async def stop(self) -> None:
        """Stop the proxy."""


class HubContender(Contender):
    """A ``jupyterhub.proxy.Proxy``, driven as the Hub drives it."""

    proxy: Any

    @abstractmethod
    def make_proxy(self, **common: Any) -> Any:
        """Return the proxy; ``common`` is what every one of them is constructed with."""

    def prepare(self) -> None:
        """Construct the proxy."""
        hub = self.settings.servers.hub
        self.proxy = self.make_proxy(
            public_url=self.settings.public_url,
            hub=SimpleNamespace(url=f"{hub}/hub/", host=hub, base_url="/hub/", routespec="/"),
            app=SimpleNamespace(internal_ssl=False, subdomain_host=""),
            ssl_cert=self.settings.cert_file if self.settings.tls else "",
            ssl_key=self.settings.key_file if self.settings.tls else "",
        )

    async def start(self) -> None:
        """Call the proxy's ``start``."""
        await within(PATIENCE, self.proxy.start())

    async def fill(self) -> None:
        """Add the existing routes through the proxy's own interface, many at once."""
        entries = list(self.settings.existing_entries())
        for first in range(0, len(entries), _FILL_AT_ONCE):
            await self.add(entries[first : first + _FILL_AT_ONCE])

    async def add(self, entries: Sequence[Entry]) -> None:
        """Call ``add_route`` for each, all at once."""
        calls = [self.proxy.add_route(*entry) for entry in entries]
        await within(PATIENCE, asyncio.gather(*calls))

    async def delete(self, routespecs: Sequence[str]) -> None:
        """Call ``delete_route`` for each, all at once."""
        calls = [self.proxy.delete_route(routespec) for routespec in routespecs]
        await within(PATIENCE, asyncio.gather(*calls))

    async def count(self) -> int:
        """Return the length of what ``get_all_routes`` returns."""
        return len(await within(PATIENCE, self.proxy.get_all_routes()))

    async def stop(self) -> None:
        """Call the proxy's ``stop``, which may or may not be a coroutine."""
        stopped = self.proxy.stop()
        if inspect.isawaitable(stopped):
            await within(PATIENCE, stopped)
