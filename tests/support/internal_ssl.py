"""The certificates that JupyterHub makes for ``internal_ssl``, and servers and clients that use them."""

from __future__ import annotations

import ssl
from pathlib import Path
from types import SimpleNamespace

from certipy import Certipy
from jupyterhub.app import JupyterHub


class InternalCertificates:
    """What a starting Hub makes in a folder, or finds there.

    Attributes:
        app: The JupyterHub, as a proxy sees it.
        certificate: The certificate of the proxy.
        key: Its key.
        authorities: The authorities that the proxy trusts.
    """

    def __init__(self, folder: str | Path, *, recreate: bool = False) -> None:
        """Have JupyterHub make the certificates; call it on the event loop.

        Args:
            folder: ``JupyterHub.internal_certs_location``.
            recreate: Make all of them anew.
        """
        hub = JupyterHub(internal_ssl=True, internal_certs_location=str(folder), recreate_internal_certs=recreate)
        hub.log.handlers = []
        hub.init_internal_ssl()
        self._folder = str(folder)
        self._bundles = hub.internal_trust_bundles
        self.app = SimpleNamespace(
            internal_ssl=True,
            internal_proxy_certs=hub.internal_proxy_certs,
            internal_trust_bundles=hub.internal_trust_bundles,
            subdomain_host="",
        )
        pair = hub.internal_proxy_certs["proxy-client"]
        self.certificate, self.key = Path(pair["certfile"]), Path(pair["keyfile"])
        self.authorities = Path(hub.internal_trust_bundles["proxy-client-ca"])

    def server(self, name: str) -> ssl.SSLContext:
        """Return the TLS of a user's server: as in Spawner.create_certs, and its clients must have a certificate."""
        files = Certipy(store_dir=self._folder).create_signed_pair(
            f"user-{name}", "notebooks-ca", alt_names=["DNS:localhost", "IP:127.0.0.1"], overwrite=True
        )["files"]
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=self._bundles["notebooks-ca"])
        context.load_cert_chain(files["cert"], files["key"])
        context.verify_mode = ssl.CERT_REQUIRED
        return context

    def signed(self, name: str) -> tuple[Path, Path]:
        """Return a new certificate for the proxy, with this common name, and its key. Blocks."""
        files = Certipy(store_dir=self._folder).create_signed_pair(
            name, "proxy-client-ca", alt_names=["DNS:localhost", "IP:127.0.0.1"], overwrite=True
        )["files"]
        return Path(files["cert"]), Path(files["key"])

    def client(self, *, certificate: bool) -> ssl.SSLContext:
        """Return the TLS of a client that trusts what the proxy trusts, with the proxy's certificate or none."""
        context = ssl.create_default_context(cafile=self.authorities)
        if certificate:
            context.load_cert_chain(self.certificate, self.key)
        return context
