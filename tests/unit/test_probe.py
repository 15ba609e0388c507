"""EntryPointProbe and its fake: asking the entry point which revision is live."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from support.certificates import make_certificate
from support.fakes import FakeTraefik, MemoryPlace
from support.live_check_contract import CONTRACT, Stage
from support.servers import answering
from support.store_contract import table_of
from support.waiting import PATIENCE, eventually

from traefik_toml_proxy.routes import Snapshot
from traefik_toml_proxy.runtime import probe as module
from traefik_toml_proxy.runtime.probe import EntryPointProbe, ask_anew
from traefik_toml_proxy.seams import Answer
from traefik_toml_proxy.threads import Threads

PATH = "/secret/revision"
HEADER = b"X-Jupyterhub-Routes-Revision"


class Entry:
    """A server in place of Traefik; the test sets its answers."""

    def __init__(self) -> None:
        self.says: bytes | None = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
        self.requests: list[bytes] = []
        self.url = ""
        self.live_check = EntryPointProbe("", PATH)

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(cls, *, tls: ssl.SSLContext | None = None, request_timeout: float = 5) -> AsyncIterator[Entry]:
        """Listen while the block runs."""
        entry = cls()
        async with answering(entry._answer, tls=tls) as entry.url:
            entry.live_check = EntryPointProbe(entry.url, PATH, request_timeout=request_timeout)
            yield entry
            await entry.live_check.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.requests.append(await reader.readuntil(b"\r\n\r\n"))
        while self.says is None:
            await asyncio.sleep(3600)
        writer.write(self.says)
        await writer.drain()

    def serve(self, revision: int | None) -> None:
        """Answer as Traefik does with this revision."""
        header = b"" if revision is None else b"%s: %d\r\n" % (HEADER, revision)
        self.says = b"HTTP/1.1 418 I'm a teapot\r\nContent-Length: 0\r\n" + header + b"\r\n"

    def refuse(self) -> None:
        """Answer that the Hub may not ask."""
        self.says = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"

    def fall_silent(self) -> None:
        """Hang up instead of answering."""
        self.says = b""


class FakeStage:
    """The fake probe, and the place that it reads."""

    def __init__(self) -> None:
        self.place = MemoryPlace()
        self.live_check = FakeTraefik(self.place)

    def serve(self, revision: int | None) -> None:
        self.live_check.up, self.live_check.refuses = True, False
        self.place.snapshot = None if revision is None else Snapshot(revision, table_of())

    def refuse(self) -> None:
        self.live_check.refuses = True

    def fall_silent(self) -> None:
        self.live_check.up = False


@pytest_asyncio.fixture
async def entry() -> AsyncIterator[Entry]:
    """A listening server, and a probe that asks it."""
    async with Entry.opened() as entry:
        yield entry


@pytest.mark.parametrize("keeps", CONTRACT, ids=lambda check: check.__name__)
async def test_the_probe_keeps_the_contract(entry: Entry, keeps: Callable[[Stage], Awaitable[None]]) -> None:
    """See support/live_check_contract.py for what RoutePublisher relies on."""
    await keeps(entry)


@pytest.mark.parametrize("keeps", CONTRACT, ids=lambda check: check.__name__)
async def test_the_fake_keeps_the_contract(keeps: Callable[[Stage], Awaitable[None]]) -> None:
    """See support/live_check_contract.py for what RoutePublisher relies on."""
    await keeps(FakeStage())


async def test_it_asks_for_the_secret_path_at_the_entry_point(entry: Entry) -> None:
    """It is a GET request for the revision route, however the URL ends."""
    entry.serve(1)
    probe = EntryPointProbe(entry.url + "/", PATH)
    await probe.ask()
    await probe.close()

    assert entry.requests[0].startswith(b"GET /secret/revision HTTP/1.1\r\n")


@pytest.mark.parametrize(
    "header",
    [b"", b"-1", b"+1", b"1.0", b"0x1", b"one", "\u0661".encode(), b"1\r\n%s: 1" % HEADER, b"9" * 5000],
    ids=["empty", "negative", "plus", "float", "hex", "word", "arabic digit", "twice", "endless"],
)
async def test_a_header_that_is_no_number_is_ignored(entry: Entry, header: bytes) -> None:
    """The answer may come from another server, so only digits count as a revision."""
    entry.says = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n%s: %s\r\n\r\n" % (HEADER, header)
    answer = await entry.live_check.ask()

    assert (answer.revision, answer.answered) == (None, True)


@pytest.mark.parametrize(
    "says",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x15\x03\x01\x00\x02\x02\x50",
        b"HTTP/1.1 200\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
    ],
    ids=["ssh", "tls alert", "no reason", "bad length", "cut off", "huge header"],
)
async def test_an_answer_that_is_not_http_is_reported_and_not_raised(entry: Entry, says: bytes) -> None:
    """Another program may listen on the port."""
    entry.says = says
    answer = await entry.live_check.ask()

    assert answer.revision is None


async def test_an_answer_of_another_server_is_described(entry: Entry) -> None:
    """The status and the Server header, escaped, help to find out which server it is."""
    entry.says = b"HTTP/1.1 302 Found\r\nServer: nginx \xe9\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"
    answer = await entry.live_check.ask()

    assert answer.description == f"{entry.url} answered 302 (Found) to '/' by 'nginx \\xe9', without our revision"


async def test_a_refused_connection_is_reported(free_port: int) -> None:
    """It is not an answer."""
    probe = EntryPointProbe(f"http://127.0.0.1:{free_port}", PATH)
    answer = await probe.ask()
    await probe.close()

    assert not answer.answered
    assert "refused" in answer.description


async def test_a_server_that_never_answers_times_out() -> None:
    """A request ends even if the connection is accepted and nothing comes."""
    async with Entry.opened(request_timeout=0.2) as entry:
        entry.says = None
        answer = await entry.live_check.ask()

    assert not answer.answered
    assert "timed out" in answer.description


async def test_waiting_for_a_server_that_never_answers_takes_no_longer(entry: Entry) -> None:
    """The timeout of waiting counts, even if that of one request is longer."""
    entry.says = None
    began = time.monotonic()
    answer = await entry.live_check.wait(1, 0.2)

    assert "timed out" in answer.description
    assert time.monotonic() - began < 2 * PATIENCE


async def test_a_moment_without_an_answer_at_the_end_does_not_count(entry: Entry) -> None:
    """The machine may be busy, and there is little time for the last question."""
    entry.serve(1)
    asyncio.get_running_loop().call_later(0.2, setattr, entry, "says", None)
    answer = await entry.live_check.wait(2, 0.4)

    assert (answer.revision, answer.answered) == (1, True)


async def test_a_listener_that_never_accepts_times_out() -> None:
    """A request ends even if nobody accepts the connection."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        probe = EntryPointProbe(f"http://127.0.0.1:{listener.getsockname()[1]}", PATH, request_timeout=0.2)
        answer = await probe.ask()
        await probe.close()

    assert not answer.answered


