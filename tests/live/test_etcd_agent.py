"""An agent beside a real Traefik, with the routes in a real etcd, which a store writes as a Hub does."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from support.agents import AgentProcess
from support.backend import Backend, get
from support.certificates import Pair, make_certificate
from support.etcd import Etcd
from support.etcd_stores import etcd_store
from support.fixtures import BackendMaker
from support.ports import free_port
from support.waiting import PATIENCE, eventually, meanwhile

from traefik_toml_proxy.errors import CommitFailed, EtcdUnreachable
from traefik_toml_proxy.routes import Change, Route, RouteTable, Snapshot
from traefik_toml_proxy.stores.etcd_gateway import EtcdGateway
from traefik_toml_proxy.stores.etcd_messages import Outcome, Transaction
from traefik_toml_proxy.stores.etcd_store import EtcdStore
from traefik_toml_proxy.stores.etcd_table import Keys, Report, read_report


@pytest.fixture
def root() -> str:
    """Keys that no other test has."""
    return f"/test/{secrets.token_hex(4)}"


@pytest_asyncio.fixture
async def store(etcd: Etcd, root: str) -> AsyncIterator[EtcdStore]:
    """The store of a Hub."""
    store = etcd_store(etcd.settings, root)
    await store.open()
    yield store
    await store.close()


def table_to(backend: Backend, *names: str) -> RouteTable:
    """Return a table with a route ``/user/<name>/`` for each name."""
    return RouteTable(Route.checked(f"/user/{name}/", backend.url, {"user": name}) for name in names)


async def reports(etcd: Etcd, root: str) -> dict[str, Report]:
    """Return what the agents say in etcd."""
    keys, gateway = Keys.below(root), EtcdGateway(etcd.settings)
    try:
        found = await gateway.range(*keys.replicas, timeout=5)
    finally:
        await gateway.close()
    return {keys.replica_of(item.key): read_report(item.value) for item in found.found}


async def test_an_agent_serves_what_is_in_etcd(
    tmp_path: Path, etcd: Etcd, root: str, store: EtcdStore, make_backend: BackendMaker
) -> None:
    """From its start on, and after each change; it says in etcd which revision that is."""
    ada, bob = await make_backend("ada"), await make_backend("bob")
    await store.commit(Snapshot(1, table_to(ada, "ada")))
    async with AgentProcess(tmp_path, "one", etcd.settings, root) as agent:
        await agent.ready()
        assert (await get(agent.url, "/user/ada/")).by == "ada"
        await store.commit(Snapshot(2, table_to(bob, "bob")))

        async def says_so() -> bool:
            report = (await reports(etcd, root)).get("one")
            return report == Report(2, "/secret", agent.health_url, ready=True)

        await eventually(says_so)
        assert (await get(agent.url, "/user/bob/")).by == "bob"
        assert (await get(agent.url, "/user/ada/")).status == 404
        assert await agent.stop() == 0
    assert await reports(etcd, root) == {}


async def served_at(url: str) -> bytes | None:
    """Return the certificate that a new handshake shows; None if nobody listens."""
    where = urlsplit(url)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        _, writer = await asyncio.open_connection(where.hostname, where.port, ssl=context)
    except OSError:
        return None
    certificate: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return certificate


def der(pair: Pair) -> bytes:
    """Return the certificate as a handshake shows it."""
    return ssl.PEM_cert_to_DER_cert(pair.cert.read_text())


async def test_a_new_certificate_is_served_without_a_restart(
    tmp_path: Path, etcd: Etcd, root: str, store: EtcdStore, make_backend: BackendMaker
) -> None:
    """As soon as the key fits, and with no moment in which the replica is not ready. Later changes are served as before."""
    ada = await make_backend("ada")
    pair = make_certificate(tmp_path, "hub")
    await store.commit(Snapshot(1, table_to(ada, "ada")))
    url = f"https://127.0.0.1:{free_port()}"
    traits = {"public_url": url, "ssl_cert": str(pair.cert), "ssl_key": str(pair.key)}
    async with AgentProcess(tmp_path, "one", etcd.settings, root, **traits) as agent:
        await agent.ready()
        traefik = agent.traefik_pid
        assert await served_at(url) == der(pair)
        new, was_ready = make_certificate(tmp_path, "new"), []

        async def ask() -> None:
            while True:
                was_ready.append(await agent.is_ready())
                await asyncio.sleep(0.02)

        async with meanwhile(ask()):
            shutil.copy(new.cert, pair.cert)
            await eventually(lambda: "cannot be used" in agent.log.read_text(), within=20)
            assert await served_at(url) not in (None, der(new))
            shutil.copy(new.key, pair.key)

            await eventually(lambda: "is in service" in agent.log.read_text(), within=20)
            assert await served_at(url) == der(new)
            await store.commit(Snapshot(2, table_to(ada, "ada", "bob")))

            async def says_so() -> bool:
                return (await reports(etcd, root))["one"].revision == 2

            await eventually(says_so)
        assert {*was_ready} == {True}
        assert agent.traefik_pid == traefik
        assert (await get(url, "/user/bob/", tls=new.client())).by == "ada"
        copies = agent.state_dir / "certificates"
        await eventually(lambda: len([*copies.glob("*.pem")]) == 2, what="the copies of the old pair are gone")


async def test_an_agent_is_small(tmp_path: Path, etcd: Etcd, root: str, store: EtcdStore) -> None:
    """It takes at most 60 MiB with 1,400 routes, also after some changes."""
    table = RouteTable(
        Route.checked(f"/user/{number}/", f"http://127.0.0.1:{1000 + number}", {"user": str(number), "server_name": ""})
        for number in range(1400)
    )
    await store.commit(Snapshot(1, table))
    async with AgentProcess(tmp_path, "one", etcd.settings, root) as agent:
        await agent.ready()
        for revision in range(2, 5):
            table, _ = table.with_changes([Change(f"/user/{revision}/", None)])
            await store.commit(Snapshot(revision, table))
            await eventually(lambda: (agent.health() or {}).get("revision") == revision)  # noqa: B023
        status = Path(f"/proc/{agent.pid}/status").read_text()
        resident = int(status.partition("VmRSS:")[2].split()[0])
        print(f"the agent takes {resident / 1024:.1f} MiB")

    assert resident < 60 * 1024


def test_an_agent_imports_neither_jupyterhub_nor_what_reads_certificates() -> None:
    """The latter takes 10 MiB, and is needed at the start and for a new certificate only."""
    script = "import sys, traefik_toml_proxy.cli.agent, traefik_toml_proxy.cli.main; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert {"jupyterhub", "sqlalchemy", "tornado", "cryptography", "prometheus_client"} & {
        *done.stdout.split()
    } == set()


async def test_an_agent_that_starts_in_the_middle_of_a_change_serves_the_table_before(
    etcd: Etcd,
    root: str,
    store: EtcdStore,
    tmp_path: Path,
    make_backend: BackendMaker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The Hub may have died, and the change may never be completed."""
    ada = await make_backend("ada")
    await store.commit(Snapshot(1, table_to(ada, "ada")))
    with monkeypatch.context() as patched:
        patched.setattr(EtcdGateway, "transact", _dies_after_one(EtcdGateway.transact))
        with pytest.raises(CommitFailed):
            await store.commit(Snapshot(2, table_to(ada, *(str(number) for number in range(200)))))
    async with AgentProcess(tmp_path, "one", etcd.settings, root) as agent:
        await agent.ready()
        assert (await get(agent.url, "/user/ada/")).by == "ada"
        assert (await get(agent.url, "/user/1/")).by is None
        await store.commit(Snapshot(3, table_to(ada, "bob")))

        async def says_that_it_serves_it() -> bool:
            return (await reports(etcd, root))["one"].revision == 3

        await eventually(says_that_it_serves_it)
        assert await agent.is_ready()


