"""Makes the TLS of the proxy from certificates in memory: to clients, and to https targets. Does I/O, and blocks."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from ..runtime.pairs import Pair
from ..traefik.transports import Transport, Transports


def public_context(pair: Pair) -> ssl.SSLContext:
    """Return the TLS of the public address.

    Raises:
        ssl.SSLError: If the certificate cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    with _readable(pair.chain + pair.key) as path:
        context.load_cert_chain(path)
    return context


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
