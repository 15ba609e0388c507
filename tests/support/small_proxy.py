"""A small proxy in the Hub's own process that passes all required cases of the suite, or fails one of them on demand.

The suite is tested with it: it is simple and slow, and has a fault for each required case.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from jupyterhub.proxy import Proxy
from traitlets import Unicode

from traefik_toml_proxy.conformance import Setting, Subject
from traefik_toml_proxy.conformance.hub import make_proxy
from traefik_toml_proxy.conformance.listening import answering
from traefik_toml_proxy.conformance.wire import LIMIT, BrokenMessage, Head, chunk, head_bytes, read_body, read_head

_NO_BODY = {"204", "304"}
_LATE = 0.3


class SmallProxy(Proxy):  # type: ignore[misc] # JupyterHub has no types
    """Has its routes in a dict, a task for each connection, and a connection to the target for each request."""

    fault = Unicode(config=True, help="The id of the required case to fail, or nothing.")
    lock_file = Unicode(config=True, help="Shows the next Hub that this proxy runs.")

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._routes: dict[str, dict[str, Any]] = {}
        self._listed: dict[str, dict[str, Any]] = {}  # what get_all_routes returns instead because of a fault
        self._gone: set[str] = set()
        self._dead: set[str] = set()
        self._ever_added = False
        self._listening = contextlib.AsyncExitStack()
        self._requests: set[asyncio.StreamWriter] = set()
        self._sockets: set[asyncio.StreamWriter] = set()
        self._slots: dict[str, asyncio.Semaphore] = {}

    def has(self, fault: str) -> bool:
        """Whether this is the case to fail."""
        return self.fault == fault

    # The interface that JupyterHub calls.

    async def start(self) -> None:
        await asyncio.to_thread(self._lock)
        where = urlsplit(self.public_url)
        serving = answering(self._serve, host=where.hostname or "127.0.0.1", port=where.port or 0, limit=LIMIT)
        await self._listening.enter_async_context(serving)

    def _lock(self) -> None:
        lock = Path(self.lock_file)
        if lock.exists() and (self.has("lifecycle.hub-killed") or Path(f"/proc/{lock.read_text()}").exists()):
            raise RuntimeError(f"{lock} says that another proxy runs")
        lock.write_text(str(os.getpid()))

    async def stop(self) -> None:
        if not self.has("lifecycle.stop"):
            await self.end()

    async def end(self) -> None:
        """Do what ``stop`` does without a fault."""
        await asyncio.to_thread(Path(self.lock_file).unlink, missing_ok=True)
        await self._listening.aclose()

    async def add_route(self, routespec: str, target: str, data: dict[str, Any]) -> None:
        accepted = self.has("api.bad-routespec") and "." in routespec.partition("/")[0]
        try:
            routespec = routespec if accepted else self.validate_routespec(routespec)
        except ValueError:
            if self.has("api.one-fails"):
                self._routes.clear()
            raise
        before = self._routes.get(routespec)
        self._ever_added = True
        self._gone = {spec for spec in self._gone if not spec.startswith(routespec)}
        if self.has("api.delete"):
            self._listed = {}
        if self.has("api.add-again") and before and before["target"] == target:
            raise ValueError(f"{routespec} is there already")
        if self.has("api.many-at-once") and len(self._routes) >= 100:
            return
        if self.has("api.replace") and before:
            self._listed[routespec] = before
        late_at_first = self.has("changes.live-when-added") and len(self._routes) >= 12
        if late_at_first or (self.has("changes.moved-when-replaced") and before):
            self._listed[routespec] = {"routespec": routespec, "target": target, "data": dict(data)}
            asyncio.get_running_loop().call_later(_LATE, self._put_late, routespec, target, data)
        else:
            self._put(routespec, target, data)
        self._disturb()

    def _put(self, routespec: str, target: str, data: dict[str, Any]) -> None:
        self._routes[routespec] = {"routespec": routespec, "target": target, "data": dict(data)}

    def _put_late(self, routespec: str, target: str, data: dict[str, Any]) -> None:
        if self._listed.pop(routespec, None):  # unless it was deleted meanwhile
            self._put(routespec, target, data)

    async def delete_route(self, routespec: str) -> None:
        if self.has("api.delete-missing") and routespec not in self._routes:
            raise KeyError(routespec)
        self._listed.pop(routespec, None)
        if self.has("api.delete") and len(self._routes) == 2:
            self._listed[routespec] = self._routes[routespec]
        above = [spec for spec in self._routes if spec not in ("/", routespec) and routespec.startswith(spec)]
        if self.has("routing.named-goes") and above:
            self._gone.add(routespec)
        self._routes.pop(routespec, None)
        if self.has("routing.default-goes"):
            self._routes = {spec: route for spec, route in self._routes.items() if not spec.startswith(routespec)}
        self._disturb()

    def _disturb(self) -> None:
        """With a fault, disturb other routes as no change may."""
        if self.has("changes.others-lose-nothing"):
            for writer in self._requests:
                writer.transport.abort()
        if self.has("changes.websocket-lives"):
            for writer in self._sockets:
                writer.transport.abort()

    async def get_all_routes(self) -> dict[str, Any]:
        if self.has("api.empty-at-start") and not self._ever_added:
            return []  # type: ignore[return-value] # that is the fault
        routes = {
            spec: {**route, "data": dict(route["data"])} for spec, route in {**self._routes, **self._listed}.items()
        }
        if self.has("api.round-trip"):
            for route in routes.values():
                route["data"].pop("nested", None)
        return routes

    # Routing.

    def _route_of(self, head: Head, path: str) -> dict[str, Any] | None:
        host = (head.get("Host") or "").partition(":")[0]
        segments = [unquote(text) for text in path.split("/")[1:]]
        found = [spec for spec in [*self._routes, *self._gone] if self._matches(spec, host, segments)]
        if not found:
            return None
        if self.has("routing.longest-wins"):
            best = [spec for spec in found if spec != "/"][-1:] or ["/"]
            return self._routes.get(best[0])
        return self._routes.get(max(found, key=lambda spec: (not spec.startswith("/"), spec.count("/"))))

    def _matches(self, spec: str, host: str, segments: list[str]) -> bool:
        spec_host, _, path = spec.partition("/")
        wanted = [unquote(text) for text in path.split("/")[:-1]]
        below = segments[len(wanted) :]
        faults = {
            "routing.below": wanted and len(below) > 2,
            "routing.root": spec == "/" and segments == [""],
            "routing.base-url": spec == self.hub.routespec != "/",
            "names.plain": "/user/0" in spec,
            "names.mail-address": "@" in spec,
            "names.reserved-encoded": "%" in spec,
        }
        if faults.get(self.fault) or (spec_host not in ("", host) and not self.has("routing.host")):
            return False
        if self.has("routing.whole-segments") and wanted and segments[: len(wanted) - 1] == wanted[:-1]:
            rest = segments[len(wanted) - 1].removeprefix(wanted[-1]) if len(segments) >= len(wanted) else "no"
            if rest[:1].isdigit():
                return True
        return segments[: len(wanted)] == wanted

    # Requests.

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._requests.add(writer)
        try:
            while await self._respond(reader, writer):
                pass
        except (OSError, BrokenMessage, ValueError, asyncio.CancelledError):
            writer.transport.abort()  # so that no client takes what it got for a complete response
        finally:
            self._requests.discard(writer)

    async def _respond(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Respond to one request; return whether another one can follow."""
        head = await read_head(reader)
        method, target, _ = head.first.split(" ")
        route = self._route_of(head, target.partition("?")[0])
        if route is None:
            return await _refuse(writer, "404 Not Found")
        if self.has("messages.methods") and method == "PATCH":
            return await _refuse(writer, "405 Method Not Allowed")
        async with self._slot(route["routespec"]):
            where = urlsplit(route["target"])
            if where.netloc in self._dead:
                return await _refuse(writer, "503 Service Unavailable")
            try:
                back_reader, back_writer = await asyncio.open_connection(where.hostname, where.port, limit=LIMIT)
            except OSError:
                if self.has("failures.comes-back"):
                    self._dead.add(where.netloc)
                dead = "500 Internal Server Error" if self.has("failures.refused") else "503 Service Unavailable"
                return await _refuse(writer, dead)
            try:
                path = where.path.rstrip("/") + self._sent_target(target, route["routespec"])
                back_writer.write(head_bytes(f"{method} {path} HTTP/1.1", self._sent_headers(head, writer)))
                sending = asyncio.ensure_future(_relay(reader, head, back_writer, until_close=False))
                try:
                    return await self._pass_back(method, back_reader, back_writer, reader, writer, sending)
                finally:
                    sending.cancel()
                    await asyncio.wait([sending])
            finally:
                back_writer.close()

    @contextlib.asynccontextmanager
    async def _slot(self, routespec: str) -> AsyncIterator[None]:
        """With a fault, hold up the requests of one route, or of all."""
        limits = {"messages.at-once": (routespec, 4), "failures.hanging": ("all", 50)}
        if self.fault in limits:
            name, number = limits[self.fault]
            async with self._slots.setdefault(name, asyncio.Semaphore(number)):
                yield
        else:
            yield

    def _sent_target(self, target: str, routespec: str) -> str:
        if self.has("messages.path-is-kept") and "?" not in target and routespec != "/":
            return "/" + target[len(routespec) :]
        return target.replace("%20", "+") if self.has("messages.query-is-kept") and "?" in target else target

    def _sent_headers(self, head: Head, writer: asyncio.StreamWriter) -> list[tuple[str, str]]:
        host = head.get("Host") or ""
        address = writer.get_extra_info("peername")[0]
        forwarded = {"For": address, "Proto": "http", "Host": host, "Port": str(urlsplit(self.public_url).port)}
        if self.has("headers.forwarded"):
            del forwarded["Port"]
        upgrade = head.get("Upgrade") is not None
        dropped = {"connection"} if not upgrade else set()
        if self.has("headers.request"):
            dropped.add("x-anything")
        headers = [(name, value) for name, value in head.headers if name.lower() not in dropped]
        if self.has("headers.host") and host.endswith(":8443"):
            headers = [(name, value.removesuffix(":8443")) for name, value in headers]
        headers += [(f"X-Forwarded-{name}", value) for name, value in forwarded.items()]
        return headers if upgrade else [*headers, ("Connection", "close")]

    async def _pass_back(
        self,
        method: str,
        back_reader: asyncio.StreamReader,
        back_writer: asyncio.StreamWriter,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        sending: asyncio.Future[None],
    ) -> bool:
        head = await read_head(back_reader)
        while head.first.split(" ")[1] in ("100", "102", "103"):
            writer.write(head_bytes(head.first, head.headers))
            head = await read_head(back_reader)
        status = head.first.split(" ")[1]
        if status == "101":
            await sending
            writer.write(head_bytes(head.first, head.headers))
            await self._tunnel(back_reader, back_writer, reader, writer)
            return False
        framed = head.get("Content-Length") or head.get("Transfer-Encoding") or status in _NO_BODY or method == "HEAD"
        headers = [(name, value) for name, value in head.headers if name.lower() != "connection"]
        writer.write(
            head_bytes(*self._returned(head.first, headers if framed else [*headers, ("Connection", "close")]))
        )
        if method != "HEAD" and status not in _NO_BODY:
            await _relay(back_reader, head, writer, until_close=True, fault=self.fault)
        await writer.drain()
        if framed:
            await sending
        return bool(framed)

    def _returned(self, first: str, headers: list[tuple[str, str]]) -> tuple[str, list[tuple[str, str]]]:
        """Return the head of a response, changed only by a fault."""
        if self.has("messages.statuses"):
            first = first.replace(" 418 ", " 400 ")
        if self.has("messages.redirects"):
            headers = [(name, value.removeprefix("..") if name == "Location" else value) for name, value in headers]
        if self.has("headers.response"):
            headers = [(name, value) for name, value in headers if name != "ETag"]
        cookies = [value for name, value in headers if name == "Set-Cookie"]
        if self.has("headers.set-cookie") and cookies:
            others = [(name, value) for name, value in headers if name != "Set-Cookie"]
            headers = [*others, ("Set-Cookie", ", ".join(cookies))]
        return first, headers

    async def _tunnel(
        self,
        back_reader: asyncio.StreamReader,
        back_writer: asyncio.StreamWriter,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        """Pass on bytes in both directions until one side closes."""

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while data := await source.read(LIMIT):
                # A masked text frame without text has six bytes.
                if not (self.has("websockets.text") and source is reader and len(data) == 6):
                    sink.write(data)
                    await sink.drain()

        self._requests.discard(writer)
        self._sockets.add(writer)
        pumps = [asyncio.ensure_future(pump(back_reader, writer)), asyncio.ensure_future(pump(reader, back_writer))]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._sockets.discard(writer)
            for task in pumps:
                task.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)