async def test_the_certificate_is_not_verified(tmp_path: Path) -> None:
    """Any certificate will do: only users' browsers need to trust it."""
    async with Entry.opened(tls=make_certificate(tmp_path, "any").server()) as entry:
        entry.serve(3)
        answer = await entry.live_check.ask()

    assert answer.revision == 3


async def test_it_asks_for_the_server_name_that_it_was_given(tmp_path: Path) -> None:
    """As a browser does: in the handshake and in the request, although it connects to an address."""
    asked: list[str | None] = []
    context = make_certificate(tmp_path, "any").server()
    context.sni_callback = lambda _, name, __: asked.append(name)
    async with Entry.opened(tls=context) as entry:
        entry.serve(3)
        probe = EntryPointProbe(entry.url, PATH, server_name=lambda: "hub.example.org")
        answer = await probe.ask()
        await probe.close()

    assert answer.revision == 3
    assert asked == ["hub.example.org"]
    port = entry.url.rpartition(":")[2]
    assert f"\r\nHost: hub.example.org:{port}\r\n".encode() in entry.requests[0]


async def test_it_asks_for_no_name_over_plain_http(entry: Entry) -> None:
    """There, the Host header is the address."""
    entry.serve(3)
    probe = EntryPointProbe(entry.url, PATH, server_name=lambda: "hub.example.org")
    await probe.ask()
    await probe.close()

    assert f"\r\nHost: {entry.url.removeprefix('http://')}\r\n".encode() in entry.requests[0]


async def test_https_to_a_server_without_tls_is_told() -> None:
    """It is certain at once, since no handshake will ever succeed."""
    async with answering(_hang_up_with_http) as url:
        probe = EntryPointProbe(url.replace("http:", "https:"), PATH)
        answer = await probe.ask()
        await probe.close()

    assert answer.refused
    assert "speaks plain http" in answer.advice


