"""Several Hubs on one Traefik: each gets its own requests, and no others', whatever all of them change meanwhile."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.backend import Backend, get
from support.fixtures import BackendMaker, ProxyMaker
from support.traefik import ForeignTraefik
from support.waiting import meanwhile

from traefik_toml_proxy import TraefikTomlProxy

# Requests with the second kind of headers take another front router.
HEADERS = [{}, {"Accept-Encoding": "gzip"}]


@dataclass
class SomeHub:
    """A Hub with many users, all of whose servers are one backend that says which Hub it belongs to."""

    name: str
    base_url: str
    users: int
    hosts: list[str] = field(default_factory=list)
    folder: str = "."
    traits: dict[str, Any] = field(default_factory=dict)

    def use(self, proxy: TraefikTomlProxy, backend: Backend) -> None:
        """Set what it uses."""
        self.proxy, self.backend = proxy, backend

    @property
    def host(self) -> str:
        """A host that its requests are for."""
        return self.hosts[0] if self.hosts else "anything.example.org"

    async def add_all(self) -> None:
        """Add the routes of the Hub and of all its users, at once."""
        await self.proxy.add_route(self.base_url, f"{self.backend.url}/hub", {"hub": True})
        await asyncio.gather(*(self.add(f"{number:04}") for number in range(self.users)))

    async def add(self, user: str) -> None:
        """Add the route of one user, whose target says who it is."""
        await self.proxy.add_route(f"{self.base_url}user/{user}/", f"{self.backend.url}/{user}", {"user": user})

    async def come_and_go(self) -> None:
        """Add and delete users in groups of changing sizes, so that the groups of routers change as well."""
        for number in range(10**9):
            some = [f"guest{number}-{each}" for each in range(1 + number % 40)]
            await asyncio.gather(*map(self.add, some))
            await asyncio.gather(*(self.proxy.delete_route(f"{self.base_url}user/{user}/") for user in some))

    def some_request(self) -> tuple[str, str]:
        """Return the path of a request, and what must be the beginning of the path that reaches the target."""
        user = f"{random.randrange(self.users):04}"
        path = f"{self.base_url}user/{user}/lab"
        pages = f"{self.base_url}hub/home"
        return random.choice([(path, f"/{user}{path}"), (path, f"/{user}{path}"), (pages, f"/hub{pages}")])


def three_hubs(*folders: str) -> list[SomeHub]:
    """One at ``/``, one below it, and one with a host of its own. One of them has more front routers than the others."""
    return [
        SomeHub("root", "/", 500, folder=folders[0], traits={"trusted_proxies": ["127.0.0.1"]}),
        SomeHub("below", "/h2/", 150, folder=folders[1]),
        SomeHub("named", "/", 120, ["third.example.org"], folder=folders[2]),
    ]


@asynccontextmanager
async def sharing(
    hubs: list[SomeHub], folder: Path, make_proxy: ProxyMaker, make_backend: BackendMaker, **traits: Any
) -> AsyncIterator[ForeignTraefik]:
    """Let Hubs use one Traefik."""
    watched = folder / "watched"
    for hub in hubs:
        (watched / hub.folder).mkdir(parents=True, exist_ok=True)
    async with ForeignTraefik(folder, provider={"directory": str(watched)}) as traefik:
        for hub in hubs:
            own = {"rule_hosts": hub.hosts, "dynamic_config_file": str(watched / hub.folder / f"{hub.name}.toml")}
            proxy = make_proxy(
                should_start=False,
                traefik_url=traefik.url,
                traefik_entrypoint="web",
                watched_folder=str(watched),
                app=SimpleNamespace(base_url=hub.base_url),
                **(own | traits | hub.traits),
            )
            hub.use(proxy, await make_backend(hub.name))
        yield traefik


async def stolen(hubs: list[SomeHub], url: str, count: int) -> tuple[Counter[str], list[str]]:
    """Send requests for all users of all Hubs; return how many each Hub has answered, and the wrong answers."""
    answered: Counter[str] = Counter()
    wrong = []
    for number in range(count):
        hub = hubs[number % len(hubs)]
        path, expected = hub.some_request()
        answer = await get(url, path, host=hub.host, headers=HEADERS[number // len(hubs) % 2])
        answered[answer.by or "nobody"] += 1
        if answer.by != hub.name or answer.seen["path"] != expected:
            wrong.append(f"{hub.host}{path}: {answer.status} by {answer.by}, {answer.seen.get('path')}")
    return answered, wrong


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    "folders", [(".", ".", "."), (".", "one", "other/inner")], ids=["one folder", "several folders"]
)
async def test_no_request_of_another_hub_s_users_is_stolen(
    tmp_path: Path, make_proxy: ProxyMaker, make_backend: BackendMaker, folders: tuple[str, str, str]
) -> None:
    """A Hub at / with 500 users, one at /h2/ with 150, and one with a host of its own: all change routes all the time."""
    hubs = three_hubs(*folders)
    async with sharing(hubs, tmp_path, make_proxy, make_backend) as traefik:
        await asyncio.gather(*(hub.add_all() for hub in hubs))
        async with meanwhile(*(hub.come_and_go() for hub in hubs)):
            answered, wrong = await stolen(hubs, traefik.url, 900)

        assert wrong == []
        assert answered == {"root": 300, "below": 300, "named": 300}
        assert traefik.complaints == []