async def _refuse(writer: asyncio.StreamWriter, status: str) -> bool:
    writer.write(head_bytes(f"HTTP/1.1 {status}", [("Content-Length", "0"), ("Connection", "close")]))
    await writer.drain()
    return False


async def _relay(
    reader: asyncio.StreamReader, head: Head, writer: asyncio.StreamWriter, *, until_close: bool, fault: str = ""
) -> None:
    """Pass on a body as it is received, with its framing."""
    chunked = (head.get("Transfer-Encoding") or "").lower() == "chunked"
    kept, length = b"", 0
    async for part in read_body(reader, head, until_close=until_close):
        length += len(part)
        if fault == "bodies.with-length" and length > 2**20:
            part = bytes(len(part))
        if fault == "bodies.chunked-down" and chunked and len(part) == 1:
            continue
        if fault == "bodies.event-at-once" and chunked:
            kept += part
            continue
        writer.write(chunk(part) if chunked else part)
        await writer.drain()
    if chunked:
        writer.write((chunk(kept) if kept else b"") + chunk(b""))
        await writer.drain()


class SmallSubject(Subject):
    """The small proxy, with or without a fault."""

    def __init__(self, fault: str = "") -> None:
        self.name = f"small proxy that fails {fault}" if fault else "small proxy"
        self.fault = fault
        self._proxies: list[SmallProxy] = []

    async def start(self, setting: Setting) -> Proxy:
        config = {"SmallProxy": {"fault": self.fault, "lock_file": f"{setting.folder}/lock"}}
        proxy = make_proxy("support.small_proxy:SmallProxy", setting, config)
        assert isinstance(proxy, SmallProxy)
        await proxy.start()
        self._proxies.append(proxy)
        await proxy.get_all_routes()
        return proxy

    async def stop(self) -> None:
        for proxy in self._proxies:
            await proxy.end()
        self._proxies = []

    async def leave_behind(self, setting: Setting, routes: Mapping[str, str]) -> None:  # noqa: ARG002 - the routes die with the Hub
        """Leave the lock file of a Hub that was killed: nothing else is left of a proxy in the Hub's process."""
        script = (
            f"import os, pathlib; pathlib.Path({setting.folder + '/lock'!r}).write_text(str(os.getpid())); os.abort()"
        )
        hub = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stderr=subprocess.DEVNULL)
        assert await hub.wait() == -signal.SIGABRT
