"""Makes the TLS of the proxy from certificates in memory: to clients, and to https targets. Does I/O, and blocks."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from ..traefik.transports import Transport, Transports


class PublicContext:
    """The TLS of the public address, with a certificate that can be replaced while it is in use.

    Attributes:
        context: For all connections, from the first certificate on; each new one is handed on to the newest.
    """

    context: ssl.SSLContext

    def __init__(self) -> None:
        """Set up; there is no context before :meth:`use`."""
        self._newest: ssl.SSLContext | None = None

    def use(self, pem: bytes) -> None:
        """Show this certificate in all handshakes that begin from now on. Blocks.

        Args:
            pem: The certificates, and the key, which is not encrypted.

        Raises:
            ssl.SSLError: If they cannot be used; the one before is shown.
        """
        made = _public_context(pem)
        if self._newest is None:
            self.context = made
            made.sni_callback = self._choose
        self._newest = made

    def _choose(self, connection: ssl.SSLObject, name: str | None, first: ssl.SSLContext) -> None:  # noqa: ARG002
        """Show the newest certificate. OpenSSL calls this in each handshake, whether the client names a host or not."""
        if self._newest is not None:
            connection.context = self._newest


def _public_context(pem: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    with _readable(pem) as path:
        context.load_cert_chain(path)
    return context


class TargetTls:
    """The TLS to https targets, as it is now."""

    def __init__(self) -> None:
        self._current: Mapping[str, ssl.SSLContext] = {}
        self._made_from: Transports | None = None

    def current(self) -> Mapping[str, ssl.SSLContext]:
        """Return it."""
        return self._current

    def is_of(self, transports: Transports) -> bool:
        """Whether it was made from these certificates."""
        return transports == self._made_from

    def update(self, transports: Transports) -> None:
        """Make it anew from these certificates, unless it is already. Blocks.

        Raises:
            ssl.SSLError: If one cannot be used.
        """
        if not self.is_of(transports):
            self._current = target_contexts(transports)
            self._made_from = transports


def target_contexts(transports: Transports) -> Mapping[str, ssl.SSLContext]:
    """Return the TLS to https targets, by the ``tls`` of an address (see :mod:`.targets`).

    Raises:
        ssl.SSLError: If a certificate cannot be used.
    """
    return {"internal": _target_context(transports.internal), "extra": _target_context(transports.extra)}


def _target_context(transport: Transport | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=transport.authorities if transport else None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if transport and transport.certificate:
        with _readable(transport.certificate.encode() + transport.key.encode()) as path:
            context.load_cert_chain(path)
    return context


@contextmanager
def _readable(content: bytes) -> Iterator[str]:
    """Give content a path, for OpenSSL, without a file on a disk that others might read."""
    descriptor = os.memfd_create("certificate", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, content)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
