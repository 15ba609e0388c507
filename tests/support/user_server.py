"""The server of a user: a program that JupyterHub starts, and that answers every request with who it is and what it got.

It starts in a fraction of the time that Jupyter needs, and the Hub starts, watches and stops it in the same way.
"""

from __future__ import annotations

import json
import os
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from jupyterhub import __version__


class Handler(BaseHTTPRequestHandler):
    """Answers in the form of a :class:`~.backend.Backend`."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Say who this is, after some seconds if the query says ``seconds=<number>``."""
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
    ThreadingHTTPServer((where.hostname or "", where.port or 0), Handler).serve_forever()
