"""Keeper: starts, takes over, watches, starts again and ends the proxy in a process of its own. Does I/O, in threads."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import hashlib
import logging
import socket
import ssl
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

from .._version import __version__
from ..errors import ProxyError, StoreLocked, quoted
from ..files import run_in_thread
from ..routes import Route
from ..runtime.process import ProcessIdentity, RunningProcess
from ..seams import Event, Metrics
from ..threads import in_thread
from .child import GRACE
from .handover import Listening
from .link import Link, LinkLost, NoAnswer
from .listeners import check_places, open_places
from .messages import BrokenMessage, routes_in
from .record import KILL_SECONDS, Record, end_process
from .settings import KeeperSettings
from .spawning import LastOutput, come_to_door, spawn, wait_for

# Seconds in which the process must have started, on a very slow machine; in which it must answer; and after which one that
# is silent is taken for one that will never answer.
_START_SECONDS, ANSWER_SECONDS, _SILENT_SECONDS = 60.0, 10.0, 30.0
# Seconds between two looks whether it answers, and in which one that is told to end has done so.
_LOOK_INTERVAL, _END_SECONDS = 5.0, GRACE + 2.0
# Seconds for which the next Hub tries to take it over: the last one may have ended just now, and others may be at the door.
_TAKE_SECONDS = 10.0
# It is started again at once after it ends. The pause grows, in seconds, if it keeps ending soon after a start.
_FIRST_PAUSE, _LONGEST_PAUSE, _STABLE_SECONDS = 0.5, 30.0, 10.0


class Keeper:
    """Keeps one process running until it is stopped.

    Attributes:
        link: The connection to the process, once it has its settings; None while there is none.
        taken: The revision and the routes that the process of an earlier Hub has; None if it is a new one.
    """

    def __init__(
        self,
        settings: KeeperSettings,
        on_message: Callable[[dict[str, Any]], object],
        log: logging.Logger,
        metrics: Metrics,
    ) -> None:
        """Set what to run; nothing is started before :meth:`open`.

        Args:
            settings: The settings.
            on_message: Is given what the process reports by itself.
            log: Where it is said what becomes of the process.
            metrics: Is told of each restart.
        """
        self.link: Link | None = None
        self.taken: tuple[int, list[Route]] | None = None
        self._settings = settings
        self._on_message = on_message
        self._log = log
        self._metrics = metrics
        self._record = Record(settings.folder, log)
        self._command = [sys.executable, "-m", f"{__package__}.child", settings.event_loop, str(settings.folder)]
        self._begin = settings.child.as_tree()
        all_settings = repr((self._command, __version__, sys.version, self._begin, settings.places))
        self._digest = hashlib.sha256(all_settings.encode()).hexdigest()
        # They stay open here, so that nobody is refused while a process is started again.
        self._sockets: list[Listening] = []
        self._pem = b""
        self._running: RunningProcess | None = None
        self._output = LastOutput()
        self._has_link = asyncio.Event()
        # The newest one, which may not be usable yet.
        self._opening: Link | None = None
        self._lost = asyncio.Event()
        self._routes: list[Route] = []
        self._tells_stay: bool | None = None
        self._keeping: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The process ID, or None."""
        return self._running.pid if self._running else None

    # The start.

    async def open(self) -> None:
        """Take over the process of an earlier Hub if its settings are the current ones; if not, end it, and start a new one.

        Raises:
            ProxyError: If it cannot be started.
        """
        record = await self._record.of_running()
        if record is None:
            await self._start()
            return
        why = "the settings, this package or Python have changed"
        if record.static_sha256 != self._digest:
            await in_thread(check_places, self._settings.places, record.identity.pid)  # or it is ended for nothing
        self._running = RunningProcess(record.identity, None)
        atexit.register(self._say_whether_to_stay)
        if record.static_sha256 == self._digest:
            why = await self._take_over()
        if why:
            await self.start_anew(why)
        else:
            self._log.info("Taking over the proxy's process of the last Hub (process %d)", self.pid)

    async def start_anew(self, why: str) -> None:
        """Have a new process in place of the one that was taken over, at the same sockets.

        Raises:
            ProxyError: If it cannot be started.
        """
        if self._running is not None and await in_thread(self._running.alive):
            self._log.warning("Ending the proxy's process of the last Hub (process %d): %s", self.pid, why)
        await self._end()
        self.taken = None
        await self._start()

    async def _take_over(self) -> str:
        """Take over the process; return why that cannot be, or ""."""
        assert self._running is not None  # noqa: S101
        end = time.monotonic() + _TAKE_SECONDS
        while True:
            try:
                folder, pid = self._settings.folder, self._running.pid
                connection, sockets = await in_thread(come_to_door, folder, pid, ANSWER_SECONDS)
                self._close_sockets()
                self._sockets = sockets
                link = await self._open_link(connection)
                answer = await link.ask({"take": True}, ANSWER_SECONDS)
                if "busy" not in answer:
                    break
                self._drop_link()
                if time.monotonic() > end:
                    self._forget()
                    raise StoreLocked(str(folder), f"the Hub of the proxy's process {pid}")
                await asyncio.sleep(0.1)
            except (OSError, LinkLost) as error:
                if time.monotonic() > end or not await in_thread(self._running.alive):
                    self._drop_link()
                    return f"it cannot be taken over ({error})"
                await asyncio.sleep(0.1)
            except NoAnswer as error:
                self._drop_link()
                return str(error)
        if "error" in answer:
            self._drop_link()
            return quoted(str(answer["error"]))
        self.taken, self._routes = (int(answer["revision"]), self._routes), []
        self._tell_whether_to_stay(link)
        self._use(link)
        return ""

    async def _start(self) -> None:
        """Start a process, and give it all that it needs but the routes.

        Raises:
            ProxyError: If that fails; the message says why.
        """
        self._tells_stay = None
        if not self._sockets:
            self._sockets = await in_thread(open_places, self._settings.places)
        ours, theirs = socket.socketpair()
        with theirs, contextlib.ExitStack() as stack:
            stack.enter_context(ours)
            try:
                await run_in_thread(self._spawn, theirs)  # to its end, so that stop() knows the process
                link = await self._open_link(ours)
            except OSError as error:
                raise ProxyError(f"The proxy's process could not be started: {error}") from error
            stack.pop_all()
        numbers = [[one.fileno(), is_tls, port] for one, is_tls, port in self._sockets]
        try:
            await self._ask_new(link, {"begin": self._begin, "sockets": numbers})
            if self._pem:
                await self._ask_new(link, {"certificate": self._pem.decode()})
        except (LinkLost, NoAnswer) as error:
            words = await in_thread(self._output.words)
            raise ProxyError(f"The proxy's process could not be started: {error}.{words}") from error
        self._use(link)

    async def _ask_new(self, link: Link, message: dict[str, Any]) -> None:
        answer = await link.ask(message, _START_SECONDS)
        if "error" in answer:
            raise ProxyError(f"The proxy's process could not be started: {quoted(str(answer['error']))}")

    def _spawn(self, theirs: socket.socket) -> None:
        self._output.renew()
        sockets = [one for one, _, _ in self._sockets]
        child = spawn(self._command, theirs, sockets, self._output)
        identity = ProcessIdentity.of(child.pid)
        self._running = RunningProcess(identity or ProcessIdentity(child.pid, "", 0), child)
        atexit.register(self._say_whether_to_stay)
        if identity is not None:
            self._record.write(identity, self._command, self._digest)

    # The connection.

    async def _open_link(self, connection: socket.socket) -> Link:
        lost = self._lost = asyncio.Event()

        def on_lost(link: Link) -> None:
            lost.set()
            if self.link is link:
                self.link = None
                self._has_link.clear()

        link = Link(self._take, on_lost)
        self._routes = []
        await link.open(connection)
        self._opening = link
        return link

    def _take(self, link: Link, message: dict[str, Any]) -> None:
        if "routes" not in message:
            self._on_message(message)
            return
        try:
            self._routes += routes_in(message["routes"])
        except BrokenMessage:
            link.abort()  # rather than to go on without those

    def _use(self, link: Link) -> None:
        self.link = link
        self._has_link.set()

    def _drop_link(self) -> None:
        if self._opening is not None:
            self._opening.abort()

    async def connected(self, seconds: float) -> Link:
        """Return the connection, which may take a moment while the process is started again.

        Raises:
            LinkLost: If there is none in time.
        """
        await wait_for(self._has_link.wait(), seconds)
        if self.link is None:
            raise LinkLost
        return self.link

    async def show(self, pem: bytes) -> None:
        """Have the process show this certificate from now on, and those that are started after it.

        Raises:
            ssl.SSLError: If it cannot be used.
            ProxyError: If the process does not answer.
        """
        try:
            link = await self.connected(ANSWER_SECONDS)
            answer = await link.ask({"certificate": pem.decode()}, ANSWER_SECONDS)
        except (LinkLost, NoAnswer) as error:
            raise ProxyError(f"the proxy's process: {error}") from error
        if "error" in answer:
            raise ssl.SSLError(answer["error"])
        self._pem = pem

    async def listen(self) -> None:
        """Have a new process accept connections.

        Raises:
            ProxyError: If it cannot.
        """
        try:
            link = await self.connected(ANSWER_SECONDS)
            await self._ask_new(link, {"listen": True})
            # Not before: whoever takes it over takes for granted that it listens.
            self._tell_whether_to_stay(link)
        except (LinkLost, NoAnswer) as error:
            raise ProxyError(f"The proxy's process could not be started: {error}") from error

    def _tell_whether_to_stay(self, link: Link) -> None:
        self._tells_stay = not self._settings.ends_with_hub()
        link.send({"stay": self._tells_stay})

    def _say_whether_to_stay(self) -> None:
        """At the very end of the Hub, which may have been told to leave its proxy running, or not to, meanwhile."""
        stay = not self._settings.ends_with_hub()
        if self.link is not None and self._tells_stay is not None and stay != self._tells_stay:
            self.link.send_now({"stay": stay})

    # The watch.

    async def mend_files(self) -> None:
        """Make again what the next Hub needs to find the process, if somebody has deleted it."""
        link = self.link
        if link is not None and not await in_thread(self._record.mend):
            with contextlib.suppress(LinkLost, NoAnswer):
                await link.ask({"door": True}, ANSWER_SECONDS)

    def watch(self, publish: Callable[[], Awaitable[object]]) -> None:
        """From now on, start the process again whenever it ends, or does not answer.

        Args:
            publish: Gives a new process its routes, before it accepts connections.
        """
        self._keeping = asyncio.create_task(self._keep_running(publish), name="traefik_toml_proxy keeper")

    async def _keep_running(self, publish: Callable[[], Awaitable[object]]) -> None:
        pause = 0.0
        while True:
            assert self._running is not None  # noqa: S101
            running = self._running
            why = await self._until_unfit(running)
            if time.monotonic() - running.since > _STABLE_SECONDS:
                pause = 0.0
            when = f"in {pause:g} s" if pause else "at once"
            words = await in_thread(self._output.words)
            self._log.error("The proxy's process %d: %s; starting it again %s.%s", running.pid, why, when, words)
            await self._end(at_once=True)
            await asyncio.sleep(pause)
            pause = min(max(_FIRST_PAUSE, 2 * pause), _LONGEST_PAUSE)
            while not await self._restart(publish, pause):
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    async def _until_unfit(self, running: RunningProcess) -> str:
        """Return when the process has ended, or does not answer, and which of both."""
        link, lost = self.link, self._lost
        while link is not None:
            try:
                await link.ask({"ping": True}, _SILENT_SECONDS)
            except NoAnswer as error:
                return str(error)
            except LinkLost:
                break
            await wait_for(lost.wait(), _LOOK_INTERVAL)
        self._drop_link()
        has_ended = await wait_for(running.wait(), KILL_SECONDS)
        return f"it has ended ({running.describe_exit()})" if has_ended else "it has closed its connection"

    async def _restart(self, publish: Callable[[], Awaitable[object]], pause: float) -> bool:
        try:
            await self._start()
            await publish()
            await self.listen()
        except Exception as error:  # noqa: BLE001 - whatever it is, users wait, and the next attempt may succeed
            is_known = isinstance(error, ProxyError)
            self._log.error("%s; trying again in %g s", error, pause, exc_info=None if is_known else error)
            await self._end(at_once=True)
            return False
        self._metrics.count(Event.RESTART)
        self._log.info("The proxy's process has been started again (process %d)", self.pid)
        return True

    # The end.

    async def stop(self) -> None:
        """End the process, after the answers that are under way; return when it has exited. May be called twice."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait([self._keeping])
        pid = self.pid
        self._close_sockets()  # at once, or those who come would wait until the Hub has ended
        await self._end(told=True)
        await in_thread(self._output.close)
        if pid is not None:
            self._log.info("The proxy's process %d has been ended", pid)

    def _close_sockets(self) -> None:
        for one, _, _ in self._sockets:
            one.close()
        self._sockets = []

    async def _end(self, *, at_once: bool = False, told: bool = False) -> None:
        """End the process, and forget it.

        Args:
            at_once: Whether not even answers that are under way may end.
            told: Whether it is told over the connection.
        """
        running = self._running
        if told and self.link is not None:
            self.link.send({"end": True})
            if running is not None:
                await wait_for(running.wait(), _END_SECONDS)
        self._drop_link()
        if running is None:
            return
        await end_process(running, at_once=at_once)
        self._forget()  # not before: this may be cancelled, and called again
        await self._record.remove()

    def _forget(self) -> None:
        atexit.unregister(self._say_whether_to_stay)
        self._running = None
