"""InProcessProxy: the proxy in the Hub's own process, or beside it, without Traefik. Its session does the I/O."""

from __future__ import annotations

import fnmatch
import ipaddress
import os
import re
import resource
from typing import TYPE_CHECKING, Any

from traitlets import Bool, CaselessStrEnum, Integer, List, Unicode, Union

from ..addresses import https_port, redirect_address
from ..errors import ConfigurationError
from ..inprocess.apart import open_apart
from ..inprocess.engine import EngineSettings
from ..inprocess.listeners import Place, place_of
from ..inprocess.loop import LOOPS
from ..inprocess.record import end_left_running
from ..inprocess.session import InProcessSettings, open_in_process
from ..metrics import hub_metrics
from ..routes import Route
from ..runtime.certificate import PairFiles
from ..runtime.pairs import PASSPHRASE_VARIABLE
from ..runtime.transport_files import WatchedTransports
from ..session import Session
from ..traefik.static import check_trusted_proxies
from .base import RoutingProxy
from .leftovers_inprocess import inprocess_leftovers
from .transports import extra_routes_ca, watched_transports
from .values import Mode, absolute

if TYPE_CHECKING:
    from .examination_inprocess import InProcessExamination

# Descriptors that are left to the Hub and to connections that rest.
_LEFT_TO_THE_HUB = 256