def _dies_after_one(transact: Callable[..., Awaitable[Outcome]]) -> Callable[..., Awaitable[Outcome]]:
    """Return what does one transaction, and fails the next ones."""
    done: list[Transaction] = []

    async def dies(gateway: EtcdGateway, transaction: Transaction, *, timeout: float) -> Outcome:
        if done:
            raise EtcdUnreachable(gateway.location, "the Hub has died")
        done.append(transaction)
        return await transact(gateway, transaction, timeout=timeout)

    return dies


def test_an_agent_whose_certificates_for_etcd_cannot_be_read_ends_and_says_so(tmp_path: Path) -> None:
    """It could never reach etcd."""
    given = {
        "etcd_endpoints": "https://127.0.0.1:1",
        "etcd_ca": tmp_path / "missing.crt",
        "state_dir": tmp_path / "one",
    }
    arguments = [f"--AgentApp.{name}={value}" for name, value in given.items()]
    program = [sys.executable, "-m", "traefik_toml_proxy", "agent", *arguments]
    done = subprocess.run(program, capture_output=True, text=True, check=False, timeout=20 * PATIENCE)

    assert done.returncode == 1
    assert done.stderr.startswith("ConfigurationError: etcd_ca, etcd_cert and etcd_key cannot be used")
    assert done.stderr.count("\n") == 1