async def _hang_up_with_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer as nginx does when it gets TLS where it expects http."""
    await reader.read(1)
    writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    await writer.drain()


async def test_it_can_be_asked_again_after_close(entry: Entry) -> None:
    """It opens another connection then."""
    entry.serve(3)
    await entry.live_check.close()
    await entry.live_check.close()
    answer = await entry.live_check.ask()

    assert answer.revision == 3


@pytest.mark.parametrize("turns", range(12))
async def test_a_cancellation_is_never_swallowed(turns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even if it comes together with the answer (asyncio.wait_for swallows it then before Python 3.12)."""
    asked = threading.Event()
    threads = Threads("test", 1)
    monkeypatch.setattr(module, "PROBES", threads)
    probe = EntryPointProbe("http://127.0.0.1:1", PATH)

    def answer(_: float) -> Answer:
        asked.set()
        return Answer(None, answered=True, description="")

    monkeypatch.setattr(probe, "_ask_blocking", answer)
    question = asyncio.create_task(probe.ask())
    while not asked.is_set():
        await asyncio.sleep(0)
    threads.executor.submit(int).result(PATIENCE)  # the answer is scheduled in the loop, but has not run yet
    for _ in range(turns):
        await asyncio.sleep(0)

    cancelled = question.cancel()

    await asyncio.wait([question])
    threads.executor.shutdown()
    assert question.cancelled() == cancelled


async def test_after_a_cancelled_request_the_next_one_works(entry: Entry) -> None:
    """The connection is not left in a bad state."""
    entry.says = None
    asking = asyncio.ensure_future(entry.live_check.ask())
    await asyncio.wait([asking], timeout=0.05)
    asking.cancel()
    await asyncio.wait([asking])
    entry.serve(3)

    assert (await entry.live_check.ask()).revision == 3


async def test_a_kept_connection_does_not_hide_that_new_ones_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those who are connected see nothing of it, so the probe takes a new connection every few seconds."""
    monkeypatch.setattr(module, "_LONGEST_KEPT", 0.2)
    tls = make_certificate(tmp_path, "any").server()
    connected: list[int] = []

    async def keep_answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.append(1)
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(b"HTTP/1.1 418 I'm a teapot\r\nContent-Length: 0\r\n%s: 3\r\n\r\n" % HEADER)
            await writer.drain()

    async with answering(keep_answering, tls=tls) as url:
        probe = EntryPointProbe(url, PATH)
        try:
            assert [(await probe.ask()).revision for _ in range(3)] == [3, 3, 3]
            assert len(connected) == 1
            tls.minimum_version = tls.maximum_version = ssl.TLSVersion.TLSv1_2
            tls.set_ciphers("PSK")  # which no client of ours has

            answer = await eventually(lambda: _refusal(probe), within=5)
        finally:
            await probe.close()

    assert answer.answered  # restarting the server would not be the remedy
    assert answer.description.startswith(f"{url} refuses new TLS connections (")


async def _refusal(probe: EntryPointProbe) -> Answer | None:
    answer = await probe.ask()
    return None if answer.serves(3) else answer


async def test_asking_anew_takes_a_connection_of_its_own(entry: Entry) -> None:
    """And closes it."""
    entry.serve(3)

    assert (await ask_anew(entry.url, PATH)).revision == 3
    assert (await ask_anew(entry.url.replace("http:", "https:"), PATH)).revision is None


async def test_a_connection_that_is_reset_at_once_leaks_no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if the reset arrives before the socket is wrapped for TLS; a socket left to the garbage collector would warn."""
    wrap = ssl.SSLContext.wrap_socket

    def wrap_late(context: ssl.SSLContext, sock: socket.socket, **arguments: Any) -> ssl.SSLSocket:
        with contextlib.suppress(OSError):
            sock.getpeername()
            reset = select.poll()
            reset.register(sock, select.POLLHUP)
            assert reset.poll(PATIENCE * 1000), "it was not reset"
        return wrap(context, sock, **arguments)

    monkeypatch.setattr(ssl.SSLContext, "wrap_socket", wrap_late)
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as other_side:
        asking = EntryPointProbe(f"https://127.0.0.1:{server.getsockname()[1]}", PATH)
        resetting = other_side.submit(reset_one, server)
        answer = await asking.ask()
        resetting.result(PATIENCE)
    assert "reset" in answer.description.lower(), answer
    del answer
    gc.collect()


def reset_one(server: socket.socket) -> None:
    """Accept a connection, and reset it before anything is sent."""
    connection, _ = server.accept()
    # To linger for 0 seconds is to reset.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
