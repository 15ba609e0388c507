"""RoutingProxy: implements JupyterHub's proxy API with a session, which does the I/O."""

from __future__ import annotations

import asyncio
import copy
from datetime import timezone
from typing import Any

from jupyterhub.metrics import PROXY_POLL_DURATION_SECONDS
from jupyterhub.proxy import Proxy

from ..errors import ProxyError, RouteNotLive, quoted
from ..publisher import RoutePublisher
from ..routes import Route
from ..session import Session
from ..tasks import with_pauses
from .leftovers import remove_leftovers


class RoutingProxy(Proxy):
    """The base class of a JupyterHub proxy that publishes its routes in a session.

    Subclasses implement :meth:`_open_session`, and override :meth:`_check_route` if there are routes they cannot serve.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # Held while a session is opened or closed.
        self._session_lock = asyncio.Lock()
        self._session: Session | None = None

    def _load_config(self, cfg: Any, *args: Any, **kwargs: Any) -> None:
        """Set the traits, without a warning of traitlets for what :mod:`.leftovers` explains."""
        cfg = copy.deepcopy(cfg)
        remove_leftovers(cfg, {cls.__name__ for cls in type(self).__mro__})
        super()._load_config(cfg, *args, **kwargs)

    # For subclasses.

    async def _open_session(self) -> Session:
        """Open everything needed to publish routes; return when the proxy serves requests.

        Raises:
            ProxyError: If it cannot; everything opened has been closed again. The message says what to do.
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement _open_session")

    def _check_route(self, route: Route) -> None:
        """Check that this proxy can serve a route, either a new one or one from an earlier session.

        Raises:
            ValueError: If it cannot.
        """
        self.validate_routespec(route.routespec)

    # Called by JupyterHub.

    async def start(self) -> None:
        """Start the proxy, or take over the one that is running; return when it serves requests.

        Raises:
            ProxyError: If it cannot; everything started has been stopped again. The message says what to do.
        """
        async with self._session_lock:
            self._session = await self._open_session()

    async def stop(self) -> None:
        """Stop the proxy; its files stay. Does not raise, or the Hub would not exit (jupyterhub/app.py:3608-3656)."""
        async with self._session_lock:
            session, self._session = self._session, None
            if session is not None:
                await session.close()

    async def add_route(self, routespec: str, target: str, data: dict[str, Any]) -> None:
        """Route requests for ``routespec`` to ``target``; return when the route is live. Adding it again does nothing.

        Args:
            routespec: ``[host]/path/``.
            target: ``http[s]://host:port[/path]``.
            data: Returned by :meth:`get_route` and :meth:`get_all_routes`; a dict that JSON can represent.

        Raises:
            ValueError: If the route cannot be served exactly (:class:`~.errors.InvalidRoute`).
            CommitFailed: If the route could not be written; it was not added.
            RouteNotLive: If the route was written but did not become live in time; it stays written.
        """
        routespec = self.validate_routespec(routespec)
        publisher = await self._current_publisher()
        if publisher is None:
            raise ProxyError(f"The proxy has not been started; {quoted(routespec)} cannot be added.")
        # A copy, because the publisher may read the data later, after the commit in progress.
        await publisher.add(routespec, target, dict(data) if isinstance(data, dict) else data)

    async def delete_route(self, routespec: str) -> None:
        """Delete the route for ``routespec``; return when it is no longer served. Logs a warning if there is none.

        Raises:
            ValueError: If the routespec has a host without host routing, or none with it.
            CommitFailed: If the change could not be written; the route is still there.
        """
        routespec = self.validate_routespec(routespec)
        publisher = await self._current_publisher()
        if publisher is None:
            # The Hub does this for servers that stopped while it was down (jupyterhub/app.py:3047-3054).
            self.log.debug("The proxy has not been started, so it has no route %s", quoted(routespec))
            return
        try:
            existed = await publisher.delete(routespec)
        except RouteNotLive as error:
            # An exception would keep the Hub from stopping the user's server (jupyterhub/handlers/base.py:1436-1468).
            self.log.warning("Deleting %s: %s", quoted(routespec), error)
        else:
            if not existed:
                self.log.warning("There is no route %s to delete", quoted(routespec))

    async def get_all_routes(self) -> dict[str, dict[str, Any]]:
        """Return all routes by routespec, as new dicts with ``routespec``, ``target`` and ``data``.

        If the session knows when users were last seen, ``data`` has ``last_activity`` as well: an ISO 8601 string in UTC, as
        JupyterHub reads it (jupyterhub/app.py, update_last_activity).
        """
        with PROXY_POLL_DURATION_SECONDS.time():
            publisher = await self._current_publisher()
            activity = self._session.activity if self._session else None
            seen = await activity.last_seen() if activity else {}
            routes: dict[str, dict[str, Any]] = {}
            async for route in with_pauses(publisher.table if publisher else ()):
                routes[route.routespec] = route.as_dict()
                if route.routespec in seen:
                    last_activity = seen[route.routespec].astimezone(timezone.utc).isoformat()
                    routes[route.routespec]["data"]["last_activity"] = last_activity
            return routes

    async def get_route(self, routespec: str) -> dict[str, Any] | None:
        """Return the route that was added under ``routespec``, as a new dict, or None.

        Raises:
            ValueError: If the routespec has a host without host routing, or none with it.
        """
        routespec = self.validate_routespec(routespec)
        publisher = await self._current_publisher()
        route = publisher.table.get(routespec) if publisher else None
        return route.as_dict() if route else None

    async def _current_publisher(self) -> RoutePublisher | None:
        """Return the publisher, or None before the start. If should_start is False, JupyterHub does not call start()."""
        if self._session is None and not self.should_start:
            async with self._session_lock:
                if self._session is None:
                    self._session = await self._open_session()
        return self._session.publisher if self._session else None
