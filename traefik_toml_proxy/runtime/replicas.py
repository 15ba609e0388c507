"""Opens a session with the Traefiks whose agents follow the routes in etcd. Does I/O, never blocking the event loop."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from ..errors import RouteNotLive
from ..publisher import RoutePublisher
from ..routes import Route
from ..seams import NO_METRICS, Metrics
from ..session import Session, cleanup_on_error
from ..stores.etcd_replicas import ReplicasCheck
from ..stores.etcd_settings import EtcdSettings
from ..stores.etcd_store import EtcdStore, EtcdStoreSettings
from ..threads import hold_all


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicasSettings:
    """How routes are published to replicas.

    Attributes:
        etcd: How to reach etcd.
        store: What to write there, and where.
        check_route: Raises ValueError for a route that the replicas cannot serve.
        live_timeout: Seconds to wait for a change to become live.
        start_timeout: Seconds to wait at start until a replica serves the routes.
        metrics: Is told what goes on.
    """

    etcd: EtcdSettings
    store: EtcdStoreSettings
    check_route: Callable[[Route], object]
    live_timeout: float
    start_timeout: float
    metrics: Metrics = NO_METRICS


async def open_with_replicas(settings: ReplicasSettings, log: logging.Logger) -> Session:
    """Open a session, and publish the routes of the last one, which the replicas have gone on to serve.

    Returns when the replicas serve them, but no later than ``start_timeout``.

    Raises:
        ProxyError: If that fails; the message says what to do.
    """
    async with cleanup_on_error(log) as cleanup:
        cleanup.add("the threads", hold_all())
        store = EtcdStore(settings.store, settings.etcd, log)
        cleanup.add("the store", store.close)
        check = ReplicasCheck(settings.etcd, settings.store.keys, settings.store.secret, log, settings.metrics)
        cleanup.add("the live check", check.close)
        publisher = RoutePublisher(
            store,
            check,
            live_timeout=settings.live_timeout,
            check_route=settings.check_route,
            log=log,
            metrics=settings.metrics,
        )
        await publisher.begin(await publisher.open())
        try:
            await publisher.wait_live(settings.start_timeout)
        except RouteNotLive as error:
            # The Hub does not start the replicas, so they may come later.
            log.warning("The Hub starts without a replica that serves its routes: %s", error)
        log.info("The routes are in etcd (%s); routes: %d", store.location, len(publisher.table))
        return Session(publisher, cleanup)
