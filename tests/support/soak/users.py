"""The users of a soak: requests, websockets and downloads, without a break. Each answer is held against what is expected."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from urllib.parse import urlsplit

from support.waiting import PATIENCE, within

from .expected import Expected, Failure
from .plan import MOVING, STEADY, Place
from .servers import BLOCK, BLOCKS, block

CERTIFICATE = "the certificate"

# How many there are of each kind.
_VISITORS = 4
_PASSERS_BY = 1
_TALKERS = 4
_DOWNLOADERS = 2
# Seconds that an answer may take.
_PATIENT = 20 * PATIENCE


class Failed(Exception):
    """A request failed, in a way that is sometimes allowed."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.value)
        self.failure = failure


def _trusting_everybody() -> ssl.SSLContext:
    """Return a client context that takes any certificate: which one it is, is compared otherwise."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


_TLS = _trusting_everybody()


class Connection:
    """A keep-alive connection to the public entry point."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, url: str) -> Connection:
        """Connect.

        Raises:
            Failed: If that is not possible.
        """
        where = urlsplit(url)
        # A limit that no answer reaches. Before Python 3.11, a TLS connection that is lost while it is paused raises an
        # AttributeError instead of telling so.
        limit = BLOCK * BLOCKS
        try:
            return cls(
                *await within(_PATIENT, asyncio.open_connection(where.hostname, where.port, ssl=_TLS, limit=limit))
            )
        except TimeoutError:
            raise  # that it hangs is never allowed
        except OSError as error:
            raise Failed(Failure.NO_CONNECTION) from error

    @property
    def certificate(self) -> str:
        """A hash of the certificate that was shown."""
        shown = self._writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        return hashlib.sha256(shown).hexdigest()[:12]

    async def begin(self, path: str, *more: str) -> tuple[str, dict[str, str]]:
        """Send a request, and read the head of its answer.

        Args:
            path: Sent as it is.
            more: More header lines.

        Returns:
            The first line, and the headers.

        Raises:
            Failed: If there is no answer from a server.
        """
        lines = "".join(f"{line}\r\n" for line in ("Host: hub.example", *more))
        with _cut():
            self._writer.write(f"GET {path} HTTP/1.1\r\n{lines}\r\n".encode())
            head = (await within(_PATIENT, self._reader.readuntil(b"\r\n\r\n"))).decode("latin-1")
        first, *fields = head.splitlines()
        headers = {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}
        if " 404 " in first and await self.body(int(headers["content-length"])) == b"404 page not found\n":
            raise Failed(Failure.NOT_FOUND)
        if " 200 " not in first and " 101 " not in first:
            raise ValueError(f"{path}: {first}")
        return first, headers

    async def body(self, length: int) -> bytes:
        """Read from the body.

        Raises:
            Failed: If it ends before.
        """
        with _cut():
            return await within(_PATIENT, self._reader.readexactly(length))

    async def get(self, path: str) -> str:
        """Send a request; return the body of its answer.

        Raises:
            Failed: If there is no answer from a server.
        """
        _, headers = await self.begin(path)
        return (await self.body(int(headers["content-length"]))).decode()

    async def become_websocket(self, path: str) -> None:
        """Send a request for a websocket.

        Raises:
            Failed: If there is no answer from a server.
        """
        key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
        wanted = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", key)
        first, _ = await self.begin(path, *wanted)
        if " 101 " not in first:
            raise ValueError(f"{path}: {first}")

    async def say(self, word: str) -> str:
        """Send a message over the websocket; return the next one. Both are short (RFC 6455, section 5.2).

        Raises:
            Failed: If the websocket ends before.
        """
        with _cut():
            # Text, final, and masked with zeros, so that it stays as it is.
            self._writer.write(bytes([0x81, 0x80 | len(word)]) + bytes(4) + word.encode())
        kind, length = await self.body(2)
        text = (await self.body(length)).decode()
        if kind != 0x81 or length > 125:
            raise ValueError(f"a websocket got a frame of kind {kind:#x}, {text!r}")
        return text

    def close(self) -> None:
        """Close it at once."""
        self._writer.transport.abort()


@contextlib.contextmanager
def _cut() -> Iterator[None]:
    try:
        yield
    except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError) as error:
        raise Failed(Failure.CUT) from error


class Users:
    """All users, at one entry point."""

    def __init__(self, url: str, expected: Expected, seed: int) -> None:
        self._url = url
        self._expected = expected
        self._seed = seed
        self._leave = asyncio.Event()

    @contextlib.asynccontextmanager
    async def about(self) -> AsyncIterator[None]:
        """Let them use the proxy while the block runs. At its end, each finishes what it does, and hangs up."""
        self._leave.clear()
        kinds = ((_VISITORS, "visit"), (_PASSERS_BY, "pass_by"), (_TALKERS, "talk"), (_DOWNLOADERS, "download"))
        tasks = [
            asyncio.create_task(self._user(f"{doing} {number}").go_on(doing))
            for count, doing in kinds
            for number in range(count)
        ]
        try:
            yield
        finally:
            self._leave.set()
            await asyncio.wait(tasks, timeout=3 * _PATIENT)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks)

    async def ask(self, place: Place) -> None:
        """Send one request on a connection of its own."""
        user = self._user("once")
        with contextlib.suppress(Failed):
            await user.ask_once(place)
        self._expected.leaves("once")

    def _user(self, name: str) -> _User:
        return _User(self._url, self._expected, name, random.Random(f"{self._seed} {name}"), self._leave)


