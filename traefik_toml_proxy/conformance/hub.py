"""How JupyterHub makes a proxy, and its certificates with internal_ssl. Does I/O: writes those certificates."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

from jupyterhub.proxy import Proxy
from traitlets.config import Config
from traitlets.config.loader import DeferredConfigList, DeferredConfigString

from .setting import Setting


def make_proxy(
    proxy_class: str,
    setting: Setting,
    config: Mapping[str, Mapping[str, Any]],
    internal_certificates: Mapping[str, Any] = MappingProxyType({}),
) -> Proxy:
    """Make a proxy as ``JupyterHub.init_proxy`` does (jupyterhub/app.py:3229-3242), without starting it.

    Args:
        proxy_class: ``module:Class``.
        setting: Where it is to run.
        config: Traits by class name. A string may be what a command line has for the trait, as ``False`` for a Bool.
        internal_certificates: What :func:`make_internal_certificates` returns, with internal_ssl.
    """
    module, _, name = proxy_class.partition(":")
    hub = SimpleNamespace(
        url=f"{setting.hub_url}{setting.options.base_url}hub/",
        host=setting.hub_url,
        base_url=f"{setting.options.base_url}hub/",
        routespec="/" if setting.options.host_routing else setting.options.base_url,
    )
    app = SimpleNamespace(
        internal_ssl=setting.options.internal_ssl,
        subdomain_host="http://hub.example.org" if setting.options.host_routing else "",
        statsd_host="",
        statsd_port=0,
        statsd_prefix="",
        hub=hub,
        users={},
        _service_map={},
        **internal_certificates,
    )
    proxy: Proxy = getattr(importlib.import_module(module), name)(
        config=Config(_deferred(config)),
        db_factory=lambda: None,
        public_url=setting.public_url,
        app=app,
        log=logging.getLogger("conformance.hub"),
        hub=hub,
        host_routing=setting.options.host_routing,
        ssl_cert=setting.ssl_cert,
        ssl_key=setting.ssl_key,
    )
    return proxy


def _deferred(value: Any) -> Any:
    """Return config whose strings are parsed by their traits, as those of traitlets' own command line are."""
    if isinstance(value, str):
        return DeferredConfigString(value)
    if isinstance(value, Mapping):
        return {key: _deferred(item) for key, item in value.items()}
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return DeferredConfigList(value)
    return value


def make_internal_certificates(setting: Setting) -> dict[str, Any]:
    """Have JupyterHub make its certificates for internal_ssl; call it on the event loop, as a Hub does when it starts."""
    from jupyterhub.app import JupyterHub

    hub = JupyterHub(internal_ssl=True, internal_certs_location=str(Path(setting.folder) / "internal-ssl"))
    hub.init_internal_ssl()
    return {"internal_proxy_certs": hub.internal_proxy_certs, "internal_trust_bundles": hub.internal_trust_bundles}
