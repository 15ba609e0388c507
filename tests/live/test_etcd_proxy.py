"""TraefikEtcdProxy with a real etcd and real agents, each with its Traefik."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import secrets
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from prometheus_client import REGISTRY
from support.agents import AgentProcess
from support.backend import get
from support.etcd import Etcd, running_etcd
from support.fixtures import BackendMaker
from support.live_check_contract import CONTRACT, Stage
from support.relay import Relay
from support.waiting import eventually

from traefik_toml_proxy import TraefikEtcdProxy
from traefik_toml_proxy.errors import ConfigurationError, EtcdRefused, InvalidRoute, RouteNotLive
from traefik_toml_proxy.stores.etcd_gateway import EtcdGateway
from traefik_toml_proxy.stores.etcd_messages import Transaction, put
from traefik_toml_proxy.stores.etcd_replicas import ReplicasCheck
from traefik_toml_proxy.stores.etcd_settings import EtcdSettings
from traefik_toml_proxy.stores.etcd_table import Keys, Report


@pytest.fixture
def root() -> str:
    """Keys that no other test has."""
    return f"/test/{secrets.token_hex(4)}"


@pytest_asyncio.fixture
async def make_ha_proxy(etcd: Etcd, root: str) -> AsyncIterator[Callable[..., TraefikEtcdProxy]]:
    """Make proxies as JupyterHub does; each is stopped at the end."""
    made: list[TraefikEtcdProxy] = []

    def make(**traits: object) -> TraefikEtcdProxy:
        settings = {
            "etcd_endpoints": list(etcd.settings.endpoints),
            "etcd_root": root,
            "lease_seconds": 5,
            "start_timeout": 0,
        }
        proxy = TraefikEtcdProxy(**(settings | traits), log=logging.getLogger("hub"))
        made.append(proxy)
        return proxy

    yield make
    for proxy in made:
        await proxy.stop()


@contextlib.asynccontextmanager
async def agents(folder: Path, etcd: Etcd, root: str, count: int) -> AsyncIterator[list[AgentProcess]]:
    """Run so many agents during the block."""
    async with contextlib.AsyncExitStack() as stack:
        made = [AgentProcess(folder, f"agent{number}", etcd.settings, root) for number in range(count)]
        for agent in made:
            await stack.enter_async_context(agent)
        yield made


async def whoever_answers(agents: list[AgentProcess], path: str) -> set[str | None]:
    """Return who answers that path, over all agents."""
    return {response.by for response in await asyncio.gather(*(get(agent.url, path) for agent in agents))}


@pytest.mark.parametrize("count", [1, 3])
async def test_a_route_is_live_on_all_replicas_when_it_was_added(
    tmp_path: Path,
    etcd: Etcd,
    root: str,
    make_ha_proxy: Callable[..., TraefikEtcdProxy],
    make_backend: BackendMaker,
    count: int,
) -> None:
    """And on none when it was deleted; also when its target changes. Twenty times, each asked at once."""
    ada, bob = await make_backend("ada"), await make_backend("bob")
    proxy = make_ha_proxy()
    async with agents(tmp_path, etcd, root, count) as running:
        await proxy.start()
        await proxy.add_route("/", ada.url, {})
        for agent in running:
            await agent.ready()
        for number in range(20):
            await proxy.add_route(f"/user/{number}/", ada.url, {"number": number})
            assert await whoever_answers(running, f"/user/{number}/x") == {"ada"}
            await proxy.add_route(f"/user/{number}/", bob.url, {"number": number})
            assert await whoever_answers(running, f"/user/{number}/x") == {"bob"}
            await proxy.delete_route(f"/user/{number}/")
            assert await whoever_answers(running, f"/user/{number}/x") == {"ada"}
        assert set(await proxy.get_all_routes()) == {"/"}


async def test_start_returns_when_a_replica_listens(
    tmp_path: Path, etcd: Etcd, root: str, make_ha_proxy: Callable[..., TraefikEtcdProxy]
) -> None:
    proxy = make_ha_proxy(start_timeout=60)
    async with agents(tmp_path, etcd, root, 1) as (agent,):
        await proxy.start()
        assert (await get(agent.url, "/")).status == 404


async def test_another_hub_takes_over_with_no_user_cut_off(
    tmp_path: Path,
    etcd: Etcd,
    root: str,
    make_ha_proxy: Callable[..., TraefikEtcdProxy],
    make_backend: BackendMaker,
) -> None:
    """It has all routes, and the replicas have stayed ready and have answered all requests."""
    ada = await make_backend("ada")
    first, second = make_ha_proxy(), make_ha_proxy()
    async with agents(tmp_path, etcd, root, 1) as (agent,):
        await first.start()
        await first.add_route("/user/ada/", ada.url, {"user": "ada"})
        await agent.ready()
        async with asking(agent) as answers:
            await first.stop()
            await second.start()
            await second.add_route("/user/bob/", ada.url, {"user": "bob"})
            await second.delete_route("/user/bob/")
        routes = await second.get_all_routes()

    assert routes == {"/user/ada/": {"routespec": "/user/ada/", "target": ada.url, "data": {"user": "ada"}}}
    assert {*answers} == {("ada", True)}
    assert len(answers) > 5


@contextlib.asynccontextmanager
async def asking(agent: AgentProcess) -> AsyncIterator[list[tuple[str | None, bool]]]:
    """Ask all the time who answers, and whether the replica is ready."""
    answers: list[tuple[str | None, bool]] = []

    async def ask() -> None:
        while True:
            answers.append(((await get(agent.url, "/user/ada/")).by, await agent.is_ready()))

    task = asyncio.create_task(ask())
    try:
        yield answers
        assert not task.done(), task.exception()
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_a_replica_that_joins_is_ready_with_all_routes(
    tmp_path: Path,
    etcd: Etcd,
    root: str,
    make_ha_proxy: Callable[..., TraefikEtcdProxy],
    make_backend: BackendMaker,
) -> None:
    """Also while routes are added all the time: then it serves each of them as soon as that was added."""
    ada = await make_backend("ada")
    proxy = make_ha_proxy()
    async with agents(tmp_path, etcd, root, 1) as (first,):
        await proxy.start()
        await proxy.add_route("/user/0/", ada.url, {})
        await first.ready()
        late = AgentProcess(tmp_path, "late", etcd.settings, root)
        number, checked = 0, 0
        async with late:
            while checked < 10:
                number += 1
                await proxy.add_route(f"/user/{number}/", ada.url, {})
                if await late.is_ready():
                    assert await whoever_answers([first, late], f"/user/{number}/") == {"ada"}
                    checked += 1
            assert await whoever_answers([late], "/user/0/") == {"ada"}


async def test_a_route_that_somebody_edits_is_put_right(
    tmp_path: Path,
    etcd: Etcd,
    root: str,
    make_ha_proxy: Callable[..., TraefikEtcdProxy],
    make_backend: BackendMaker,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The Hub's table is what counts. It says so once, and users do not notice."""
    ada = await make_backend("ada")
    caplog.set_level(logging.INFO, "hub")
    proxy, key = make_ha_proxy(), f"{root}/table/routes//user/ada/"
    async with agents(tmp_path, etcd, root, 1) as (agent,):
        await proxy.start()
        await proxy.add_route("/user/ada/", ada.url, {"user": "ada"})
        await agent.ready()
        before = etcd.control("get", key, "--print-value-only")
        async with asking(agent) as answers:
            etcd.control("put", key, '{"target": "http://127.0.0.1:9", "data": {}}')
            await eventually(lambda: etcd.control("get", key, "--print-value-only") == before)
            await proxy.add_route("/user/bob/", ada.url, {})
            await eventually(lambda: "is as it should be again" in caplog.text)

    assert {*answers} == {("ada", True)}
    assert caplog.text.count("has other routes than were written: writing it again") == 1


