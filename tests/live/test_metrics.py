"""A real Hub serves the metrics, with the files of examples/grafana; a real Prometheus runs the queries of the dashboard."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.backend import get
from support.certificates import make_certificate
from support.examples import EXAMPLES, install
from support.fixtures import BackendMaker, ProxyMaker
from support.in_process import InProcessMaker, connect
from support.inside import traefik_pid
from support.mock_hub import HubMaker, ask, needs_mock_hub, start_server
from support.ports import free_port
from support.prometheus import Prometheus, needs_prometheus
from support.waiting import PATIENCE, eventually
from traitlets.config.loader import PyFileConfigLoader

from traefik_toml_proxy.metrics import hub_metrics

pytestmark = pytest.mark.timeout(90)

_TOKEN = "0123456789abcdef" * 4
_OURS = "traefik_toml_proxy_"


@pytest.fixture
def token(tmp_path: Path) -> Path:
    """The file with the token of Prometheus."""
    token = tmp_path / "token"
    token.write_text(_TOKEN)
    return token


@pytest.fixture
def hub_traits(token: Path, tmp_path: Path) -> dict[str, Any]:
    """The settings of the example."""
    file = install("grafana/jupyterhub_config.py", tmp_path, changes={"/etc/jupyterhub/prometheus-token": token})
    return dict(PyFileConfigLoader(file.name, str(tmp_path)).load_config().JupyterHub)


async def read(hub: Any) -> Mapping[str, float]:
    """Return what the Hub serves of ours, by name."""
    answer = await ask(hub, "hub/metrics", Authorization=f"Bearer {_TOKEN}")
    assert answer.status == 200
    families = text_string_to_metric_families(answer.body.decode())
    return {
        sample.name.removeprefix(_OURS): sample.value
        for family in families
        for sample in family.samples
        if sample.name.startswith(_OURS)
    }


@needs_mock_hub
async def test_the_hub_serves_them(make_hub: HubMaker, hub_traits: dict[str, Any]) -> None:
    """With the token of the example, and with no other. They say what goes on."""
    hub = await make_hub(**hub_traits)
    before = await read(hub)
    await start_server(hub, "ada")
    after = await read(hub)

    assert (await ask(hub, "hub/metrics")).status == 403
    assert after["routes"] == len(await hub.proxy.get_all_routes()) == 2
    assert after["revision"] == after["live_revision"] > before["revision"]
    growing = ("commits_total", "batch_changes_sum", "change_live_seconds_count")
    assert [after[name] - before[name] for name in growing] == [1, 1, 1]
    assert 0 < after["change_live_seconds_sum"] - before["change_live_seconds_sum"] < 10 * PATIENCE


async def test_what_goes_wrong_is_counted(
    make_proxy: ProxyMaker, make_backend: BackendMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repair, a restart of Traefik and a request that failed."""
    counted: list[str] = []
    monkeypatch.setattr(hub_metrics(), "count", lambda event: counted.append(event.name))
    backend = await make_backend("hub")
    proxy = make_proxy(hub=SimpleNamespace(host=backend.url, base_url="/hub/", routespec="/"))
    await proxy.start()
    await proxy.add_route("/", backend.url, {})
    await proxy.add_route("/user/ada/", f"http://127.0.0.1:{free_port()}", {})
    await get(proxy.public_url, "/user/ada/")
    await eventually(lambda: counted)
    (tmp_path / "state" / "dynamic.toml").unlink()
    await eventually(lambda: "REPAIR" in counted)
    os.kill(traefik_pid(proxy), signal.SIGKILL)
    await eventually(lambda: "RESTART" in counted)

    # What is repaired is written once more if it takes seconds to be live.
    assert list(dict.fromkeys(counted)) == ["REQUEST_FAILED", "REPAIR", "RESTART"]


def queries() -> list[str]:
    """Return the queries of the dashboard, with what Grafana puts in place of its variables."""
    dashboard = json.loads(EXAMPLES.joinpath("grafana/dashboard.json").read_text())
    found = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    return [re.sub(r"\$(job|instance)", ".*", each).replace("$__rate_interval", "10s") for each in found]


@needs_mock_hub
@needs_prometheus
async def test_each_query_of_the_dashboard_finds_something(
    make_hub: HubMaker,
    hub_traits: dict[str, Any],
    make_proxy: ProxyMaker,
    make_in_process: InProcessMaker,
    token: Path,
    tmp_path: Path,
) -> None:
    """In what Prometheus gets from the Hub; and the queries use each of the metrics."""
    hub = await make_hub(**hub_traits)
    # In the same process, for a certificate, and for what only the proxy inside the Hub knows.
    other = make_proxy(
        public_url=f"https://127.0.0.1:{free_port()}",
        state_dir=str(tmp_path / "other"),
        **make_certificate(tmp_path, "other").traits,
    )
    await other.start()
    in_process = make_in_process()
    await in_process.start()
    async with connect(in_process) as connection:
        await connection.request("GET", "/")
    config = install(
        "grafana/prometheus.yml",
        tmp_path,
        changes={
            "/etc/prometheus/jupyterhub-token": token,
            "/hub/metrics": "/@/space word/hub/metrics",
            "scheme: https": "scheme: http",
            "hub.example.org": hub.proxy.public_url.split("/")[2],
            "scrape_interval: 15s": "scrape_interval: 500ms",
        },
    )
    wanted = queries()
    async with Prometheus(config, tmp_path) as prometheus:
        number = 0

        async def all_found() -> bool:
            nonlocal number
            number += 1
            await hub.proxy.add_route("/@/space%20word/user/ada/", f"http://127.0.0.1:{number}", {})
            return all([await prometheus.query(each) for each in wanted])

        await eventually(all_found, within=30)
        assert await prometheus.query("no_such_metric") == []

    names = {name.removeprefix(_OURS) for name in await read(hub)}
    used = {
        re.sub(r"_(bucket|sum|count|total)$", "", name)
        for each in wanted
        for name in re.findall(rf"{_OURS}(\w+)", each)
    }
    assert {re.sub(r"_(bucket|sum|count|total|created)$", "", name) for name in names} == used