class _User:
    """One user, who does the same thing again and again."""

    def __init__(self, url: str, expected: Expected, name: str, dice: random.Random, leave: asyncio.Event) -> None:
        self._url = url
        self._expected = expected
        self._name = name
        self._dice = dice
        self._leave = leave

    async def go_on(self, doing: str) -> None:
        """Do it until it is time to leave."""
        do: Callable[[], Awaitable[None]] = getattr(self, f"_{doing}")
        while not self._leave.is_set():
            try:
                await do()
            except Failed:
                await self._for(0.02)
            except Exception as error:  # noqa: BLE001 - whatever it is, it may not be
                self._expected.problem(f"{self._name}: {type(error).__name__}: {error}")
                await self._for(0.1)
        self._expected.leaves(self._name)

    async def ask_once(self, place: Place) -> None:
        """Send one request on a connection of its own.

        Raises:
            Failed: If there is no answer from a server.
        """
        connection = await self._connected(place)
        try:
            await self._ask(connection, place, "once")
        finally:
            connection.close()

    async def _for(self, seconds: float) -> None:
        """Wait, unless it is time to leave."""
        with contextlib.suppress(TimeoutError):
            await within(seconds, self._leave.wait())

    async def _connected(self, place: Place) -> Connection:
        """Connect for a request. Who is shown another certificate hangs up, as a browser does."""
        with self._expected.asking(place.path, self._name) as question, self._expected.asking(CERTIFICATE) as shown:
            try:
                connection = await Connection.open(self._url)
            except Failed as error:
                self._expected.judge(question, error.failure)
                raise
            if connection.certificate in shown.answers:
                self._expected.judge(shown, connection.certificate)
                return connection
            self._expected.judge(shown, Failure.CERTIFICATE)
            connection.close()
            raise Failed(Failure.CERTIFICATE)

    async def _ask(self, connection: Connection, place: Place, word: str) -> None:
        path = f"{place.path}{word}"
        with self._expected.asking(place.path, self._name) as question:
            try:
                answer = await connection.get(path)
            except Failed as error:
                self._expected.judge(question, error.failure)
                raise
            server, _, seen_path = answer.partition(" ")
            self._expected.judge(question, server if seen_path == path else answer)

    async def _visit(self) -> None:
        """Send many requests on one connection."""
        connection = await self._connected(self._dice.choice(STEADY))
        try:
            for number in range(self._dice.randrange(1, 500)):
                if self._leave.is_set():
                    return
                await self._ask(connection, self._any_place(), str(number))
                await self._for(self._dice.uniform(0, 0.03))
        finally:
            connection.close()

    async def _pass_by(self) -> None:
        """Send one request on one connection."""
        await self.ask_once(self._any_place())
        await self._for(self._dice.uniform(0, 0.1))

    async def _talk(self) -> None:
        """Keep a websocket open, with the server that had the route when it was opened."""
        place = self._any_place()
        connection = await self._connected(place)
        try:
            with self._expected.asking(place.path, self._name) as question:
                try:
                    await connection.become_websocket(f"{place.path}echo")
                    server = await _echoed_by(connection, "0")
                    self._expected.judge(question, server)
                    for number in range(1, self._dice.randrange(2, 300)):
                        if self._leave.is_set():
                            return
                        self._expected.wants(self._name)
                        again = await _echoed_by(connection, str(number))
                        if again != server:
                            raise ValueError(f"a websocket with {server} got an answer from {again}")
                        self._expected.gets(self._name)
                        await self._for(self._dice.uniform(0, 0.2))
                except Failed as error:
                    self._expected.judge(question, error.failure)
                    raise
        finally:
            connection.close()

    async def _download(self) -> None:
        """Read a large file; each byte is compared."""
        place = self._any_place()
        connection = await self._connected(place)
        try:
            with self._expected.asking(place.path, self._name) as question:
                try:
                    _, headers = await connection.begin(f"{place.path}download")
                    server = headers.get("x-server", "")
                    self._expected.judge(question, server)
                    if headers["content-length"] != str(BLOCK * BLOCKS):
                        raise ValueError(f"a download has {headers['content-length']} bytes")
                    for number in range(BLOCKS):
                        self._expected.wants(self._name)
                        if await connection.body(BLOCK) != block(server, number):
                            raise ValueError(f"block {number} of a download is not the one that {server} sent")
                        self._expected.gets(self._name)
                except Failed as error:
                    self._expected.judge(question, error.failure)
                    raise
        finally:
            connection.close()

    def _any_place(self) -> Place:
        return self._dice.choice((self._dice.choice(STEADY), self._dice.choice(MOVING)))


async def _echoed_by(connection: Connection, word: str) -> str:
    """Send a message over a websocket; return the name of the server that echoes it."""
    server, _, text = (await connection.say(word)).partition(" ")
    if text != word:
        raise ValueError(f"a websocket got {text!r} instead of {word!r}")
    return server