async def test_without_a_replica_a_route_is_not_live(make_ha_proxy: Callable[..., TraefikEtcdProxy]) -> None:
    """The error says that no agent is known."""
    proxy = make_ha_proxy(check_route_timeout=1)
    await proxy.start()
    with pytest.raises(RouteNotLive, match="no replica has a lease"):
        await proxy.add_route("/", "http://127.0.0.1:1", {})


async def test_a_route_that_etcd_cannot_hold_is_refused(make_ha_proxy: Callable[..., TraefikEtcdProxy]) -> None:
    proxy = make_ha_proxy()
    await proxy.start()
    with pytest.raises(InvalidRoute, match="etcd takes"):
        await proxy.add_route("/", "http://127.0.0.1:1", {"x": "x" * 2**21})


async def test_the_metrics_of_the_hub_know_the_routes_and_the_replicas(
    tmp_path: Path, etcd: Etcd, root: str, make_ha_proxy: Callable[..., TraefikEtcdProxy]
) -> None:
    """One that has left is not among them."""

    def value(name: str) -> float | None:
        return REGISTRY.get_sample_value(f"traefik_toml_proxy_{name}")

    proxy = make_ha_proxy()
    async with agents(tmp_path, etcd, root, 2) as (one, two):
        await proxy.start()
        commits = value("commits_total") or 0
        for agent in (one, two):
            await agent.ready()
        await proxy.add_route("/user/ada/", "http://127.0.0.1:1", {})
        await eventually(lambda: value("replicas") == value("replicas_ready") == 2)
        assert [value("routes"), value("commits_total")] == [1, commits + 1]
        await eventually(lambda: value("revision") == value("live_revision"))
        await two.stop()
        await eventually(lambda: value("replicas") == value("replicas_ready") == 1)


async def test_internal_ssl_is_refused(make_ha_proxy: Callable[..., TraefikEtcdProxy]) -> None:
    """With what to do about it."""
    proxy = make_ha_proxy(app=SimpleNamespace(internal_ssl=True))
    with pytest.raises(ConfigurationError, match=r"internal_ssl is not possible.*traefik-toml"):
        await proxy.start()


