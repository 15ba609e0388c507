"""The conformance suite against InProcessProxy, on both event loops."""

from __future__ import annotations

import pytest

from traefik_toml_proxy.conformance import CASES, StartedByHub, Subject
from traefik_toml_proxy.conformance.suite import ProxyConformance

PROXY = "traefik_toml_proxy:InProcessProxy"

# A proxy in the Hub's process ends with it, and takes nothing over.
ENDS_WITH_THE_HUB = {"lifecycle.hub-away", "lifecycle.hub-back"}
CASES_HERE = tuple(case for case in CASES if case.id not in ENDS_WITH_THE_HUB)


class TestInProcess(ProxyConformance):
    """With nothing set but proxy_class, and with each event loop."""

    cases = CASES_HERE

    @pytest.fixture(scope="class", params=["asyncio", "uvloop"])
    @classmethod
    def subject(cls, request: pytest.FixtureRequest) -> Subject:
        """The proxy."""
        return StartedByHub(PROXY, {"InProcessProxy": {"event_loop": request.param}})
