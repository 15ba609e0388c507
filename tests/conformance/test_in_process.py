"""The conformance suite against InProcessProxy, on both event loops, and in a process of its own."""

from __future__ import annotations

import pytest

from traefik_toml_proxy.conformance import CASES, StartedByHub, Subject
from traefik_toml_proxy.conformance.suite import ProxyConformance

PROXY = "traefik_toml_proxy:InProcessProxy"

# A proxy in the Hub's process ends with it, and takes nothing over.
ENDS_WITH_THE_HUB = {"lifecycle.hub-away", "lifecycle.hub-back"}
CASES_HERE = tuple(case for case in CASES if case.id not in ENDS_WITH_THE_HUB)
# What depends on where the proxy runs. All other cases pass as well, but take a minute.
DIFFERS_APART = {"activity", "api", "changes", "failures", "lifecycle", "tls"}
TAKES_LONG = {"changes.others-lose-nothing", "tls.internal-ssl-unauthorized"}


class TestInProcess(ProxyConformance):
    """With nothing set but proxy_class, and with each event loop."""

    cases = CASES_HERE

    @pytest.fixture(scope="class", params=["asyncio", "uvloop"])
    @classmethod
    def subject(cls, request: pytest.FixtureRequest) -> Subject:
        """The proxy."""
        return StartedByHub(PROXY, {"InProcessProxy": {"event_loop": request.param}})


class TestApart(ProxyConformance):
    """In a process of its own, which goes on without the Hub. What concerns a single request is the same code."""

    cases = tuple(case for case in CASES if case.id.partition(".")[0] in DIFFERS_APART and case.id not in TAKES_LONG)

    @pytest.fixture(scope="class")
    @classmethod
    def subject(cls) -> Subject:
        """The proxy."""
        return StartedByHub("support.staying:StayingProxy", {"InProcessProxy": {"where": "process"}})
