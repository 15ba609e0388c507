"""The types of the functions that fixtures in conftest.py return."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from traefik_toml_proxy import TraefikTomlProxy

from .backend import Backend

ProxyMaker = Callable[..., TraefikTomlProxy]
BackendMaker = Callable[[str], Awaitable[Backend]]
