"""The types of what the fixtures in conftest.py hand out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from traefik_toml_proxy import TraefikTomlProxy

from .backend import Backend

ProxyMaker = Callable[..., TraefikTomlProxy]
BackendMaker = Callable[[str], Awaitable[Backend]]
