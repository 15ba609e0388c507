"""Decides from the values of traits, and from JupyterHub's own, which certificates Traefik uses for https targets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..runtime.transport_files import TransportFiles, WatchedTransports
from .values import absolute


def watched_transports(app: Any, extra_routes_ca: str) -> WatchedTransports:
    """Return the transports to https targets; nothing is read yet.

    Args:
        app: The JupyterHub, or None.
        extra_routes_ca: The trait of ``TraefikProxy``, or "".
    """
    extra = None
    if extra_routes_ca:
        extra = TransportFiles(
            authorities=absolute(extra_routes_ca), advice="c.TraefikProxy.extra_routes_ca names this file."
        )
    return WatchedTransports(_internal_files(app) if getattr(app, "internal_ssl", False) else None, extra)


def _internal_files(app: Any) -> TransportFiles:
    """Return the files that JupyterHub has made for its proxy (jupyterhub/app.py, init_internal_ssl)."""
    pair = app.internal_proxy_certs["proxy-client"]
    return TransportFiles(
        # Only the authorities of the Hub and of servers; "cafile" of the pair is the certificate again.
        authorities=Path(app.internal_trust_bundles["proxy-client-ca"]).absolute(),
        certificate=Path(pair["certfile"]).absolute(),
        key=Path(pair["keyfile"]).absolute(),
        advice="JupyterHub makes this file when it starts with internal_ssl, in c.JupyterHub.internal_certs_location. "
        "c.JupyterHub.recreate_internal_certs = True makes all of them anew; then start users' servers again, too.",
    )
