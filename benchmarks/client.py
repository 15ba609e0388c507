"""A client of the public entry point with a keep-alive connection. I/O: blocks for each request, a millisecond or so."""

from __future__ import annotations

import asyncio
import http.client
import ssl
import time
from typing import NamedTuple
from urllib.parse import urlsplit

from .workload import SERVER_HEADER


class Answer(NamedTuple):
    """A response: its status, and one header ("" if it is missing)."""

    status: int
    header: str


class Client:
    """Sends requests over one keep-alive connection, and opens a new one if the proxy has closed it.

    Args:
        url: The public URL; certificates are not verified.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=30)
        if parts.scheme == "https":
            context = ssl._create_unverified_context()  # noqa: SLF001 - documented, PEP 476
            self._connection = http.client.HTTPSConnection(str(parts.hostname), parts.port, timeout=30, context=context)

    def ask(self, path: str, header: str = SERVER_HEADER) -> Answer:
        """Return the response to a GET request.

        Raises:
            OSError: If there is none, not even over a new connection.
        """
        try:
            return self._ask(path, header)
        except (http.client.HTTPException, ConnectionError):
            self._connection.close()
        try:
            return self._ask(path, header)
        except http.client.HTTPException as error:
            self._connection.close()
            raise OSError(f"no response to {path}: {error!r}") from error

    def _ask(self, path: str, header: str) -> Answer:
        self._connection.request("GET", path)
        response = self._connection.getresponse()
        response.read()
        return Answer(response.status, response.getheader(header) or "")

    def is_at(self, path: str, server: str) -> bool:
        """Whether the next request for ``path`` reaches this server; "" means none."""
        return self.ask(path).header == server

    async def wait_until_at(self, path: str, server: str, seconds: float) -> None:
        """Send requests until ``path`` reaches this server.

        Raises:
            TimeoutError: If it does not within ``seconds``.
        """
        deadline = time.monotonic() + seconds
        last = ""
        while time.monotonic() < deadline:
            try:
                answer = self.ask(path)
            except OSError as error:
                last = repr(error)
            else:
                if answer.header == server:
                    return
                last = repr(answer)
            await asyncio.sleep(0.001)
        raise TimeoutError(f"{path} did not reach the server {server!r} in {seconds:.0f} s; the last response: {last}")
