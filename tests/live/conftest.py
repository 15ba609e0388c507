"""Fixtures of the tests with a real Traefik and a real Hub."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from support.etcd import Etcd, running_etcd
from support.in_process import event_loop_kind, in_process, make_in_process, serve  # noqa: F401 - fixtures
from support.mock_hub import HubMaker, hub_config
from support.waiting import PATIENCE

from traefik_toml_proxy.runtime import diagnosis, live_looks


@pytest.fixture(autouse=True)
def patient_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks for why routes are not live may take longer on a busy machine; tests/unit/test_diagnosis.py has the limit."""
    for module, name in (
        *((diagnosis, name) for name in ("_LONGEST_LOOK", "_ANYWHERE_TIMEOUT")),
        *((live_looks, name) for name in ("_LIVE_SECONDS", "_REFUSED_SECONDS", "_TIMEOUT")),
    ):
        monkeypatch.setattr(module, name, getattr(module, name) * PATIENCE)


@pytest.fixture(scope="module")
def etcd_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of ``etcd``. No coroutine makes it: with as many folders as tests beside it, that takes long."""
    return tmp_path_factory.mktemp("etcd")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def etcd(etcd_folder: Path) -> AsyncIterator[Etcd]:
    """One member, for all tests of a module that leave it as it is."""
    async with running_etcd(etcd_folder) as running:
        yield running


@pytest_asyncio.fixture
async def make_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[HubMaker]:
    """Start Hubs in this process with our proxy."""
    mocking = pytest.importorskip(
        "jupyterhub.tests.mocking", reason="what JupyterHub's own tests need is not installed"
    )
    monkeypatch.chdir(tmp_path)
    hubs = []

    async def make(proxy_traits: Mapping[str, Any] | None = None, **traits: Any) -> Any:
        config = hub_config(tmp_path / "state")
        config.TraefikProxy.merge(proxy_traits or {})
        config.JupyterHub.merge(traits)
        hub = mocking.MockHub.instance(config=config)
        hubs.append(hub)
        await hub.initialize([])
        await hub.start()
        return hub

    yield make
    for hub in hubs:
        hub.log.handlers = []
        mocking.MockHub.clear_instance()
        await hub.stop()
