"""Decides from the values of traits, and from JupyterHub's own, which certificates Traefik uses for https targets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from traitlets import Unicode

from ..runtime.transport_files import TransportFiles, WatchedTransports
from .values import absolute


def extra_routes_ca() -> Unicode[str, str | bytes]:
    """Return the trait of this name. Each class needs one of its own."""
    return Unicode(
        "",
        config=True,
        help="""
        A file with the certificates (PEM) of the authorities to trust for the https targets of Proxy.extra_routes, such as
        your organization's own. It replaces those of the operating system, which are trusted by default.

        A target's certificate must be for the host or the IP address in its URL. The file is read again when it changes.
        JupyterHub.internal_ssl does not apply to these targets.
        """,
    )


def watched_transports(app: Any, authorities: str, trait: str) -> WatchedTransports:
    """Return the transports to https targets; nothing is read yet.

    Args:
        app: The JupyterHub, or None.
        authorities: The path of the authorities for extra routes, or "".
        trait: What sets it.
    """
    extra = None
    if authorities:
        extra = TransportFiles(authorities=absolute(authorities), advice=f"{trait} names this file.")
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
