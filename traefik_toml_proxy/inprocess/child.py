"""The proxy in a process of its own: a program, which the Hub starts, and tells over a socket what to do. Does I/O."""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import os
import signal
import socket
import ssl
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from ..routes import Change, RouteTable
from ..threads import in_thread
from ..traefik.transports import Transport, Transports
from .engine import Engine
from .handover import hand_over
from .link import Link, LinkLost, NoAnswer, peer_of
from .listeners import open_unix
from .loop import make_loop
from .messages import BrokenMessage, pieces_of, routes_in
from .reporter import Reporter
from .serving import serve
from .settings import ChildSettings
from .tls import PublicContext, TargetTls

# The socket in the Hub's state_dir where the next Hub comes to.
DOOR = "in-process.sock"
# Seconds that answers which are under way may take when the process ends.
GRACE = 2.0
# Seconds until a connection must have asked to take over, and how many may be about to.
_SECONDS_TO_ASK, _MOST_ASKING = 5.0, 8
# Seconds in which the Hub must take some more of what it has asked for.
_SECONDS_TO_TAKE = 2.0
# Seconds until the door is tried again, with no descriptor left.
_PAUSE = 0.5

_log = logging.getLogger(__name__)

Message = dict[str, Any]


class Child:
    """Does what the Hub says, one thing after another. Without a Hub, it goes on, or ends, as the last Hub has said."""

    def __init__(self, folder: Path) -> None:
        """Set up; nothing is served before the Hub says how.

        Args:
            folder: The Hub's state_dir.
        """
        self.ended = asyncio.Event()
        self._folder = folder
        self._door: socket.socket | None = None
        # Why there is no door, as it was logged last.
        self._door_problem = ""
        self._reporter = Reporter()
        logging.getLogger().addHandler(self._reporter)
        self._engine: Engine | None = None
        self._shown, self._targets = PublicContext(), TargetTls()
        # Where it is to listen, and where it does.
        self._sockets: list[tuple[int, bool, int | None]] = []
        self._listening: list[tuple[int, bool, int | None]] = []
        self._hub: Link | None = None
        self._stays = False
        self._table = RouteTable()
        # The changes that have come of the next commit, and the revision that they are for; None to start from nothing.
        self._changes: list[Change] = []
        self._base: int | None = None
        self._inbox: asyncio.Queue[tuple[Link, Message]] = asyncio.Queue()
        self._asking: set[Link] = set()
        self._letting_in: set[asyncio.Task[None]] = set()

    # Whom it listens to.

    async def meet(self, connection: socket.socket) -> None:
        """Listen to the Hub that has started this process."""
        self._hub = link = Link(self._on_message, self._on_lost)
        await link.open(connection)
        self._accept(link)

    async def open_door(self) -> None:
        """Let the next Hub come to a new socket. If there can be none, this process serves all the same."""
        self._close_door()
        try:
            door = await in_thread(open_unix, self._folder / DOOR, 0o600)
        except OSError as error:
            problem = f"{self._folder / DOOR} cannot be opened ({error.strerror or error})"
            if problem != self._door_problem:
                _log.warning("%s: the next Hub cannot take over this process", problem)
            self._door_problem = problem
        else:
            self._door_problem = ""
            if self.ended.is_set():
                door.close()
                return
            self._door = door
            self._watch_door(door)

    def _close_door(self) -> None:
        door, self._door = self._door, None
        if door is not None:
            asyncio.get_running_loop().remove_reader(door)
            door.close()

    def _watch_door(self, door: socket.socket) -> None:
        if door is self._door:
            # Not loop.sock_accept(): if it is cancelled, asyncio may keep a connection that nobody knows of.
            asyncio.get_running_loop().add_reader(door, self._on_arrival, door)

    def _on_arrival(self, door: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            connection, _ = door.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError:
            loop.remove_reader(door)
            loop.call_later(_PAUSE, self._watch_door, door)
            return
        # The socket is for this user only already, unless somebody has changed that.
        if peer_of(connection)[1] != os.geteuid() or len(self._asking) >= _MOST_ASKING:
            connection.close()
            return
        connection.setblocking(False)
        try:
            # At once: if this process ends, the numbers of the sockets may be those of others in the next step.
            hand_over(connection, self._listening)
        except OSError:
            connection.close()
            return
        link = Link(self._on_message, self._on_lost)
        self._asking.add(link)
        opening = loop.create_task(self._let_in(link, connection))
        self._letting_in.add(opening)
        opening.add_done_callback(self._letting_in.discard)

    async def _let_in(self, link: Link, connection: socket.socket) -> None:
        try:
            await link.open(connection)
        except OSError:  # it has gone already
            self._asking.discard(link)
            connection.close()
        else:
            asyncio.get_running_loop().call_later(_SECONDS_TO_ASK, self._turn_away, link)

    def _turn_away(self, link: Link) -> None:
        if link in self._asking:
            link.abort()

    def _accept(self, link: Link) -> None:
        self._hub = link
        self._changes = []
        self._reporter.use(link)

    def _on_message(self, link: Link, message: Message) -> None:
        if link is self._hub and "stay" in message:
            # At once: it may be the last one, and what is under way then must not hold it up.
            self._stays = bool(message["stay"])
        elif link is self._hub:
            self._inbox.put_nowait((link, message))
        elif link in self._asking and "take" in message and self._hub is None and not self.ended.is_set():
            self._asking.discard(link)
            self._accept(link)
            self._inbox.put_nowait((link, message))
        elif link in self._asking and "take" in message and self._hub is not None:
            link.send({"busy": True, "answers": message.get("asks")})
        else:
            link.abort()

    def _on_lost(self, link: Link) -> None:
        self._asking.discard(link)
        if link is self._hub:
            self._hub = None
            self._reporter.use(None)
            if not self._stays:
                self.ended.set()

    # What it is told.

    async def work(self) -> None:
        """Do what comes. Never returns."""
        while True:
            link, message = await self._inbox.get()
            if link is not self._hub:
                continue
            answer: Message = {}
            try:
                answer = await self._do(link, message) or {}
            except (ssl.SSLError, BrokenMessage, LinkLost, NoAnswer, OSError) as error:
                answer = {"error": str(getattr(error, "reason", None) or error)}
            except Exception as error:  # noqa: BLE001 - a bug: the Hub is told, and users go on
                _log.exception("A message of the Hub could not be followed")
                answer = {"error": repr(error)}
            if "asks" in message:
                link.send({**answer, "answers": message["asks"]})

    async def _do(self, link: Link, message: Message) -> Message | None:
        does: dict[str, Callable[[Link, Message], Awaitable[Message | None]]] = {
            "begin": self._begin,
            "take": self._give_table,
            "changes": self._note_changes,
            "commit": self._commit,
            "certificate": self._show,
            "listen": self._listen,
            "ping": self._ping,
            "door": self._renew_door,
            "look": self._look,
            "end": self._end,
        }
        for kind, do in does.items():
            if kind in message:
                return await do(link, message)
        raise BrokenMessage("a message of no known kind")

    async def _begin(self, _: Link, message: Message) -> None:
        settings = ChildSettings.of_tree(message["begin"])
        reporter = self._reporter
        on_access = reporter.on_access if settings.access_log else None
        self._engine = Engine(settings.engine, self._targets.current, reporter.on_failure, _log.warning, on_access)
        self._sockets = [(number, is_tls, port) for number, is_tls, port in message["sockets"]]

    @property
    def _served(self) -> Engine:
        if self._engine is None:
            raise BrokenMessage("this process has no settings yet")
        return self._engine

    async def _give_table(self, link: Link, _: Message) -> Message:
        for piece in pieces_of(self._table):
            link.send({"routes": piece})
            await asyncio.sleep(0)
        return {"revision": self._served.revision}

    async def _note_changes(self, _: Link, message: Message) -> None:
        """The first message of a commit says what it is for; the others bring routes, and routespecs that are deleted."""
        if message["changes"] is not None:
            self._changes, self._base = [], message["changes"]
        self._changes += [Change(routespec, None) for routespec in message.get("deleted", [])]
        self._changes += [Change(route.routespec, route) for route in routes_in(message.get("routes", []))]

    async def _commit(self, _: Link, message: Message) -> Message:
        engine, changes = self._served, self._changes
        self._changes = []
        if self._base and self._base != engine.revision:
            return {"error": f"it serves revision {engine.revision}, not {self._base}"}
        if len(changes) != message["changed"]:
            return {"error": f"it was told of {len(changes)} changes, not {message['changed']}"}
        if "transports" in message:
            await in_thread(self._targets.update, _transports(message["transports"]))
        table, refused = (self._table if self._base else RouteTable()).with_changes(changes)
        for outcome in refused:
            if not isinstance(outcome, bool):
                return {"error": str(outcome)}
        self._table = table
        engine.use(table, message["commit"])
        return {}

    async def _show(self, _: Link, message: Message) -> None:
        await in_thread(self._shown.use, message["certificate"].encode())

    async def _listen(self, _: Link, __: Message) -> None:
        engine, sockets, self._sockets = self._served, self._sockets, []
        for number, is_tls, port in sockets:
            context = self._shown.context if is_tls else None
            await serve(engine, [socket.socket(fileno=number)], context, port)
        self._listening = sockets
        engine.begin()

    async def _ping(self, _: Link, __: Message) -> Message:
        return {"revision": self._served.revision}

    async def _renew_door(self, _: Link, __: Message) -> None:
        await self.open_door()

    async def _look(self, link: Link, _: Message) -> None:
        while not self._reporter.tell_seen(self._served):
            await link.settled(_SECONDS_TO_TAKE)
        self._reporter.tell_traffic(self._served)

    async def _end(self, _: Link, __: Message) -> None:
        self.ended.set()

    async def run(self, connection: socket.socket) -> None:
        """Serve, until the Hub or a signal ends it."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.ended.set)
        await self.meet(connection)
        await self.open_door()
        tasks = [asyncio.ensure_future(work) for work in (self.work(), self._report())]
        await self.ended.wait()
        self._close_door()  # at once, so that the next Hub does not wait there
        if self._engine is not None:
            await self._engine.close(GRACE)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    async def _report(self) -> None:
        while self._engine is None:
            await asyncio.sleep(0.1)
        await self._reporter.run(self._engine)


def _transports(tree: dict[str, Any]) -> Transports:
    made = {name: Transport(*texts) if texts else None for name, texts in tree.items()}
    return Transports(internal=made["internal"], extra=made["extra"])


def main() -> None:
    """Run it. The arguments are the kind of the event loop, and the Hub's state_dir; the socket is standard input."""
    faulthandler.enable()
    os.umask(0o077)
    kind, folder = sys.argv[1:]
    connection = socket.socket(fileno=os.dup(0))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    loop = make_loop(kind)
    asyncio.set_event_loop(loop)

    async def run() -> None:
        await Child(Path(folder)).run(connection)

    loop.run_until_complete(run())


if __name__ == "__main__":
    main()
