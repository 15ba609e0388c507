"""The conformance suite against TraefikTomlProxy, started by the Hub and started outside."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from traefik_toml_proxy.conformance import CASES, Result, StartedByHub, Subject
from traefik_toml_proxy.conformance.suite import ProxyConformance, Runner

PROXY = "traefik_toml_proxy:TraefikTomlProxy"
TRAEFIK = os.environ.get("TEST_TRAEFIK") or shutil.which("traefik") or str(Path(sys.executable).with_name("traefik"))

# Cases that Traefik itself fails; each is documented in the README.
NOT_BY_TRAEFIK = {
    *("messages.raw-semicolon", "messages.equivalent", "messages.reason-phrase", "messages.gateway-errors"),
    *("bodies.early-answer", "bodies.chunked-twice", "bodies.identity"),
}
CASES_FOR_TRAEFIK = tuple(case for case in CASES if case.id not in NOT_BY_TRAEFIK)


class TestStartedByHub(ProxyConformance):
    """With nothing set but proxy_class."""

    cases = CASES_FOR_TRAEFIK

    @pytest.fixture(scope="class")
    @classmethod
    def subject(cls) -> Subject:
        """The proxy, with the Traefik that all tests use."""
        return StartedByHub(PROXY, {"TraefikTomlProxy": {"traefik_command": [TRAEFIK]}})


class TestStartedOutside(ProxyConformance):
    """With a Traefik that is started outside of the Hub, with the settings that the README asks for."""

    cases = CASES_FOR_TRAEFIK

    @pytest.fixture(scope="class")
    @classmethod
    def subject(cls) -> Subject:
        """The proxy, and the Traefik that watches its file."""
        file = "{folder}/jupyterhub.toml"
        traits = {"should_start": False, "dynamic_config_file": file, "traefik_entrypoint": "web"}
        command = [
            TRAEFIK,
            "--entryPoints.web.address=127.0.0.1:{port}",
            "--entryPoints.web.http.sanitizePath=false",
            "--entryPoints.web.http.encodeQuerySemicolons=true",
            "--entryPoints.web.transport.respondingTimeouts.readTimeout=0s",
            "--providers.providersThrottleDuration=0s",
            "--providers.file.directory={folder}",
        ]
        return StartedByHub(PROXY, {"TraefikTomlProxy": traits}, command=command)


def test_nothing_that_a_killed_hub_started_is_left() -> None:
    """Not even if no other Hub takes it over, and its environment does not show that the suite has started it."""
    mark = f"TTP_TEST_KILLED={os.getpid()}"
    name, _, value = mark.partition("=")
    traits = {"traefik_command": [TRAEFIK], "traefik_env": {name: value}}
    (case,) = [case for case in CASES if case.id == "lifecycle.hub-away"]
    runner = Runner(StartedByHub(PROXY, {"TraefikTomlProxy": traits}))

    outcome = runner.run(case)
    runner.close()

    assert outcome.result is Result.PASSED
    assert [folder.name for folder in Path("/proc").iterdir() if folder.name.isdigit() and _has(folder, mark)] == []


def _has(process: Path, mark: str) -> bool:
    try:
        return mark.encode() in (process / "environ").read_bytes().split(b"\0")
    except OSError:
        return False
