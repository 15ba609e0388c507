"""PrometheusMetrics: counts what a proxy does, for the Hub's own /hub/metrics. No I/O: JupyterHub serves them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from datetime import datetime

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from .seams import Event, Traffic

_PREFIX = "traefik_toml_proxy_"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
_EVENTS = {
    Event.COMMIT_FAILED: ("commit_failures", "Commits of routes that could not be written"),
    Event.NOT_LIVE: ("changes_not_live", "Changes of routes that were written but not live in time"),
    Event.REPAIR: ("repairs", "Times that routes were written again because they were damaged, or not live"),
    Event.RESTART: ("traefik_restarts", "Times that Traefik was started again after it had exited"),
    Event.REQUEST_FAILED: ("failed_requests", "Requests that got no answer from a server, or a gateway error"),
}


class PrometheusMetrics:
    """A :class:`~traefik_toml_proxy.seams.Metrics`. All proxies of a process share one, as a Hub has one proxy."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register all metrics; those of events begin at 0."""
        self._routes = Gauge(f"{_PREFIX}routes", "Routes in the last commit", registry=registry)
        self._revision = Gauge(f"{_PREFIX}revision", "Revision of the last commit", registry=registry)
        self._live_revision = Gauge(
            f"{_PREFIX}live_revision", "Last revision that Traefik was seen to serve", registry=registry
        )
        self._commits = Counter(f"{_PREFIX}commits", "Commits of routes", registry=registry)
        self._batch = Histogram(
            f"{_PREFIX}batch_changes", "Changes that share a commit", buckets=_SIZES, registry=registry
        )
        self._took = Histogram(
            f"{_PREFIX}change_live_seconds",
            "Seconds from the Hub's call until a changed route is live",
            buckets=_SECONDS,
            registry=registry,
        )
        self._replicas = Gauge(f"{_PREFIX}replicas", "Replicas that have a lease in etcd", registry=registry)
        self._replicas_ready = Gauge(
            f"{_PREFIX}replicas_ready", "Replicas that may get requests, as their agents say", registry=registry
        )
        self._expiry = Gauge(
            f"{_PREFIX}certificate_expiry_timestamp_seconds",
            "When a certificate expires, in seconds since 1970",
            ["certificate"],
            registry=registry,
        )
        self._events = {
            event: Counter(_PREFIX + name, text, registry=registry) for event, (name, text) in _EVENTS.items()
        }
        self._traffic = _TrafficCollector()
        registry.register(self._traffic)

    def committed(self, revision: int, routes: int, changes: int) -> None:
        """Note a commit."""
        self._revision.set(revision)
        self._routes.set(routes)
        self._commits.inc()
        if changes:
            self._batch.observe(changes)

    def live(self, revision: int) -> None:
        """Note that a revision is live."""
        self._live_revision.set(revision)

    def took(self, seconds: float) -> None:
        """Note how long it took from the call until a change was live."""
        self._took.observe(seconds)

    def count(self, event: Event, times: int = 1) -> None:
        """Count an event that has happened once, or so many times."""
        self._events[event].inc(times)

    def replicas(self, there: int, ready: int) -> None:
        """Note how many replicas have a lease, and how many of them may get requests."""
        self._replicas.set(there)
        self._replicas_ready.set(ready)

    def certificate(self, which: str, expires: datetime) -> None:
        """Note when a certificate expires."""
        self._expiry.labels(which).set(expires.timestamp())

    def traffic(self, ask: Callable[[], Traffic] | None) -> None:
        """Note who tells what users have done."""
        self._traffic.ask = ask


class _TrafficCollector(Collector):
    """Asks a proxy when Prometheus does: counting each request here would take longer than what a proxy does with it.

    Attributes:
        ask: Tells what users have done; None if nobody knows.
    """

    def __init__(self) -> None:
        self.ask: Callable[[], Traffic] | None = None

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics; without values if nobody knows them."""
        requests = CounterMetricFamily(f"{_PREFIX}requests", "Requests that were answered", labels=("route", "status"))
        connections = GaugeMetricFamily(
            f"{_PREFIX}open_connections", "Connections from users that are open", labels=("kind",)
        )
        traffic = self.ask() if self.ask is not None else None
        if traffic is not None:
            for (route, digit), count in sorted(traffic.requests.items()):
                requests.add_metric((route, f"{digit}xx"), count)
            connections.add_metric(("http",), traffic.connections - traffic.websockets)
            connections.add_metric(("websocket",), traffic.websockets)
        yield requests
        yield connections


@functools.cache
def hub_metrics() -> PrometheusMetrics:
    """Return the metrics in the registry that JupyterHub serves (jupyterhub/handlers/metrics.py); made once, when needed."""
    return PrometheusMetrics(REGISTRY)
