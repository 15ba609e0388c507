"""HealthServer: answers whether an agent is alive, and its replica ready. Does I/O: serves HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import ClientError, ClientSession, ClientTimeout, web

from ..errors import ConfigurationError

# Seconds to wait for the answer of another agent.
_ASK_SECONDS = 0.5


class HealthServer:
    """Serves ``/healthz`` (200 while the process works) and ``/readyz`` (200 or 503, with the reason as JSON)."""

    def __init__(self, host: str, port: int, state: Callable[[], Mapping[str, Any]]) -> None:
        """Listen nowhere yet.

        Args:
            host: The address to listen at.
            port: The port.
            state: Returns what ``/readyz`` answers; its key ``ready`` tells the status.
        """
        self._host = host
        self._port = port
        self._state = state
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen from now on.

        Raises:
            ConfigurationError: If that address cannot be used.
        """
        application = web.Application()
        application.router.add_get("/healthz", self._healthz)
        application.router.add_get("/readyz", self._readyz)
        self._runner = web.AppRunner(application, access_log=None, handle_signals=False)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port).start()
        except OSError as error:
            raise ConfigurationError(
                f"The agent cannot listen at {self._host}:{self._port}: {error}. health_address sets where it does."
            ) from error

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        state = self._state()
        return web.json_response(dict(state), status=200 if state["ready"] else 503)

    async def close(self) -> None:
        """Listen no longer. May be called twice."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()


async def ask_ages(urls: Mapping[str, str]) -> dict[str, float | None]:
    """Ask other agents, all at once, how many seconds ago they renewed their leases.

    Args:
        urls: Their addresses, by name.

    Returns:
        The seconds by name; None for those that do not answer, or have never renewed.
    """
    async with ClientSession(timeout=ClientTimeout(total=_ASK_SECONDS)) as session:
        ages = await asyncio.gather(*(_ask_age(session, url) for url in urls.values()))
    return dict(zip(urls, ages, strict=True))


async def _ask_age(session: ClientSession, url: str) -> float | None:
    if not url:
        return None
    try:
        async with session.get(f"{url}/readyz", allow_redirects=False) as response:
            answer = await response.json()
            return float(answer["age"])
    except (ClientError, OSError, asyncio.TimeoutError, ValueError, KeyError, TypeError):
        return None
