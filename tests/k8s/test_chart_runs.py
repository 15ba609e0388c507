"""What charts/traefik-proxy renders, run as processes: an etcd of three members, three replicas, and a real Hub."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from e2e.person import Person
from k8s.use import Use, opened
from support.backend import get
from support.certificates import Authority, Pair, make_certificate
from support.charts import NAMESPACE, PUBLIC, needs_helm, render, the
from support.hub import RealHub
from support.other_user import open_folder
from support.pods.cluster import Cluster, Pod, running
from support.pods.hub import HubPod, check_version
from support.pods.network import VERSIONS, missing
from support.pods.service import Service, only
from support.waiting import PATIENCE, eventually, meanwhile, within

needs_helm()

_MISSING = missing()
pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.skipif(bool(_MISSING), reason=f"pods cannot be run here: {_MISSING}"),
]

# The default gives open requests more time.
VALUES: dict[str, Any] = {"termination": {"leaveSeconds": 8}}
NO_ROUTES = "etcd has not answered yet, and there are no routes on the disk"


@dataclass
class Stage:
    """Everything, running."""

    cluster: Cluster
    service: Service
    hub: RealHub
    members: list[Pod]

    @property
    def replicas(self) -> list[Pod]:
        """The replicas that run."""
        return [pod for pod in self.cluster.pods.values() if pod.container["name"] == "agent"]


async def _started(
    folder: Path,
    stack: contextlib.AsyncExitStack,
    values: Mapping[str, Any] = VALUES,
    files: Mapping[str, dict[str, bytes]] | None = None,
    tls: ssl.SSLContext | None = None,
    versions: Sequence[int] = VERSIONS,
) -> Stage:
    objects = render(values)
    running_cluster = running(folder, objects, namespace=NAMESPACE, versions=versions)
    cluster = await stack.enter_async_context(running_cluster)
    cluster.files |= files or {}
    selector = (
        PUBLIC if values.get("mode") == "replace" else the(objects, "Service", "traefik-proxy")["spec"]["selector"]
    )
    scheme = "https" if tls else "http"
    service = Service(cluster, selector, scheme, scheme=scheme)
    await stack.enter_async_context(service.open())
    hub_pod = HubPod(cluster, service.url, tls)
    members = await cluster.start_members()
    for _ in range(3):
        await cluster.start_replica("traefik-proxy")
    for member in members:
        await member.ready()
    hub = await stack.enter_async_context(hub_pod.running(lives_on=True))
    stage = Stage(cluster, service, hub, members)
    for replica in stage.replicas:
        await replica.ready()
    await eventually(lambda: len(service.known) == 3, what="the Service knows of all replicas")
    return stage


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    """The chart with its defaults, and a Hub with what the chart gives it."""
    with open_folder() as folder:
        async with contextlib.AsyncExitStack() as stack:
            yield await _started(folder, stack)


async def test_a_user_logs_in_and_computes(stage: Stage) -> None:
    """Over a websocket, and each connection goes to another replica."""
    person = Person(stage.hub.url, "grace")
    try:
        await person.log_in()
        await person.open(await person.wait_for_server())
        kernel = await person.start_kernel()
        assert await person.run(kernel, "print(6 * 7)") == "42\n"
    finally:
        await person.aclose()
    await check_version(stage.hub)
    for replica in stage.replicas:
        for address in stage.cluster.addresses_of(replica.name):
            _, writer = await stage.cluster.network.connect(address, 8000)
            writer.close()
        assert await replica.reached_at_localhost(8002)
    for pod in [*stage.replicas, *stage.members]:
        assert [await pod.probe(name) for name in ("startupProbe", "livenessProbe", "readinessProbe")] == [True] * 3
    assert [pod.name for pod in [*stage.replicas, *stage.members] if pod.restarts] == []
    # What the tests set for each Hub has no effect with this proxy, and it says so.
    complaints = [line for line in stage.hub.warnings if "etcd" in line or "Traefik" in line]
    assert [line for line in complaints if "has no effect with this proxy" not in line] == []


async def test_a_new_version_cuts_off_nobody(stage: Stage) -> None:
    """Each replica is replaced under load, with requests under way that take six seconds: none fails.

    A websocket or a download ends with the replica that it goes through, when that has let go of its users, and no sooner.
    """
    pid = await stage.hub.start_server("ada")
    use = Use()
    load = [use.go_on(stage.hub, "ada", pid) for _ in range(3)]
    load += [use.go_on(stage.hub, "ada", pid, seconds=6) for _ in range(3)]
    async with opened(stage.cluster, stage.replicas, "ada") as held, meanwhile(*load):
        left = dict(held)
        for old in stage.replicas:
            new = await stage.cluster.start_replica("traefik-proxy")
            await new.ready()
            ending = asyncio.create_task(old.end())
            for one in left.values():
                await one.goes_on()
            took = await ending
            assert took > 8
            await left.pop(old.name).has_ended()
            for one in left.values():
                await one.goes_on()
    assert use.failed == []
    assert use.requests > 200
    assert len(stage.replicas) == 3


async def test_each_pod_may_die(stage: Stage) -> None:
    """Members of etcd, a replica, all of etcd, the Hub; servers that are started meanwhile are reached at once.

    What is open through a replica that dies ends, and nothing else does.
    """
    hub = stage.hub
    pid = await hub.start_server("ada")
    async with opened(stage.cluster, stage.replicas, "ada") as held:
        with_one_frozen = stage.members[1]
        with_one_frozen.send(signal.SIGSTOP)
        began = asyncio.get_running_loop().time()
        await hub.start_server("bob")
        assert asyncio.get_running_loop().time() - began < 10 * PATIENCE
        with_one_frozen.send(signal.SIGCONT)

        killed = stage.replicas[0]
        killed.send(signal.SIGKILL)
        await held.pop(killed.name).has_ended()
        await eventually(lambda: killed not in stage.service.known, what="the Service has noticed")
        stage.members[0].send(signal.SIGKILL)
        use = Use()
        async with meanwhile(*(use.go_on(hub, "ada", pid) for _ in range(3))):
            await hub.start_server("eve")
            await killed.ready()  # its container was started again
            assert killed.restarts == 1
            await stage.members[0].ready()
            for member in stage.members[1:]:
                member.send(signal.SIGSTOP)
            alone = stage.members[0]
            await eventually(lambda: _is_not_ready(alone))
            assert await alone.probe("livenessProbe")  # to start it again would help nobody
            alone.send(signal.SIGSTOP)
            late = await stage.cluster.start_replica("traefik-proxy")
            assert await eventually(partial(_reason, stage, late), within=60) == NO_ROUTES
            before = use.requests
            await eventually(lambda: use.requests > before + 100, within=60)
            assert not late.is_ready
            for member in stage.members:
                member.send(signal.SIGCONT)
            await late.ready()
        assert use.failed == []
        await hub.kill_alone()
        for one in held.values():
            await one.goes_on()


async def test_no_answer_is_stale(stage: Stage) -> None:
    """Once a server is said to be there, all users reach it, also when a replica hangs just before, or joins."""
    hub, hung = stage.hub, stage.replicas[0]
    for hangs in (False, True, False):
        said = len(hub.log)
        joining = asyncio.create_task(stage.cluster.start_replica("traefik-proxy"))
        starting = asyncio.create_task(hub.start_server("ada"))
        if hangs:
            await eventually(partial(_says, hub, "Spawning", said))
            hung.send(signal.SIGSTOP)  # the agent; its Traefik goes on with the routes that it has
        pid = await starting
        found = [await hub.server_of("ada") for _ in range(60)]
        hung.send(signal.SIGCONT)
        assert found == [pid] * 60, hangs
        await (await joining).ready()
        await hung.ready()
        await hub.stop_server("ada")
    await eventually(lambda: len(stage.service.known) == 6)


def _says(hub: RealHub, text: str, after: int) -> bool:
    return text in hub.log[after:]


@pytest.mark.parametrize("version", VERSIONS[-1:], ids="IPv{} alone".format)
async def test_https_and_new_certificates(version: int) -> None:
    """With IPv6 alone, where this machine knows it.

    Plain http is sent to https. No new certificate needs a restart, not even another authority, but for etcd.
    """
    first, second = Authority("first"), Authority("second")
    both = first.certificate + second.certificate
    values = {"mode": "replace", "tls": {"secretName": "hub-tls"}, "etcd": {"tls": {"existingSecret": "etcd-pair"}}}
    with open_folder() as folder:
        pair = make_certificate(folder, "hub.example.org")
        files = secrets(first.certificate, first)
        files["hub-tls"] = {"tls.crt": pair.cert.read_bytes(), "tls.key": pair.key.read_bytes()}
        async with contextlib.AsyncExitStack() as stack:
            stage = await _started(folder, stack, VALUES | values, files, pair.client(), [version])
            plain = Service(stage.cluster, PUBLIC, "http")
            await stack.enter_async_context(plain.open())
            await eventually(lambda: plain.known)
            answer = await get(plain.url, "/hub//login?a=1")
            where = plain.url.replace("http:", "https:").rpartition(":")[0]
            assert (answer.status, answer.headers["location"]) == (302, f"{where}/hub//login?a=1")

            for trusted, authority in ((both, first), (both, second), (second.certificate, second)):
                for name, changed in secrets(trusted, authority).items():
                    stage.cluster.replace_files(name, changed)
                for member in stage.members:
                    restarts = member.restarts
                    member.send(signal.SIGKILL)
                    await eventually(partial(_has_started_again, member, restarts), within=60)
            await stage.hub.start_server("ada")

            renewed = make_certificate(folder, "renewed")
            tls = {"tls.crt": renewed.cert.read_bytes(), "tls.key": renewed.key.read_bytes()}
            stage.cluster.replace_files("hub-tls", tls)
            await eventually(partial(_all_show, stage, renewed), within=30)
            assert [replica.restarts for replica in stage.replicas] == [0, 0, 0]


def secrets(trusted: bytes, authority: Authority) -> dict[str, dict[str, bytes]]:
    """Return the Secrets for etcd and the Hub, with certificates from an authority."""
    members = [f"traefik-proxy-etcd-{number}.traefik-proxy-etcd.{NAMESPACE}.svc" for number in range(3)]
    etcd, hub = authority.pair(*members, "localhost"), authority.pair()
    return {"etcd-pair": {"ca.crt": trusted, **etcd}, "traefik-proxy-etcd-client": {"ca.crt": trusted, **hub}}


async def _all_show(stage: Stage, pair: Pair) -> bool:
    """Whether each replica shows a certificate that is trusted."""
    for replica in stage.replicas:
        async with only(stage.cluster, replica, "https", scheme="https") as url:
            try:
                await get(url, "/hub/login", tls=pair.client())
            except ssl.SSLError:
                return False
    return True


def _has_started_again(pod: Pod, restarts: int) -> bool:
    return pod.restarts > restarts and pod.is_ready


async def _is_not_ready(pod: Pod) -> bool:
    return not await pod.probe("readinessProbe")


async def _reason(stage: Stage, replica: Pod) -> str:
    """Return why a replica is not ready; "" if it does not answer yet."""
    try:
        reader, writer = await stage.cluster.network.connect(replica.address, 8002)
    except OSError:
        return ""
    writer.write(b"GET /readyz HTTP/1.0\r\n\r\n")
    answer = await within(10 * PATIENCE, reader.read())
    writer.close()
    return str(json.loads(answer.partition(b"\r\n\r\n")[2])["reason"])
