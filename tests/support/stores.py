"""TOML stores for tests, without a proxy around them."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from traefik_toml_proxy.stores.toml_document import TomlRenderer
from traefik_toml_proxy.stores.toml_file import TomlFileStore
from traefik_toml_proxy.traefik.dynamic import DynamicSettings
from traefik_toml_proxy.traefik.names import Names

SETTINGS = DynamicSettings(entry_point="http", secret_path="/secret")


def toml_store(
    path: Path, mode: int = 0o600, *, watched: Path | None = None, names: Names | None = None
) -> TomlFileStore:
    """Return a store for that file; not opened."""
    renderer = TomlRenderer(replace(SETTINGS, names=names or SETTINGS.names), writer="a test")
    return TomlFileStore(path, renderer, mode=mode, log=logging.getLogger("hub"), watched=watched)
