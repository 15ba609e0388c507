"""traefik_toml_proxy.metrics: what is counted, and under which names."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from pathlib import Path

import pytest
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest

from traefik_toml_proxy.metrics import PrometheusMetrics, hub_metrics
from traefik_toml_proxy.seams import NO_METRICS, Event, Metrics, Traffic


@pytest.fixture
def registry() -> CollectorRegistry:
    """A registry without anything else."""
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> Metrics:
    """Metrics to which nothing has happened."""
    return PrometheusMetrics(registry)


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    """Return the value of a sample, or None."""
    return registry.get_sample_value(f"traefik_toml_proxy_{name}", labels)


def test_a_commit(metrics: Metrics, registry: CollectorRegistry) -> None:
    """A repair is a commit, but no batch."""
    metrics.committed(7, 3, 2)
    metrics.committed(8, 3, 0)

    names = ("revision", "routes", "commits_total", "batch_changes_count", "batch_changes_sum")
    assert [value(registry, name) for name in names] == [8, 3, 2, 1, 2]


def test_what_is_live(metrics: Metrics, registry: CollectorRegistry) -> None:
    """Which revision, and how long it took."""
    metrics.live(7)
    metrics.took(0.003)
    metrics.took(0.3)

    assert value(registry, "live_revision") == 7
    assert value(registry, "change_live_seconds_sum") == pytest.approx(0.303)
    assert [value(registry, "change_live_seconds_bucket", le=le) for le in ("0.005", "0.25", "0.5", "+Inf")] == [
        *(1, 1, 2, 2)
    ]


@pytest.mark.parametrize(
    ("event", "name"),
    [
        (Event.COMMIT_FAILED, "commit_failures_total"),
        (Event.NOT_LIVE, "changes_not_live_total"),
        (Event.REPAIR, "repairs_total"),
        (Event.RESTART, "traefik_restarts_total"),
        (Event.REQUEST_FAILED, "failed_requests_total"),
    ],
)
def test_events(metrics: Metrics, registry: CollectorRegistry, event: Event, name: str) -> None:
    """They are there from the start, so that the first one is an increase."""
    assert value(registry, name) == 0
    metrics.count(event)
    metrics.count(event, 5)

    assert value(registry, name) == 6


def test_a_certificate(metrics: Metrics, registry: CollectorRegistry) -> None:
    """As a time, from which Prometheus makes the days that are left."""
    assert value(registry, "certificate_expiry_timestamp_seconds", certificate="public") is None
    metrics.certificate("public", datetime(2030, 1, 1, tzinfo=timezone.utc))

    assert value(registry, "certificate_expiry_timestamp_seconds", certificate="public") == 1893456000


def test_replicas(metrics: Metrics, registry: CollectorRegistry) -> None:
    assert value(registry, "replicas") == value(registry, "replicas_ready") == 0
    metrics.replicas(3, 2)

    assert (value(registry, "replicas"), value(registry, "replicas_ready")) == (3, 2)


def test_what_users_have_done(metrics: Metrics, registry: CollectorRegistry) -> None:
    """As long as there is a proxy that knows."""
    assert value(registry, "requests_total", route="user", status="2xx") is None
    metrics.traffic(lambda: Traffic({("user", 2): 7, ("none", 4): 1}, connections=5, websockets=2))

    assert value(registry, "requests_total", route="user", status="2xx") == 7
    assert value(registry, "requests_total", route="none", status="4xx") == 1
    assert [value(registry, "open_connections", kind=kind) for kind in ("http", "websocket")] == [3, 2]

    metrics.traffic(None)
    assert value(registry, "open_connections", kind="http") is None


def test_every_event_has_a_counter(metrics: Metrics) -> None:
    """None is forgotten."""
    for event in Event:
        metrics.count(event)


def test_all_proxies_of_a_process_share_what_the_hub_serves() -> None:
    """A second proxy does not register the same names again."""
    assert hub_metrics() is hub_metrics()
    hub_metrics().committed(1, 0, 0)

    assert b"traefik_toml_proxy_revision 1.0" in generate_latest(REGISTRY)


def test_nobody_has_to_count() -> None:
    """The core does without."""
    NO_METRICS.committed(1, 1, 1)
    NO_METRICS.live(1)
    NO_METRICS.took(1)
    NO_METRICS.count(Event.REPAIR)
    NO_METRICS.replicas(1, 1)
    NO_METRICS.certificate("public", datetime.now(timezone.utc))
    NO_METRICS.traffic(None)


def test_the_page_on_watching_explains_each_one(metrics: Metrics, registry: CollectorRegistry) -> None:
    """And no others."""
    metrics.certificate("public", datetime.now(timezone.utc))
    page = Path(__file__).parents[2].joinpath("docs/how-to/watch.rst").read_text()
    there = {family.name + ("_total" if family.type == "counter" else "") for family in registry.collect()}

    assert set(re.findall(r"traefik_toml_proxy_\w+", page)) == there
