"""Stores in etcd for tests, without a proxy around them, and what can happen to what they keep."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import urllib.request
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

from traefik_toml_proxy.stores.etcd_settings import EtcdSettings
from traefik_toml_proxy.stores.etcd_store import EtcdStore, EtcdStoreSettings
from traefik_toml_proxy.stores.etcd_table import Keys

from .etcd import Etcd
from .relay import Relay
from .waiting import PATIENCE

# Long enough for a slow machine to renew it in time.
LEASE_SECONDS = round(2 * PATIENCE)


def etcd_store(
    etcd: EtcdSettings, root: str, *, timeout: float = 10 * PATIENCE, lease_seconds: int = LEASE_SECONDS
) -> EtcdStore:
    """Return a store below that root; not opened."""
    settings = EtcdStoreSettings(
        keys=Keys.below(root),
        owner=f"process {os.getpid()}",
        lease_seconds=lease_seconds,
        timeout=timeout,
        secret="/secret",
    )
    return EtcdStore(settings, etcd, logging.getLogger("hub"))


class EtcdShelf:
    """A table in a running etcd with one member (see support/store_contract.py)."""

    def __init__(self, etcd: Etcd, relay: Relay, root: str) -> None:
        self._etcd = etcd
        self._relay = relay
        self._root = root

    def store(self) -> EtcdStore:
        return etcd_store(EtcdSettings(endpoints=(self._relay.url,)), self._root, timeout=1 * PATIENCE)

    @contextlib.contextmanager
    def full_disk(self) -> Iterator[None]:
        status = self._post("maintenance/status", {})
        alarm = {"memberID": status["header"]["member_id"], "alarm": "NOSPACE"}
        self._post("maintenance/alarm", alarm | {"action": "ACTIVATE"})
        try:
            yield
        finally:
            self._post("maintenance/alarm", alarm | {"action": "DEACTIVATE"})

    def failures(self) -> list[AbstractContextManager[object]]:
        return [self.full_disk(), self._lost_answers(), self._silence()]

    @contextlib.contextmanager
    def _lost_answers(self) -> Iterator[None]:
        self._relay.loses_answers = True
        try:
            yield
        finally:
            self._relay.loses_answers = False

    @contextlib.contextmanager
    def _silence(self) -> Iterator[None]:
        self._relay.is_silent = True
        try:
            yield
        finally:
            self._relay.is_silent = False
            self._relay.cut()

    def harm(self) -> None:
        self._etcd.control("del", "--prefix", f"{self._root}/table/")

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        request = urllib.request.Request(f"{self._etcd.members[0].url}/v3/{path}", json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=10) as response:
            return json.load(response)
