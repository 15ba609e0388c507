"""Makes the TLS of the proxy from certificates in memory: to clients, and to https targets. Does I/O, and blocks."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from ..traefik.transports import Transport, Transports


class PublicContext:
    """The TLS of the public address, with a certificate that can be replaced while it is in use."""

    def __init__(self) -> None:
        """Set up; there is no context before :meth:`use`."""
        self._newest: ssl.SSLContext | None = None

    def context(self) -> ssl.SSLContext:
        """Return the TLS for the next connection, with the newest certificate.

        There is no callback that would choose it in a handshake: Python writes a traceback to the standard error output for
        each client that names a host which is not ASCII, before it calls one.
        """
        if self._newest is None:
            raise RuntimeError("there is no certificate yet")
        return self._newest

    def use(self, pem: bytes) -> None:
        """Show this certificate to all connections from now on. Blocks.

        Args:
            pem: The certificates, and the key, which is not encrypted.

        Raises:
            ssl.SSLError: If they cannot be used; the one before is shown.
        """
        self._newest = _public_context(pem)


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
