"""A client that speaks HTTP/3 and nothing else."""

from __future__ import annotations

import asyncio
import ssl
from typing import cast
from urllib.parse import urlsplit

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import QuicEvent

from .backend import Response
from .waiting import PATIENCE, within


class _Client(QuicConnectionProtocol):
    """Sends one request and keeps the answer."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self._http = H3Connection(self._quic)
        self._headers: dict[str, str] = {}
        self._body = b""
        self._answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def quic_event_received(self, event: QuicEvent) -> None:
        """Take in a part of the answer."""
        for part in self._http.handle_event(event):
            if isinstance(part, HeadersReceived):
                self._headers |= {name.decode(): value.decode() for name, value in part.headers}
            if isinstance(part, DataReceived):
                self._body += part.data
            if isinstance(part, (HeadersReceived, DataReceived)) and part.stream_ended:
                self._answered.set_result(None)

    async def get(self, authority: str, path: str) -> Response:
        stream = self._quic.get_next_available_stream_id()
        asked = {":method": "GET", ":scheme": "https", ":authority": authority, ":path": path}
        headers = [(name.encode(), value.encode()) for name, value in asked.items()]
        self._http.send_headers(stream, headers, end_stream=True)
        self.transmit()
        await within(10 * PATIENCE, self._answered)
        return Response(int(self._headers[":status"]), self._headers, self._body)


async def get(url: str, path: str, *, ca_file: str) -> Response:
    """Send one request over HTTP/3.

    Args:
        url: ``https://host:port``.
        path: The path of the request.
        ca_file: The certificates to trust.
    """
    where = urlsplit(url)
    assert where.hostname is not None
    assert where.port is not None
    configuration = QuicConfiguration(alpn_protocols=H3_ALPN, server_name="localhost", verify_mode=ssl.CERT_REQUIRED)
    configuration.load_verify_locations(ca_file)
    async with connect(where.hostname, where.port, configuration=configuration, create_protocol=_Client) as client:
        return await cast(_Client, client).get(where.netloc, path)
