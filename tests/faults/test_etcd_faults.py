"""Routes in etcd when something fails: etcd, an agent, a Traefik, the network between them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from support.agents import LEASE_SECONDS, AgentProcess
from support.backend import get
from support.etcd import Etcd, running_etcd
from support.fixtures import BackendMaker
from support.processes import alive
from support.relay import Relay
from support.waiting import PATIENCE, eventually, within

from traefik_toml_proxy import TraefikEtcdProxy
from traefik_toml_proxy.agent.session import _WRITE_SECONDS
from traefik_toml_proxy.errors import RouteNotLive
from traefik_toml_proxy.stores.etcd_settings import EtcdSettings

ROOT = "/jupyterhub"


@pytest_asyncio.fixture
async def etcd(tmp_path: Path) -> AsyncIterator[Etcd]:
    """One member."""
    async with running_etcd(tmp_path) as running:
        yield running


@pytest_asyncio.fixture
async def proxy(etcd: Etcd) -> AsyncIterator[TraefikEtcdProxy]:
    """A proxy that has been started."""
    endpoints = list(etcd.settings.endpoints)
    proxy = TraefikEtcdProxy(
        etcd_endpoints=endpoints,
        lease_seconds=LEASE_SECONDS,
        start_timeout=0,
        check_route_timeout=10 * LEASE_SECONDS,
        log=logging.getLogger("hub"),
    )
    await proxy.start()
    yield proxy
    await proxy.stop()


AgentMaker = Callable[..., "AgentProcess"]


@pytest_asyncio.fixture
async def make_agent(tmp_path: Path, etcd: Etcd) -> AsyncIterator[Callable[..., AgentProcess]]:
    """Make agents; each is stopped at the end."""
    async with contextlib.AsyncExitStack() as stack:

        def make(name: str = "one", settings: EtcdSettings | None = None, **traits: object) -> AgentProcess:
            agent = AgentProcess(tmp_path, name, settings or etcd.settings, ROOT, **traits)
            stack.push_async_exit(agent.__aexit__)
            return agent

        yield make


async def served_by(agent: AgentProcess, path: str = "/user/ada/") -> str | None:
    """Return which backend answers; None also if nobody does."""
    try:
        return (await get(agent.url, path)).by
    except OSError:
        return None


async def test_with_etcd_down_all_routes_stay_and_an_add_waits(
    etcd: Etcd, proxy: TraefikEtcdProxy, make_agent: AgentMaker, make_backend: BackendMaker
) -> None:
    """The replica stays ready, and its Traefik can be restarted. When etcd is back, the add is done."""
    ada, agent = await make_backend("ada"), make_agent()
    await agent.start()
    await proxy.add_route("/user/ada/", ada.url, {})
    await agent.ready()
    etcd.members[0].kill()
    adding = asyncio.ensure_future(proxy.add_route("/user/bob/", ada.url, {}))
    down = time.monotonic() + 1.5 * LEASE_SECONDS
    while time.monotonic() < down:
        assert await agent.is_ready()
        assert await served_by(agent) == "ada"
        await asyncio.sleep(0.05)
    os.kill(agent.traefik_pid, signal.SIGKILL)
    await eventually(lambda: served_by(agent), what="Traefik serves from its disk")
    assert not adding.done()
    etcd.restart(etcd.members[0])
    await within(20 * PATIENCE, adding)

    assert await served_by(agent, "/user/bob/") == "ada"


async def test_an_agent_that_is_started_without_etcd_serves_from_its_disk(
    etcd: Etcd, proxy: TraefikEtcdProxy, make_agent: AgentMaker, make_backend: BackendMaker
) -> None:
    """It is ready after the time that is set, and follows etcd when that is back."""
    ada, agent = await make_backend("ada"), make_agent(offline_seconds=2)
    await agent.start()
    await proxy.add_route("/user/ada/", ada.url, {})
    await agent.ready()
    await agent.stop()
    etcd.members[0].kill()
    await agent.start()
    await eventually(lambda: served_by(agent))
    await agent.ready()
    etcd.restart(etcd.members[0])
    await within(20 * PATIENCE, proxy.add_route("/user/bob/", ada.url, {}))

    assert await served_by(agent, "/user/bob/") == "ada"


async def test_an_agent_without_etcd_and_without_routes_is_not_ready(etcd: Etcd, make_agent: AgentMaker) -> None:
    """As in a container with an empty disk: a balancer must not send anybody there. Nor after it was started again."""
    etcd.members[0].kill()
    agent = make_agent(offline_seconds=0)

    async def says_why() -> bool:
        answer = await asyncio.to_thread(agent.health)
        return answer is not None and (answer["status"], answer["reason"]) == (503, reason)

    reason = "etcd has not answered yet, and there are no routes on the disk"
    for _ in range(2):
        await agent.start()
        await eventually(says_why)
        await agent.stop()


async def test_the_hub_waits_for_a_dead_agent_no_longer_than_its_lease(
    proxy: TraefikEtcdProxy, make_agent: AgentMaker, make_backend: BackendMaker
) -> None:
    """Then it goes on with the others."""
    ada, one, two = await make_backend("ada"), make_agent("one"), make_agent("two")
    await one.start()
    await two.start()
    await proxy.add_route("/", ada.url, {})
    await one.ready()
    await two.ready()
    await two.end(signal.SIGKILL)
    os.kill(two.traefik_pid, signal.SIGKILL)
    began = time.monotonic()
    await proxy.add_route("/user/ada/", ada.url, {})

    assert time.monotonic() - began < LEASE_SECONDS + 2 * PATIENCE
    assert await served_by(one) == "ada"


def _renewed_alone(etcd: Etcd) -> bool:
    return _names_of_replicas(etcd) == ["two"]


@pytest.mark.parametrize("knows_nobody", [False, True])
async def test_a_frozen_agent_that_thaws_is_not_ready_until_it_has_caught_up(
    etcd: Etcd,
    proxy: TraefikEtcdProxy,
    make_agent: AgentMaker,
    make_backend: BackendMaker,
    knows_nobody: bool,
) -> None:
    """Meanwhile its Traefik serves what has been deleted: nobody must be sent there."""
    ada, eve, one, two = await make_backend("ada"), await make_backend("eve"), make_agent("one"), make_agent("two")
    await one.start()
    await two.start()
    await proxy.add_route("/", ada.url, {})
    await proxy.add_route("/user/eve/", eve.url, {})
    await one.ready()
    await two.ready()
    if knows_nobody:
        # Its peer has gone when it renews its lease for the last time, and is back when the route is deleted.
        await one.stop()
        await eventually(lambda: _renewed_alone(etcd))
        await asyncio.sleep(LEASE_SECONDS / 3)
        two.send(signal.SIGSTOP)
        await one.start()
        await one.ready()
    else:
        two.send(signal.SIGSTOP)
    await proxy.delete_route("/user/eve/")
    assert await served_by(one, "/user/eve/") == "ada"
    assert await served_by(two, "/user/eve/") == "eve"
    two.send(signal.SIGCONT)
    seen = []

    async def is_ready() -> bool:
        ready = await two.is_ready()
        seen.append((ready, await served_by(two, "/user/eve/")))
        return ready

    await eventually(is_ready, within=15)

    assert (True, "eve") not in seen
    assert seen[-1] == (True, "ada")
    assert "Another agent" not in two.log.read_text()


async def test_a_killed_traefik_is_restarted_and_the_hub_goes_on(
    proxy: TraefikEtcdProxy, make_agent: AgentMaker, make_backend: BackendMaker
) -> None:
    ada, agent = await make_backend("ada"), make_agent()
    await agent.start()
    await proxy.add_route("/user/ada/", ada.url, {})
    await agent.ready()
    for number in range(3):
        os.kill(agent.traefik_pid, signal.SIGKILL)
        await within(10 * PATIENCE, proxy.add_route(f"/user/{number}/", ada.url, {}))
        assert await served_by(agent, f"/user/{number}/") == "ada"
    await agent.ready()


async def test_a_killed_traefik_is_started_again_once_the_balancer_has_noticed(
    proxy: TraefikEtcdProxy, make_agent: AgentMaker, make_backend: BackendMaker
) -> None:
    """A new Traefik listens before it has loaded the routes, and answers 404 until then: nobody must be sent there."""
    leave = 2 * PATIENCE
    ada, one, two = await make_backend("ada"), make_agent("one", leave_seconds=leave), make_agent("two")
    await one.start()
    await two.start()
    await proxy.add_route("/user/ada/", ada.url, {})
    await one.ready()
    await two.ready()
    await asyncio.sleep(LEASE_SECONDS / 3)  # now each knows of the other
    os.kill(one.traefik_pid, signal.SIGKILL)
    began, unready, listens = time.monotonic(), None, None
    while listens is None:
        is_ready = await one.is_ready()
        now = time.monotonic() - began
        if not is_ready:
            unready = unready or now
        with contextlib.suppress(OSError):
            await get(one.url, "/user/ada/")
            listens = time.monotonic() - began
        assert now < 20 * PATIENCE
    assert unready is not None
    assert (unready < PATIENCE, listens - unready > 0.75 * leave, is_ready) == (True, True, False)
    await one.ready()
    assert await served_by(one) == "ada"


async def test_a_replica_that_was_killed_comes_back_once_the_balancer_has_noticed(
    proxy: TraefikEtcdProxy, make_agent: AgentMaker, make_backend: BackendMaker
) -> None:
    """Its agent is started again at once, but not its Traefik, unless no other agent answers."""
    leave = 2 * PATIENCE
    ada, agents = await make_backend("ada"), [make_agent(name, leave_seconds=leave) for name in ("one", "two")]
    one, two = agents
    for agent in agents:
        await agent.start()
    await proxy.add_route("/user/ada/", ada.url, {})
    for agent in agents:
        await agent.ready()
    await eventually((one.state_dir / "other-agents.json").exists)
    await _kill_both(one)
    began = time.monotonic()
    await one.start()
    await eventually(lambda: _listens(one))
    assert time.monotonic() - began > leave
    await one.ready()
    assert await served_by(one) == "ada"

    await _kill_both(two)
    await _kill_both(one)
    await one.start()
    await one.ready()
    assert one.log.read_text().count("Others serve the routes") == 1


async def _listens(agent: AgentProcess) -> bool:
    with contextlib.suppress(OSError):
        await get(agent.url, "/user/ada/")
        return True
    return False


async def _kill_both(agent: AgentProcess) -> None:
    traefik = agent.traefik_pid
    await agent.end(signal.SIGKILL)
    os.kill(traefik, signal.SIGKILL)
    await eventually(lambda: not alive(traefik))


async def test_the_hub_goes_on_without_a_replica_whose_traefik_is_frozen(
    etcd: Etcd, proxy: TraefikEtcdProxy, make_agent: AgentMaker, make_backend: BackendMaker
) -> None:
    """Not before the balancer can have noticed; and the replica is not ready again before it serves what has changed."""
    ada, eve = await make_backend("ada"), await make_backend("eve")
    leave = 2 * PATIENCE
    one, two = make_agent("one", leave_seconds=leave), make_agent("two")
    await one.start()
    await two.start()
    await proxy.add_route("/", ada.url, {})
    await proxy.add_route("/user/eve/", eve.url, {})
    await one.ready()
    await two.ready()
    os.kill(one.traefik_pid, signal.SIGSTOP)
    deleting = asyncio.ensure_future(proxy.delete_route("/user/eve/"))
    await eventually(lambda: _is_unready(one))
    unready = time.monotonic()
    assert not deleting.done()
    await within(20 * PATIENCE, deleting)
    assert time.monotonic() - unready > 0.75 * leave
    assert _names_of_replicas(etcd) == ["two"]
    assert await served_by(two, "/user/eve/") == "ada"
    os.kill(one.traefik_pid, signal.SIGCONT)
    seen = []

    async def is_ready() -> bool:
        ready = await one.is_ready()
        seen.append((ready, await served_by(one, "/user/eve/")))
        return ready

    await eventually(is_ready, within=15)
    assert (True, "eve") not in seen
    assert _names_of_replicas(etcd) == ["one", "two"]
    await proxy.add_route("/user/bob/", eve.url, {})
    assert [await served_by(agent, "/user/bob/") for agent in (one, two)] == ["eve", "eve"]


async def test_the_hub_goes_on_without_a_replica_that_cannot_write_the_routes(
    etcd: Etcd, proxy: TraefikEtcdProxy, make_agent: AgentMaker, make_backend: BackendMaker
) -> None:
    """As with a full disk. It is not ready before that, and ready again when it can. If others cannot either, all stay."""
    ada = await make_backend("ada")
    one, two = make_agent("one", leave_seconds=1), make_agent("two")
    await one.start()
    await two.start()
    await proxy.add_route("/user/ada/", ada.url, {})
    await one.ready()
    await two.ready()
    new_versions = one.state_dir / "dynamic.toml.tmp"
    shutil.rmtree(new_versions)
    new_versions.write_text("")
    deleting = asyncio.ensure_future(proxy.delete_route("/user/ada/"))
    while await one.is_ready():
        assert not deleting.done()
    unready = time.monotonic()
    await within(20 * PATIENCE, deleting)
    assert time.monotonic() - unready > 0.9
    assert _names_of_replicas(etcd) == ["two"]
    await within(5 * PATIENCE, proxy.add_route("/user/bob/", ada.url, {}))
    assert [await agent.is_ready() for agent in (one, two)] == [False, True]
    assert one.log.read_text().count("could not be written") <= 2
    new_versions.unlink()
    await one.ready()
    assert [await served_by(one, path) for path in ("/user/ada/", "/user/bob/")] == [None, "ada"]
    assert _names_of_replicas(etcd) == ["one", "two"]


async def test_if_no_replica_can_write_the_routes_all_stay_ready(
    proxy: TraefikEtcdProxy, make_agent: AgentMaker, make_backend: BackendMaker
) -> None:
    """What they have is better than nothing; the Hub is told that its changes are not live."""
    ada, agents = await make_backend("ada"), [make_agent("one"), make_agent("two")]
    for agent in agents:
        await agent.start()
    await proxy.add_route("/user/ada/", ada.url, {})
    for agent in agents:
        await agent.ready()
        shutil.rmtree(agent.state_dir / "dynamic.toml.tmp")
        (agent.state_dir / "dynamic.toml.tmp").write_text("")
    proxy._session.publisher._live_timeout = _WRITE_SECONDS + 5  # type: ignore[union-attr]
    with pytest.raises(RouteNotLive):
        await proxy.add_route("/user/bob/", ada.url, {})

    assert [await agent.is_ready() for agent in agents] == [True, True]
    assert [await served_by(agent) for agent in agents] == ["ada", "ada"]


async def _is_unready(agent: AgentProcess) -> bool:
    return not await agent.is_ready()


def _names_of_replicas(etcd: Etcd) -> list[str]:
    keys = etcd.control("get", "--prefix", f"{ROOT}/replicas/", "--keys-only").split()
    return [key.rpartition("/")[2] for key in keys]


async def test_of_two_agents_with_one_name_the_older_one_is_not_ready(
    proxy: TraefikEtcdProxy, make_agent: AgentMaker, make_backend: BackendMaker
) -> None:
    """The Hub waits for one of that name only. The older one says why, and takes over when the younger one has gone."""
    ada = await make_backend("ada")
    older, younger = make_agent("older", replica_name="same"), make_agent("younger", replica_name="same")
    await older.start()
    await proxy.add_route("/user/ada/", ada.url, {})
    await older.ready()
    await younger.start()
    await younger.ready()
    await eventually(lambda: _is_unready(older))
    answer = older.health()
    assert answer is not None
    assert answer["reason"] == "another agent has the same replica_name"
    for number in range(3):
        await proxy.add_route(f"/user/{number}/", ada.url, {})
        await asyncio.sleep(LEASE_SECONDS / 4)  # of which a renewal takes a sixth
        assert [await older.is_ready(), await younger.is_ready()] == [False, True]
    await younger.stop()
    await older.ready()

    assert await served_by(older, "/user/2/") == "ada"
    assert older.log.read_text().count("Another agent has the name of this one, 'same'") == 1


async def test_users_do_not_notice_that_etcd_was_exchanged(
    etcd: Etcd, proxy: TraefikEtcdProxy, make_agent: AgentMaker, make_backend: BackendMaker
) -> None:
    """It has lost all its data. The Hub writes the table again within seconds, and changes are live again."""
    ada, agent = await make_backend("ada"), make_agent()
    await agent.start()
    for number in range(50):
        await proxy.add_route(f"/user/{number}/", ada.url, {"n": number})
    await agent.ready()
    answers = []

    async def ask() -> None:
        while True:
            answers.append((await served_by(agent, "/user/7/"), await agent.is_ready()))

    asking = asyncio.create_task(ask())
    etcd.empty()
    await etcd.ready()
    began = time.monotonic()
    await eventually(
        lambda: etcd.control("get", "--prefix", f"{ROOT}/table/routes/", "--keys-only").count("/user/") == 50
    )
    took = time.monotonic() - began
    await within(10 * PATIENCE, proxy.add_route("/user/late/", ada.url, {}))
    asking.cancel()

    assert took < 3 * PATIENCE
    assert await served_by(agent, "/user/late/") == "ada"
    assert {*answers} == {("ada", True)}


async def test_an_agent_that_is_cut_off_from_etcd_is_not_ready_before_the_hub_goes_on(
    etcd: Etcd, proxy: TraefikEtcdProxy, make_agent: AgentMaker, make_backend: BackendMaker
) -> None:
    """It is ready again soon after it is no longer cut off."""
    ada, eve = await make_backend("ada"), await make_backend("eve")
    async with Relay(urlsplit(etcd.members[0].url).port or 0) as relay:
        one, two = make_agent("one"), make_agent("two", EtcdSettings(endpoints=(relay.url,)))
        await one.start()
        await two.start()
        await proxy.add_route("/", ada.url, {})
        await proxy.add_route("/user/eve/", eve.url, {})
        await one.ready()
        await two.ready()
        relay.is_silent = True
        deleting = asyncio.ensure_future(proxy.delete_route("/user/eve/"))
        while await two.is_ready():
            assert not deleting.done()
        await within(20 * PATIENCE, deleting)
        assert not await two.is_ready()
        assert await one.is_ready()
        relay.is_silent = False
        relay.cut()
        await two.ready()
        assert await served_by(two, "/user/eve/") == "ada"


async def test_an_agent_that_is_cut_off_alone_and_started_again_does_not_serve_what_is_on_its_disk(
    etcd: Etcd, proxy: TraefikEtcdProxy, make_agent: AgentMaker, make_backend: BackendMaker
) -> None:
    """It asks the others that it knows from before: they follow etcd, and the Hub waits for them only."""
    ada, eve = await make_backend("ada"), await make_backend("eve")
    async with Relay(urlsplit(etcd.members[0].url).port or 0) as relay:
        one, two = make_agent("one"), make_agent("two", EtcdSettings(endpoints=(relay.url,)), offline_seconds=1)
        await one.start()
        await two.start()
        await proxy.add_route("/", ada.url, {})
        await proxy.add_route("/user/eve/", eve.url, {})
        await one.ready()
        await two.ready()
        await eventually((two.state_dir / "other-agents.json").exists)
        relay.is_silent = True
        await two.stop()
        await two.start()
        await proxy.delete_route("/user/eve/")

        async def says_why() -> bool:
            answer = await asyncio.to_thread(two.health)
            assert answer is None or answer["status"] == 503
            return answer is not None and "it answers another agent" in answer["reason"]

        await eventually(says_why)
        assert await served_by(two, "/user/eve/") == "eve"
        _reconnect(relay)
        await two.ready()
        assert await served_by(two, "/user/eve/") == "ada"


async def test_if_all_agents_are_cut_off_they_stay_ready(
    etcd: Etcd, make_agent: AgentMaker, make_backend: BackendMaker
) -> None:
    """Users keep their servers; the Hub is told that its changes are not live."""
    ada = await make_backend("ada")
    async with Relay(urlsplit(etcd.members[0].url).port or 0) as relay:
        proxy = TraefikEtcdProxy(etcd_endpoints=list(etcd.settings.endpoints), check_route_timeout=30, lease_seconds=5)
        behind = EtcdSettings(endpoints=(relay.url,))
        one, two = make_agent("one", behind), make_agent("two", behind)
        await one.start()
        await two.start()
        await proxy.start()
        await proxy.add_route("/user/ada/", ada.url, {})
        await one.ready()
        await two.ready()
        relay.is_silent = True
        proxy._session.publisher._live_timeout = 2 * LEASE_SECONDS  # type: ignore[union-attr]
        with pytest.raises(RouteNotLive):
            await proxy.add_route("/user/bob/", ada.url, {})
        assert [await one.is_ready(), await two.is_ready()] == [True, True]
        relay.is_silent = False
        relay.cut()
        await within(20 * PATIENCE, proxy.add_route("/user/cleo/", ada.url, {}))
        for agent in (one, two):  # one of them may be back first
            await agent.ready()
            await eventually(partial(served_by, agent, "/user/bob/"))
        await proxy.stop()


@contextlib.asynccontextmanager
async def cut_off(etcd: Etcd, make_agent: AgentMaker) -> AsyncIterator[list[tuple[AgentProcess, Relay]]]:
    """Run two agents, each with its own way to etcd."""
    port = urlsplit(etcd.members[0].url).port or 0
    async with Relay(port) as first, Relay(port) as second:
        both = [
            (make_agent(name, EtcdSettings(endpoints=(relay.url,))), relay)
            for name, relay in (("one", first), ("two", second))
        ]
        for agent, _ in both:
            await agent.start()
        yield both


async def _without_etcd(etcd: Etcd, both: list[tuple[AgentProcess, Relay]]) -> None:
    """Cut them off until the Hub waits for neither; both are ready all the same."""
    for _, relay in both:
        relay.is_silent = True
    await eventually(lambda: etcd.control("get", "--prefix", f"{ROOT}/replicas/") == "", within=LEASE_SECONDS + 5)
    assert [await agent.is_ready() for agent, _ in both] == [True, True]


def _reconnect(relay: Relay) -> None:
    relay.is_silent = False
    relay.cut()


async def test_when_all_were_cut_off_the_hub_goes_on_when_none_is_ready_that_still_is(
    etcd: Etcd, proxy: TraefikEtcdProxy, make_agent: AgentMaker, make_backend: BackendMaker
) -> None:
    """One is back; the other one must be out of readiness before, and long enough for a balancer to notice."""
    ada, eve = await make_backend("ada"), await make_backend("eve")
    async with cut_off(etcd, make_agent) as ((one, way), (two, other)):
        await proxy.add_route("/", ada.url, {})
        await proxy.add_route("/user/eve/", eve.url, {})
        await one.ready()
        await two.ready()
        await _without_etcd(etcd, [(one, way), (two, other)])
        deleting = asyncio.ensure_future(proxy.delete_route("/user/eve/"))
        _reconnect(way)
        while await two.is_ready():
            assert not deleting.done()
        out = time.monotonic()
        await within(3 * LEASE_SECONDS, deleting)

        assert time.monotonic() - out > 0.5 * LEASE_SECONDS
        assert not await two.is_ready()
        assert await served_by(one, "/user/eve/") == "ada"
        await one.ready()


async def test_when_all_were_cut_off_and_are_back_the_hub_waits_for_no_lease(
    etcd: Etcd, proxy: TraefikEtcdProxy, make_agent: AgentMaker, make_backend: BackendMaker
) -> None:
    """And when it goes on, no replica is ready that serves what was deleted."""
    ada, eve = await make_backend("ada"), await make_backend("eve")
    async with cut_off(etcd, make_agent) as both:
        await proxy.add_route("/", ada.url, {})
        await proxy.add_route("/user/eve/", eve.url, {})
        for agent, _ in both:
            await agent.ready()
        await _without_etcd(etcd, both)
        deleting = asyncio.ensure_future(proxy.delete_route("/user/eve/"))
        back = time.monotonic()
        for _, relay in both:
            _reconnect(relay)
        await within(3 * LEASE_SECONDS, deleting)
        took = time.monotonic() - back
        for agent, _ in both:
            assert await served_by(agent, "/user/eve/") == "ada" or not await agent.is_ready()
        for agent, _ in both:
            await agent.ready()
            assert await served_by(agent, "/user/eve/") == "ada"

    assert took < 0.9 * LEASE_SECONDS