class InProcessProxy(RoutingProxy):
    """A JupyterHub proxy in the Hub's own process: in a thread of its own, with nothing to install, start or configure.

    Enable it with ``c.JupyterHub.proxy_class = "in-process"``. When the Hub stops, so does the proxy, and connections that
    are open are closed. With ``where = "process"``, it can go on without the Hub.
    """

    where = CaselessStrEnum(
        ("thread", "process"),
        "thread",
        config=True,
        help="""
        Where the proxy runs: in a "thread" of the Hub, or in a "process" of its own, which the Hub starts.

        In a process, users do not notice when the Hub computes for long, and the proxy can use another core. If
        JupyterHub.cleanup_proxy is False, it goes on when the Hub is restarted or crashes, with all connections, and the
        next Hub takes it over. It needs some 30 MiB more memory, 53 with 50,000 routes, and state_dir.
        """,
    )
    state_dir = Unicode(
        "jupyterhub-in-process",
        config=True,
        help="""
        The folder for the record of the proxy's process, and for the socket over which the next Hub takes it over. It is not
        used if the proxy is a thread.

        A relative path, such as the default, is relative to the folder that the Hub is started in. From another one, it does
        not find the process that the last Hub has left running, and cannot listen at its address. If the folder does not
        exist, it is created with access for the Hub's user only (0700). Each Hub needs its own folder.
        """,
    )
    trusted_proxies = List(
        Unicode(),
        config=True,
        help="""
        The addresses or networks of proxies in front of this one, such as ["10.0.0.5", "192.168.0.0/16"].

        X-Forwarded-* headers are accepted from these only, and replaced if they come from all other addresses. If a proxy in
        front terminates TLS, list it here, or JupyterHub will think that its users connect over http. It must send
        X-Forwarded-For, because X-Real-Ip is accepted from nobody.
        """,
    )
    redirect_http = Union(
        [Unicode(), Integer()],
        default_value="",
        config=True,
        help="""
        Where to listen for plain http, and send browsers from there to https. Default: nowhere.

        A port, such as 80, is opened on the host of JupyterHub.bind_url only; ":80" listens on all addresses, and
        "192.0.2.1:80" on one. It needs JupyterHub.ssl_cert.

        Browsers are sent to the port in JupyterHub.public_url if that is set, otherwise to the one in bind_url. If port 443
        is forwarded to another port here, as into a container, set public_url to "https://hub.example.org/".
        """,
    )
    event_loop = CaselessStrEnum(
        LOOPS,
        "auto",
        config=True,
        help="""
        The event loop of the proxy: "uvloop", which is faster, "asyncio", or "auto" for uvloop where it is installed.
        """,
    )
    socket_mode = Mode(
        0o660,
        config=True,
        help="""
        The permissions of the socket, if JupyterHub.bind_url is one: http+unix://%2Frun%2Fjupyterhub.sock

        It is an octal number without quotes, such as 0o660. Whoever may write to the socket can connect; with 0o660, these
        are the Hub's user and group.
        """,
    )
    most_connections = Integer(
        0,
        min=0,
        config=True,
        help="""
        How many connections from browsers there can be. If there are no more, idle ones are closed to make room; only if
        none is idle, new ones are closed.

        Default: 0, which is half of what the process may open (ulimit -n), after 256 for the Hub: 384 if that is 1024. Each
        request and each open websocket needs one more connection, to the server. An open notebook has up to eight.
        """,
    )
    activity_ignore_paths = List(
        Unicode(),
        config=True,
        help="""
        The paths of requests that do not count as activity, such as those by which an open page asks for news by itself.

        In a pattern, * stands for any text, slashes included. For example:

            c.InProcessProxy.activity_ignore_paths = ["*/api/status", "*/api/metrics/*"]
        """,
    )
    activity_ignore_pongs = Bool(
        False,
        config=True,
        help="""
        Whether a browser that only answers the pings of a server counts as away.

        Browsers do that by themselves, as long as a page is open. By default, an open notebook counts as activity, as with
        configurable-http-proxy.
        """,
    )
    access_log = Bool(
        False,
        config=True,
        help="""
        Whether each request is in the Hub's log, at level INFO, when it is over: the address of the client, method, path,
        route, status, and how long it took. The query is left out, because it may have secrets in it.

        Websockets are logged when they are closed, with status 101. At thousands of requests per second, some are left out,
        so that the Hub has time for other things.
        """,
    )
    extra_routes_ca = extra_routes_ca()

    async def _open_session(self) -> Session:
        for setting in self._without_effect():
            self.log.warning("%s", setting)
        self._check_should_start()
        if self.where == "process":
            return await open_apart(self._settings, absolute(self.state_dir), self._ends_with_hub, self.log)
        await end_left_running(absolute(self.state_dir), self.log, "c.InProcessProxy.where is 'thread' now")
        return await open_in_process(self._settings, self.log)

    def _without_effect(self) -> list[str]:
        """Return a sentence for each setting that has no effect."""
        found = inprocess_leftovers(self.config, {cls.__name__ for cls in type(self).__mro__})
        if self.where == "thread" and not self._ends_with_hub():
            found.append(
                "c.JupyterHub.cleanup_proxy = False has no effect: the proxy runs in a thread of the Hub, and ends with it. "
                'Set c.InProcessProxy.where = "process" for one that goes on.'
            )
        return found

    def _check_should_start(self) -> None:
        if not self.should_start:
            raise ConfigurationError(
                "c.Proxy.should_start is False, but a proxy in the Hub's own process cannot be started by others. Remove "
                'that setting, or use c.JupyterHub.proxy_class = "traefik-toml".'
            )

    def examination(self) -> InProcessExamination:
        """Return what the doctor looks at. It starts nothing, and works before and after :meth:`start`."""
        from .examination_inprocess import InProcessExamination  # a Hub that starts does without all that it needs

        outside = getattr(self.app, "public_url", "") or getattr(self.app, "subdomain_host", "")
        return InProcessExamination(
            without_effect=self._without_effect,
            checks=(
                self._check_should_start,
                lambda: self._place,
                lambda: self._redirect,
                self._check_extra_routes,
                self._read_transports,
            ),
            trusted_proxies=lambda: check_trusted_proxies(tuple(self.trusted_proxies)),
            trusted_downstream=tuple(getattr(self.app, "trusted_downstream_ips", ())),
            https_outside=outside.startswith("https:"),
            certificate=self._certificate,
        )

    def _check_extra_routes(self) -> None:
        for routespec, target in self.extra_routes.items():
            self._check_route(Route.checked(self.validate_routespec(routespec), target, {"extra": True}))

    def _read_transports(self) -> None:
        if not getattr(self.app, "internal_ssl", False) or "proxy-client" in self.app.internal_proxy_certs:
            self._transports.read()  # else, the Hub makes them when it starts for the first time

    def _ends_with_hub(self) -> bool:
        return bool(getattr(self.app, "cleanup_proxy", True))

    @property
    def _settings(self) -> InProcessSettings:
        return InProcessSettings(
            place=self._place,
            event_loop=self.event_loop,
            engine=EngineSettings(
                trusted=tuple(
                    ipaddress.ip_network(one, strict=False)
                    for one in check_trusted_proxies(tuple(self.trusted_proxies))
                ),
                most_clients=self.most_connections or _most_connections(),
                hub_url=_pages_of(self.hub),
                ignored=_any_of(self.activity_ignore_paths),
                ignores_pongs=self.activity_ignore_pongs,
            ),
            certificate=self._certificate,
            redirect=self._redirect,
            transports=self._transports,
            check_route=self._check_route,
            metrics=hub_metrics(),
            access_log=self.access_log,
        )

    @property
    def _place(self) -> Place:
        return place_of(self.public_url, self.socket_mode)

    @property
    def _transports(self) -> WatchedTransports:
        """The certificates for https targets; nothing is read yet."""
        return watched_transports(self.app, self.extra_routes_ca, "c.InProcessProxy.extra_routes_ca")

    @property
    def _certificate(self) -> PairFiles | None:
        """The admin's certificate, or None for http."""
        if not self.ssl_cert:
            return None
        return PairFiles(
            absolute(self.ssl_cert), absolute(self.ssl_key or self.ssl_cert), os.environ.get(PASSPHRASE_VARIABLE, "")
        )

    @property
    def _redirect(self) -> tuple[Place, int] | None:
        if not self.redirect_http:
            return None
        if not self.ssl_cert:
            raise ConfigurationError(
                "redirect_http is set, but there is no https to send browsers to: set c.JupyterHub.ssl_cert."
            )
        address = redirect_address(str(self.redirect_http), self.public_url)
        port = https_port(getattr(self.app, "public_url", ""), self.public_url)
        return place_of(f"http://{address}", 0, "c.InProcessProxy.redirect_http"), port


def _any_of(patterns: list[str]) -> re.Pattern[str] | None:
    """Return what matches a text that matches one of the patterns."""
    return re.compile("|".join(map(fnmatch.translate, patterns))) if patterns else None


def _most_connections() -> int:
    """Return how many clients can have two descriptors each, with some left to the Hub."""
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max((most - _LEFT_TO_THE_HUB) // 2, 64)


def _pages_of(hub: Any) -> str:
    """Return the URL of the Hub, which has pages for errors below it; "" if there is none."""
    return "" if hub is None else f"{hub.host}{hub.base_url}"
