"""The servers behind the routes, in a process of their own: ``python -m benchmarks.backend CERT KEY``. I/O: sockets.

Prints one line of JSON with their addresses (:class:`benchmarks.workload.Addresses`) and ends when its standard input does.
There are two servers of each kind, one for the Hub's route and one for users' routes; a header of each response says which:

- a quick one that does as little as possible: it sends a few bytes, or 1 MiB where the path ends in ``/large``, and echoes
  short messages over WebSockets, so that the proxy is measured and not what is behind it;
- one like a user's own server, which is tornado as well: pages, and WebSockets that echo what they receive.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import re
import ssl
import sys
from collections.abc import Mapping
from typing import cast

import uvloop
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler

from .workload import LARGE_BYTES, LARGE_PATH, SERVER_HEADER, SOCKET_PATH, Addresses

_NAMES = ("hub", "user")


class _Quick(asyncio.Protocol):
    """Responds to GET requests, which have no body, one after another.

    Args:
        answers: All responses, made beforehand. The keys say whether it is a large one, and the last of its connection.
    """

    def __init__(self, answers: Mapping[tuple[bool, bool], bytes]) -> None:
        self._answers = answers
        self._received = b""
        self._is_socket = False
        self._transport: asyncio.WriteTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        if self._is_socket:
            self._echo(data)
            return
        *heads, self._received = (self._received + data).split(b"\r\n\r\n")
        for head in heads:
            line = head.partition(b"\r\n")[0]
            if line.endswith(_SOCKET):
                self._is_socket = True  # a client sends nothing more before it has the answer
                self._transport.write(_switching(head))
                return
            is_last = b"\r\nconnection: close" in head.lower()
            self._transport.write(self._answers[line.endswith(_LARGE), is_last])
            if is_last:
                self._transport.close()

    def _echo(self, data: bytes) -> None:
        """Send back the messages, of up to 125 bytes, that are whole (RFC 6455 section 5.2)."""
        data, at = self._received + data, 0
        while len(data) >= at + 6 and len(data) >= (end := at + 6 + (data[at + 1] & 0x7F)):
            length, key = end - at - 6, data[at + 2 : at + 6]
            key = (key * (length // 4 + 1))[:length]
            payload = int.from_bytes(data[at + 6 : end], "big") ^ int.from_bytes(key, "big")
            self._transport.write(bytes((data[at], length)) + payload.to_bytes(length, "big"))
            if data[at] & 0x0F == _CLOSE:
                self._transport.close()
            at = end
        self._received = data[at:]


_LARGE = LARGE_PATH.encode() + b" HTTP/1.1"
_SOCKET = SOCKET_PATH.encode() + b" HTTP/1.1"
_KEY = re.compile(rb"(?i)\r\nsec-websocket-key: *([^ \r]+)")
# RFC 6455 sections 1.3 and 5.2
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CLOSE = 8


def _switching(head: bytes) -> bytes:
    """Return the answer to a handshake (RFC 6455 section 4.2.2)."""
    key = _KEY.search(head)
    accept = base64.b64encode(hashlib.sha1(key[1] + _GUID).digest()) if key else b""
    fields = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + accept
    return b"HTTP/1.1 101 Switching Protocols\r\n" + fields + b"\r\n\r\n"


def _answer(name: str, body: bytes, *, is_last: bool) -> bytes:
    head = ["HTTP/1.1 200 OK", "Content-Type: text/plain", f"Content-Length: {len(body)}", f"{SERVER_HEADER}: {name}"]
    if is_last:
        head.append("Connection: close")
    return "\r\n".join([*head, "", ""]).encode() + body


async def serve_quick(name: str, tls: ssl.SSLContext | None = None, *, host: str = "127.0.0.1") -> str:
    """Start a quick server in this process, and return its URL.

    Args:
        name: What it calls itself.
        tls: For https.
        host: Its address, on loopback.
    """
    bodies = {False: name.encode(), True: bytes(LARGE_BYTES)}
    answers = {
        (large, is_last): _answer(name, body, is_last=is_last)
        for large, body in bodies.items()
        for is_last in (False, True)
    }
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Quick(answers), host, 0, ssl=tls, backlog=1024)
    return f"{'https' if tls else 'http'}://{host}:{server.sockets[0].getsockname()[1]}"


def _serve_pages(name: str) -> str:
    class Page(RequestHandler):
        def get(self) -> None:
            self.set_header(SERVER_HEADER, name)
            self.write(name)

    class Echo(WebSocketHandler):
        def on_message(self, message: str | bytes) -> None:
            # The future is not awaited: the client waits for the echo before it sends more.
            self.write_message(message, isinstance(message, bytes))

        def check_origin(self, origin: str) -> bool:  # noqa: ARG002 - no browser is involved
            return True

    application = Application([(rf".*{SOCKET_PATH}", Echo), (r".*", Page)])
    server = application.listen(0, "127.0.0.1")
    (listening,) = server._sockets.values()  # noqa: SLF001 - tornado has no other way to get the port
    return f"http://127.0.0.1:{listening.getsockname()[1]}"


async def _main() -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*sys.argv[1:3])
    hub, user = [await serve_quick(name) for name in _NAMES]
    pages_hub, pages_user = [_serve_pages(name) for name in _NAMES]
    addresses = Addresses(hub, user, await serve_quick("hub", context), pages_hub, pages_user)
    print(json.dumps(addresses), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    os._exit(0)  # a normal exit would print a traceback for each open connection


if __name__ == "__main__":
    uvloop.install()
    asyncio.run(_main())
