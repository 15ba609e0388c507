"""The proxy's reading of HTTP, compared with two other readers: h11, and httptools, which is the parser of Node.

Whatever ours takes, both others must take in the same way, since one of them may be behind it; it may refuse more than they.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import h11
import httptools
from hypothesis import given, settings
from hypothesis import strategies as st
from support.http_strategies import FIELDS, FRAMED, ODD, messages

from traefik_toml_proxy.inprocess.forwarding import Peer, answer_head, request_head
from traefik_toml_proxy.inprocess.heads import Answer, BrokenAnswer, BrokenRequest, Request
from traefik_toml_proxy.inprocess.readers import AnswerReader, Mark, RequestReader

STRANGER = Peer(b"192.0.2.9", is_trusted=False, is_tls=False)
IN_ASCII = bytes(byte if byte < 0x80 else ord("x") for byte in range(0x100))
MANY = settings(max_examples=600, deadline=None)


class Seen(NamedTuple):
    """A request as a reader has understood it."""

    method: bytes
    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes
    complete: bool


def ours(*pieces: bytes) -> tuple[list[tuple[Request, bytes, bool]], bool]:
    """Return the requests that we find, each with its body and whether it is complete; and whether one is refused."""
    reader = RequestReader()
    found: list[tuple[Request, bytes, bool]] = []
    try:
        for piece in pieces:
            reader.receive(piece)
            while (event := reader.read()) is not Mark.MORE:
                if isinstance(event, Request):
                    found.append((event, b"", False))
                    continue
                request, body, _ = found.pop()
                if isinstance(event, bytes):
                    found.append((request, body + event, False))
                else:
                    found.append((request, body, True))
                    reader.next_request()
    except BrokenRequest:
        return found, True
    return found, False


def sent_on(found: list[tuple[Request, bytes, bool]]) -> bytes:
    """Return what a server gets of these requests over one connection, until one is incomplete."""
    text = b""
    for request, body, complete in found:
        if not complete:
            break
        text += request_head(request, STRANGER, prefix=b"", authority=b"h")
        text += (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + b"0\r\n\r\n" if request.length == -1 else body
    return text


def by_h11(text: bytes) -> list[Seen]:
    """Return the requests that h11 finds."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=200_000)
    connection.receive_data(text)
    connection.receive_data(b"")
    found: list[Seen] = []
    while True:
        event: Any = connection.next_event()
        if isinstance(event, h11.Request):
            found.append(Seen(event.method, tuple(event.headers), b"", complete=False))
        elif isinstance(event, h11.Data):
            last = found.pop()
            found.append(last._replace(body=last.body + bytes(event.data)))
        elif isinstance(event, h11.EndOfMessage):
            found.append(found.pop()._replace(complete=True))
            connection.send(h11.Response(status_code=204, headers=[]))
            connection.send(h11.EndOfMessage())
        elif event is h11.PAUSED and connection.our_state is h11.DONE and connection.their_state is h11.DONE:
            connection.start_next_cycle()
        else:
            return found


class _Collector:
    """What httptools calls."""

    def __init__(self) -> None:
        self.found: list[Seen] = []
        self.parser: Any = None

    def on_message_begin(self) -> None:
        self.found.append(Seen(b"", (), b"", complete=False))

    def on_header(self, name: bytes, value: bytes) -> None:
        last = self.found.pop()
        self.found.append(last._replace(fields=(*last.fields, (name.lower(), value.strip(b" \t")))))

    def on_headers_complete(self) -> None:
        self.found.append(self.found.pop()._replace(method=self.parser.get_method()))

    def on_body(self, body: bytes) -> None:
        last = self.found.pop()
        self.found.append(last._replace(body=last.body + body))

    def on_message_complete(self) -> None:
        self.found.append(self.found.pop()._replace(complete=True))


def by_httptools(text: bytes) -> list[Seen]:
    """Return the requests that httptools finds."""
    collector = _Collector()
    collector.parser = httptools.HttpRequestParser(collector)
    collector.parser.feed_data(text)
    return collector.found


def without_upgrades(found: list[tuple[Request, bytes, bool]]) -> list[tuple[Request, bytes, bool]]:
    """Return those before the first websocket: what comes after that is no HTTP, for any reader."""
    plain = []
    for each in found:
        if each[0].upgrade or each[0].method not in (b"GET", b"POST", b"HEAD", b"OPTIONS", b"PUT"):
            break
        plain.append(each)
        if not each[0].keep:
            break
    return plain


