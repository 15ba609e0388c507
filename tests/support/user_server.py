"""The server of a user: a program that JupyterHub starts, and that answers every request with who it is and what it got.

It starts in a fraction of the time that Jupyter needs, and the Hub starts, watches and stops it in the same way.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import itertools
import json
import os
import socket
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from jupyterhub import __version__

# RFC 6455, section 1.3.
_WEBSOCKET_ID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Handler(BaseHTTPRequestHandler):
    """Answers in the form of a :class:`~.backend.Backend`."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Say who this is, after some seconds if the query says ``seconds=<number>``.

        A websocket echoes short messages. ``.../download`` is a download that does not end, one numbered line after another.
        """
        if self.headers.get("Upgrade", "").lower() == "websocket":
            self._echo()
        elif self.path.endswith("/download"):
            self._count()
        else:
            self._answer()

    def _echo(self) -> None:
        self.close_connection = True
        digest = hashlib.sha1((self.headers["Sec-WebSocket-Key"] + _WEBSOCKET_ID).encode()).digest()
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(digest).decode())
        self.end_headers()
        with contextlib.suppress(OSError):  # its client has gone
            while head := self.rfile.read(2):
                length = head[1] & 0x7F
                mask, masked = self.rfile.read(4), self.rfile.read(length)
                message = bytes(byte ^ mask[number % 4] for number, byte in enumerate(masked))
                self.wfile.write(bytes([head[0], length]) + message)

    def _count(self) -> None:
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Length", str(10**12))
        self.end_headers()
        with contextlib.suppress(OSError):
            for number in itertools.count():
                self.wfile.write(b"%d\n" % number)
                time.sleep(0.05)

    def _answer(self) -> None:
        time.sleep(float(parse_qs(urlsplit(self.path).query).get("seconds", ["0"])[0]))
        seen = {
            "name": os.environ["JUPYTERHUB_USER"],
            "pid": os.getpid(),
            "path": self.path,
            "headers": dict(self.headers.items()),
        }
        answer = json.dumps(seen).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        if self.close_connection:
            self.send_header("Connection", "close")  # without it, nodejs would send the next request on it all the same
        self.send_header("X-JupyterHub-Version", __version__)  # the Hub compares it with its own
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args: object) -> None:
        """Log nothing."""


if __name__ == "__main__":
    where = urlsplit(os.environ["JUPYTERHUB_SERVICE_URL"])
    if ":" in (where.hostname or ""):
        ThreadingHTTPServer.address_family = socket.AF_INET6
    ThreadingHTTPServer((where.hostname or "", where.port or 0), Handler).serve_forever()
