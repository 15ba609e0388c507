"""Asks the public entry point which revision is live. Does I/O: one HTTP request at a time."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass

from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.httputil import HTTPInputError
from tornado.iostream import UnsatisfiableReadError
from tornado.simple_httpclient import SimpleAsyncHTTPClient

from ..errors import RouteNotLive, shown
from .dynamic import REVISION_HEADER

# Between two questions: as long as a tenth of what has been waited, so that the answer comes at most a tenth too late.
_SHORTEST_PAUSE = 0.0005
_LONGEST_PAUSE = 0.1
_SHORTEST_QUESTION = 0.1
_REVISION = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Answer:
    """What the entry point said.

    Attributes:
        revision: The revision that is live, or None if it is not (yet) serving our routes.
        told: The answer in words, for messages.
        answered: Whether anybody answered at all.
    """

    revision: int | None
    told: str
    answered: bool


class EntryPointProbe:
    """Asks for the revision route (see :mod:`.dynamic`) at the public entry point, as a browser would.

    TLS certificates are not verified: nothing secret is sent but the path itself, and that over loopback or the admin's own
    network.
    """

    def __init__(self, url: str, revision_path: str, *, request_timeout: float = 5) -> None:
        """Args:
        url: The entry point, ``http[s]://host:port``.
        revision_path: The secret path of the revision route.
        request_timeout: Seconds to wait for one answer.
        """
        self.url = url
        self._revision_url = url.rstrip("/") + revision_path
        self._request_timeout = request_timeout
        self._client: SimpleAsyncHTTPClient | None = None

    async def ask(self) -> Answer:
        """Ask once; never raises for what the network or the other side does."""
        return await self._ask(self._request_timeout)

    async def _ask(self, seconds: float) -> Answer:
        if self._client is None:
            # Not AsyncHTTPClient: that is shared with the Hub, which limits and configures it for its own needs.
            self._client = SimpleAsyncHTTPClient(force_instance=True)
        request = HTTPRequest(
            self._revision_url,
            validate_cert=False,
            follow_redirects=False,
            decompress_response=False,
            connect_timeout=seconds,
            request_timeout=seconds,
        )
        try:
            response = await self._client.fetch(request, raise_error=False)
        except (OSError, HTTPClientError, HTTPInputError, UnsatisfiableReadError) as error:
            return Answer(None, f"no answer: {error}", answered=False)
        revision = response.headers.get(REVISION_HEADER, "")
        if _REVISION.fullmatch(revision):
            return Answer(int(revision), f"it serves revision {revision}", answered=True)
        server = response.headers.get("Server")
        by = f" by {shown(server)}" if server else ""
        return Answer(None, f"it answered {response.code}{by}, without our revision", answered=True)

    async def wait_live(self, revision: int, timeout: float, *, where: str) -> None:
        """Return as soon as the entry point serves ``revision`` or a later one.

        Args:
            revision: What to wait for.
            timeout: Seconds to wait at most.
            where: Where it is written, for the error.

        Raises:
            RouteNotLive: If it does not in time.
        """
        began = time.monotonic()
        waited = 0.0
        while True:
            answer = await self._ask(min(self._request_timeout, max(_SHORTEST_QUESTION, timeout - waited)))
            if answer.revision is not None and answer.revision >= revision:
                return
            waited = time.monotonic() - began
            if waited >= timeout:
                raise RouteNotLive(revision, self.url, where, waited, answer.told)
            await asyncio.sleep(min(max(_SHORTEST_PAUSE, waited / 10), _LONGEST_PAUSE, timeout - waited))

    def close(self) -> None:
        """Close the client; a later question opens another one."""
        if self._client is not None:
            self._client.close()
            self._client = None