@MANY
@given(st.lists(messages(), min_size=1, max_size=3).map(b"".join))
def test_servers_see_exactly_the_requests_that_were_understood(text: bytes) -> None:
    """RFC 9112 section 11.2: nothing that a client sends makes a request appear that the proxy has not seen."""
    found, _ = ours(text)
    complete = [each for each in without_upgrades(found) if each[2]]
    wanted = [(request.method, body) for request, body, _ in complete]
    # Neither h11 nor a recent httptools takes a target beyond ASCII, as they may.
    sent = sent_on([(each.with_target(each.target.translate(IN_ASCII)), body, True) for each, body, _ in complete])

    for seen in (reader(sent) for reader in (by_h11, by_httptools)):
        assert [(each.method, each.body) for each in seen] == wanted
        assert all(each.complete for each in seen)


@MANY
@given(messages())
def test_what_is_taken_is_taken_by_others_in_the_same_way(text: bytes) -> None:
    """So nobody in front who reads like them can be made to see other requests than the proxy."""
    found, refused = ours(text)
    plain = without_upgrades(found)
    if refused or len(plain) != len(found) or not plain or any(request.is_old for request, _, _ in plain):
        return
    mine = [(request.method, body, complete) for request, body, complete in plain]
    absolute = any(not request.target.startswith(b"/") or not request.target.isascii() for request, _, _ in plain)
    try:
        theirs = by_httptools(text)
    except httptools.HttpParserError:
        return
    assert [(each.method, each.body, each.complete) for each in theirs if each.method] == mine
    if not absolute:
        try:
            others = by_h11(text)
        except h11.RemoteProtocolError:
            return
        assert [(each.method, each.body) for each in others if each.complete] == [each[:2] for each in mine if each[2]]


@MANY
@given(messages(), st.data())
def test_it_does_not_matter_how_it_is_received(text: bytes, data: st.DataObject) -> None:
    """Whole, in pieces, or byte by byte."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    whole = ours(text)

    for parts in (pieces, [bytes([byte]) for byte in text]):
        found, refused = ours(*parts)
        assert refused == whole[1]
        assert [(each[0], each[2]) for each in found] == [(each[0], each[2]) for each in whole[0]]
        # A body that is refused in its middle has reached the server so far as it was received.
        assert refused or [each[1] for each in found] == [each[1] for each in whole[0]]


ANSWER_LINES = st.sampled_from(
    [
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 204 No",
        b"HTTP/1.1 304 Not",
        b"HTTP/1.0 200 OK",
        b"HTTP/1.1 404",
    ]
)


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    """Return an answer with up to two things in it that do not belong there."""
    framing, body = draw(FRAMED)
    text = draw(ANSWER_LINES) + b"\r\n" + b"".join(draw(st.lists(FIELDS, max_size=2))) + framing + b"\r\n" + body
    for _ in range(draw(st.sampled_from([0, 1, 1, 2]))):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(ODD) + text[at + draw(st.sampled_from([0, 0, 1, 2])) :]
    return text


@MANY
@given(answers())
def test_clients_see_exactly_the_answer_that_was_understood(text: bytes) -> None:
    """And nothing of it can become the answer to another request."""
    reader = AnswerReader(b"GET")
    reader.receive(text)
    content, complete = b"", False
    try:
        head = reader.read()
        if not isinstance(head, Answer) or head.status < 200:
            return
        while (event := reader.read()) is not Mark.MORE and not complete:
            complete = event is Mark.END
            content += event if isinstance(event, bytes) else b""
        if not complete:
            reader.end_of_input()
    except BrokenAnswer:
        return
    (request, _, _), *_ = ours(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")[0]
    written, length = answer_head(head, request, close=False)
    if length == -1:
        content_sent = (b"%x\r\n%b\r\n" % (len(content), content) if content else b"") + b"0\r\n\r\n"
    else:
        content_sent = content

    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=[("Host", "h")]))
    client.send(h11.EndOfMessage())
    client.receive_data(written + content_sent)
    seen: Any = client.next_event()
    assert seen.status_code == head.status
    received = b""
    while isinstance(got := client.next_event(), h11.Data):
        received += bytes(got.data)
    assert isinstance(got, h11.EndOfMessage)
    assert received == content
    assert client.trailing_data == (b"", False)


def test_the_laws_are_about_something() -> None:
    """Of what the strategies make, much is taken, and much is refused."""
    taken: list[bool] = []

    @settings(max_examples=300, deadline=None, database=None)
    @given(messages())
    def count(message: bytes) -> None:
        taken.append(bool(ours(message)[0]))

    count()
    assert 0.2 < sum(taken) / len(taken) < 0.95
