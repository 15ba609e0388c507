"""What a case works with: the proxy, its public URL, and backends. Does I/O."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
import os
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jupyterhub.proxy import Proxy

from .backend import Backend, Handler, respond_ok
from .case import Failed, Options, expect
from .client import Connection, Response
from .ports import free_ports
from .processes import folder_prefix
from .setting import Setting
from .subject import Subject
from .wire import BrokenMessage, Headers

# How many routes are deleted at once between two cases.
_DELETED_AT_ONCE = 50
# How long a deleted route may still be served where another case tests for less.
_SECONDS_TO_SETTLE = 5.0


class Stage:
    """A running proxy and what cases need around it; it is cleared between two cases."""

    def __init__(self, subject: Subject, options: Options) -> None:
        self.subject = subject
        self.options = options
        self.proxy: Proxy
        self.setting: Setting
        # Stands in for the Hub.
        self.hub = Backend("hub")
        self._backends = contextlib.AsyncExitStack()
        self._folder = ""

    async def prepare(self) -> None:
        """Set up what :meth:`start` needs: a folder, ports, certificates, a Hub."""
        await self.hub.__aenter__()
        # Resolved: some proxies watch it for changes, and symbolic links confuse them.
        self._folder = await asyncio.to_thread(lambda: os.path.realpath(tempfile.mkdtemp(prefix=folder_prefix())))
        port, *others = free_ports(4)
        cert, key = "", ""
        if self.options.tls:
            cert, key = await asyncio.to_thread(write_certificate, Path(self._folder))
        scheme = "https" if self.options.tls else "http"
        url = f"{scheme}://127.0.0.1:{port}{self.options.base_url}"
        self.setting = Setting(self.options, url, self._folder, self.hub.url, cert, key, tuple(others))

    async def start(self) -> None:
        """Start the proxy."""
        self.proxy = await self.subject.start(self.setting)

    async def clear(self) -> None:
        """Delete all routes and stop all backends, so that the next case finds the proxy as it was after its start."""
        try:
            routespecs = list(await self.proxy.get_all_routes())
            for first in range(0, len(routespecs), _DELETED_AT_ONCE):
                await asyncio.gather(
                    *(self.proxy.delete_route(spec) for spec in routespecs[first : first + _DELETED_AT_ONCE])
                )
        finally:
            await self._backends.aclose()

    async def has_routes(self) -> bool:
        """Whether the proxy reports any routes."""
        return bool(await self.proxy.get_all_routes())

    async def close(self) -> None:
        """Stop everything, even if some of it cannot be stopped."""
        async with contextlib.AsyncExitStack() as last_first:
            last_first.push_async_callback(asyncio.to_thread, shutil.rmtree, self._folder, ignore_errors=True)
            last_first.push_async_callback(self.hub.close)
            last_first.push_async_callback(self.subject.stop)
            last_first.push_async_callback(self._backends.aclose)

    @property
    def url(self) -> str:
        """The public URL, without a path."""
        return self.setting.public_url.removesuffix(self.options.base_url)

    async def backend(self, name: str = "backend", handler: Handler = respond_ok) -> Backend:
        """Start a backend, which is stopped after the case."""
        return await self._backends.enter_async_context(Backend(name, handler))

    async def add(self, routespec: str, target: Backend | str, data: Mapping[str, Any] | None = None) -> None:
        """Add a route by the proxy's ``add_route``."""
        await self.proxy.add_route(routespec, target if isinstance(target, str) else target.url, dict(data or {}))

    async def serve(self, routespec: str, handler: Handler = respond_ok) -> Backend:
        """Start a backend, named as its routespec, and route ``routespec`` to it."""
        backend = await self.backend(routespec, handler)
        await self.add(routespec, backend)
        return backend

    def connect(self) -> Connection:
        """Return a new connection to the public URL, to be used as a context manager."""
        return Connection(self.url)

    async def request(self, method: str, target: str, headers: Headers = (), body: bytes = b"") -> Response:
        """Send one request on a connection of its own; see :meth:`Connection.request`.

        Raises:
            Failed: If there is no complete response.
        """
        try:
            async with self.connect() as connection:
                return await connection.request(method, target, headers, body)
        except (OSError, BrokenMessage) as error:
            raise Failed(
                f"{method} {target[:100]!a} got no complete response: {error or type(error).__name__}"
            ) from error

    async def get(self, target: str, headers: Headers = ()) -> Response:
        """Send one GET request on a connection of its own."""
        return await self.request("GET", target, headers)

    async def expect_by(self, backend: Backend | None, target: str, headers: Headers = ()) -> Response:
        """Send a GET request and check that this backend, or for None no backend at all, responds.

        Raises:
            Failed: If another one does.
        """
        response = await self.get(target, headers)
        wanted = backend.name if backend else None
        expect(
            response.by == wanted,
            f"GET {target[:100]!a} was answered by {_who(response.by)} with {response.status}, not by {_who(wanted)}",
        )
        return response

    async def expect_soon_by(self, backend: Backend, target: str) -> None:
        """As :meth:`expect_by`, but allow a route that was deleted a few seconds to go; another case tests for less.

        Raises:
            Failed: If another backend responds even then.
        """
        end = asyncio.get_running_loop().time() + _SECONDS_TO_SETTLE
        while (await self.get(target)).by != backend.name and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(0.05)
        await self.expect_by(backend, target)


def _who(name: str | None) -> str:
    return "the proxy itself" if name is None else f"the backend {name[:100]!a}"


async def eventually(condition: Callable[[], Awaitable[object]], within: float, what: str) -> None:
    """Return as soon as ``condition`` returns something true.

    Args:
        condition: Called repeatedly.
        within: For how many seconds.
        what: What is waited for, for the message of the error.

    Raises:
        Failed: If it does not become true in time.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + within
    while not await condition():
        if loop.time() > end:
            raise Failed(f"{what}: not within {within:g} seconds")
        await asyncio.sleep(0.05)


def write_certificate(folder: Path) -> tuple[str, str]:
    """Write a self-signed certificate for loopback, and its key; return their paths."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "conformance")])
    now = datetime.datetime.now(datetime.timezone.utc)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=7))
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = folder / "conformance.crt", folder / "conformance.key"
    cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.touch(mode=0o600)
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return str(cert_file), str(key_file)