async def test_a_password_is_read_from_a_file(tmp_path: Path, make_ha_proxy: Callable[..., TraefikEtcdProxy]) -> None:
    """Here, one that cannot be read."""
    proxy = make_ha_proxy(etcd_username="hub", etcd_password_file=str(tmp_path / "missing"))
    with pytest.raises(ConfigurationError, match="etcd_password_file"):
        await proxy.start()


# The live check.


class ReplicaStage:
    """A live check, and one replica whose report a test writes."""

    def __init__(self, etcd: Etcd, relay: Relay, root: str) -> None:
        self._etcd = etcd
        self._relay = relay
        self._key = Keys.below(root).replica("one").decode()
        self.live_check = ReplicasCheck(
            EtcdSettings(endpoints=(relay.url,)), Keys.below(root), "/secret", logging.getLogger("hub")
        )

    def serve(self, revision: int | None) -> None:
        """Report that revision."""
        report = Report(revision, "/secret", "", ready=True)
        self._etcd.control("put", self._key, report.to_bytes().decode())

    def serve_another_hub(self, revision: int) -> None:
        """Report a revision under the secret of another Hub."""
        report = Report(revision, "/other", "", ready=True)
        self._etcd.control("put", self._key, report.to_bytes().decode())

    def refuse(self) -> None:
        """Not used: nothing is refused here."""

    def fall_silent(self) -> None:
        """Take the report away."""
        self._etcd.control("del", self._key)


@pytest.mark.parametrize(
    "keeps", [each for each in CONTRACT if "refusal" not in each.__name__], ids=lambda f: f.__name__
)
async def test_the_live_check_keeps_the_contract(etcd: Etcd, root: str, keeps: Callable[[Stage], object]) -> None:
    """See support/live_check_contract.py; there is nothing that refuses."""
    async with Relay(urlsplit(etcd.members[0].url).port or 0) as relay:
        stage = ReplicaStage(etcd, relay, root)
        try:
            await keeps(stage)  # type: ignore[misc]
        finally:
            await stage.live_check.close()


async def test_what_a_replica_serves_of_another_hub_does_not_count(etcd: Etcd, root: str) -> None:
    """As before it has followed a new one. What is not a report does not count either."""
    async with Relay(urlsplit(etcd.members[0].url).port or 0) as relay:
        stage = ReplicaStage(etcd, relay, root)
        stage.serve_another_hub(7)
        other = await stage.live_check.ask()
        etcd.control("put", Keys.below(root).replica("one").decode(), "{}")
        broken = await stage.live_check.ask()
        await stage.live_check.close()

    assert (other.revision, other.answered) == (None, True)
    assert (broken.revision, broken.answered) == (None, True)


# Users and roles.

# As the how-to says: what the Hub and the agents need.
ROLES = {
    "hub": [("readwrite", "/roles/")],
    "agent": [("read", "/roles/table/"), ("readwrite", "/roles/replicas/")],
}


def with_roles(etcd: Etcd) -> None:
    """Make a user for each role, and turn on authentication."""
    for name, permissions in ROLES.items():
        etcd.control("role", "add", name)
        for kind, prefix in permissions:
            etcd.control("role", "grant-permission", name, "--prefix=true", kind, prefix)
        etcd.control("user", "add", f"{name}:{name}-word")
        etcd.control("user", "grant-role", name, name)
    etcd.control("user", "add", "root:word")
    etcd.control("user", "grant-role", "root", "root")
    etcd.control("auth", "enable")


async def test_the_hub_and_the_agents_need_no_more_than_their_roles(
    tmp_path: Path, make_backend: BackendMaker, caplog: pytest.LogCaptureFixture
) -> None:
    """With tokens that expire. An agent can neither write the table, nor read who leads. No log has a password."""
    ada = await make_backend("ada")
    (tmp_path / "password").write_text("agent-word\n")
    async with running_etcd(tmp_path, options=["--auth-token-ttl", "1"]) as etcd:
        with_roles(etcd)
        proxy = TraefikEtcdProxy(
            etcd_endpoints=list(etcd.settings.endpoints),
            etcd_root="/roles",
            etcd_username="hub",
            etcd_password="hub-word",
            lease_seconds=5,
            log=logging.getLogger("hub"),
        )
        traits = {"etcd_username": "agent", "etcd_password_file": str(tmp_path / "password")}
        async with AgentProcess(tmp_path, "one", etcd.settings, "/roles", **traits) as agent:
            await proxy.start()
            for number in range(3):
                await proxy.add_route(f"/user/{number}/", ada.url, {})
                await asyncio.sleep(2.5)  # the tokens that only changes and watches use expire
            await agent.ready()
            assert await whoever_answers([agent], "/user/2/") == {"ada"}
            await proxy.stop()
        user = dataclasses.replace(etcd.settings, username="agent", password="agent-word")
        gateway = EtcdGateway(user)
        with pytest.raises(EtcdRefused, match="permission denied"):
            await gateway.transact(Transaction([], [put(b"/roles/table/head", b"{}")]), timeout=5)
        with pytest.raises(EtcdRefused, match="permission denied"):
            await gateway.range(b"/roles/leader", timeout=5)
        await gateway.close()
    assert "-word" not in caplog.text + agent.log.read_text()
