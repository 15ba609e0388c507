"""Readers of whole messages: whole, in pieces, byte by byte, and one after another."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from traefik_toml_proxy.inprocess.heads import LARGEST_HEAD, Answer, BrokenAnswer, BrokenRequest, Request
from traefik_toml_proxy.inprocess.readers import AnswerReader, Mark, RequestReader

GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"PUT /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"


def requests_in(*pieces: bytes) -> list[tuple[bytes, bytes]]:
    """Return the targets and bodies of the requests in what is received."""
    reader = RequestReader()
    found: list[tuple[bytes, bytes]] = []
    for piece in pieces:
        reader.receive(piece)
        while (event := reader.read()) is not Mark.MORE:
            if isinstance(event, Request):
                found.append((event.target, b""))
            elif isinstance(event, bytes):
                target, body = found.pop()
                found.append((target, body + event))
            else:
                reader.next_request()
    return found


def cut(text: bytes, size: int) -> list[bytes]:
    return [text[at : at + size] for at in range(0, len(text), size)]


@pytest.mark.parametrize("size", [1, 2, 3, 17, 1000])
def test_requests_are_read_however_they_are_received(size: int) -> None:
    """One after another, with the empty lines that RFC 9112 section 2.2 allows."""
    text = GET + POST + b"\r\n\r\n" + GET + CHUNKED + POST

    assert requests_in(*cut(text, size)) == [
        (b"/a", b""),
        (b"/b", b"hello"),
        (b"/a", b""),
        (b"/c", b"abc"),
        (b"/b", b"hello"),
    ]


def test_the_next_request_is_read_only_when_it_is_its_turn() -> None:
    """What was received of it is counted, and kept."""
    reader = RequestReader()
    assert reader.is_between
    reader.receive(GET + GET)
    assert isinstance(reader.read(), Request)
    assert [reader.read(), reader.read()] == [Mark.END, Mark.END]
    reader.receive(GET[:5])
    assert reader.buffered == len(GET) + 5
    assert not reader.is_between

    reader.next_request()
    assert isinstance(reader.read(), Request)
    reader.next_request()
    assert reader.read() is Mark.MORE
    assert (reader.buffered, reader.is_between) == (5, False)


def test_what_comes_after_an_upgrade_is_no_http() -> None:
    """It is taken as it is."""
    reader = RequestReader()
    reader.receive(GET + b"\x81\x00")
    reader.read()

    assert (reader.take_rest(), reader.take_rest()) == (b"\x81\x00", b"")


@pytest.mark.parametrize("size", [1, 100, 100_000])
@pytest.mark.parametrize(
    ("text", "status"),
    [
        (b"\x16\x03\x01\x00\xa5\x01\x00\x00", 400),
        (b"GET / HTTP/1.1\nHost: h\n\n", 400),
        (b"\nGET / HTTP/1.1\r\n", 400),
        (b"\r\n" * 3 + GET, 400),
        (b"\r\r\n" + GET, 400),
        (b"GET / HTTP/1.1\r\nHost : h\r\n\r\n", 400),
        (POST.replace(b"Content-Length: 5", b"Transfer-Encoding: chunked") + b"\r\n", 400),
        (b"GET /" + b"a" * LARGEST_HEAD, 431),
        (GET[:-2] + b"A: " + b"b" * LARGEST_HEAD + b"\r\n\r\n", 431),
    ],
)
def test_a_request_is_refused_however_it_is_received(text: bytes, status: int, size: int) -> None:
    """At the latest when all of its head is there, or could be."""
    with pytest.raises(BrokenRequest) as refused:
        requests_in(*cut(text, size))

    assert refused.value.status == status


def test_the_largest_head_is_taken() -> None:
    """And no larger one: above."""
    head = GET[:-2] + b"A: "
    head += b"b" * (LARGEST_HEAD - len(head) - 2) + b"\r\n\r\n"

    assert requests_in(head) == requests_in(*cut(head, 1000)) == [(b"/a", b"")]


@pytest.mark.timeout(10)
def test_a_head_that_is_sent_byte_by_byte_takes_no_long_time() -> None:
    """No byte is looked at for each of the others."""
    text = GET[:-2] + b"A: b\r\n" * 200 + b"B: " + b"c" * 20_000

    assert requests_in(*cut(text, 1)) == []


def answers_in(method: bytes, *pieces: bytes, end: bool = False) -> tuple[list[int], bytes, bool, AnswerReader]:
    """Return the statuses and the body in what is received, and whether it is complete."""
    reader = AnswerReader(method)
    statuses: list[int] = []
    body, complete = b"", False
    for piece in pieces:
        reader.receive(piece)
        while not complete and (event := reader.read()) is not Mark.MORE:
            if isinstance(event, Answer):
                statuses.append(event.status)
            elif isinstance(event, bytes):
                body += event
            else:
                complete = True
    if end:
        reader.end_of_input()
    return statuses, body, complete, reader


@pytest.mark.parametrize("size", [1, 2, 3, 17, 1000])
def test_answers_are_read_however_they_are_received(size: int) -> None:
    """Interim answers come first (RFC 9110 section 15.2)."""
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    sized = interim + b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
    chunked = b"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"

    assert answers_in(b"GET", *cut(sized, size))[:3] == ([100, 103, 200], b"hello", True)
    assert answers_in(b"GET", *cut(chunked, size))[:3] == ([404], b"hello", True)
    assert answers_in(b"HEAD", *cut(sized[:-5], size))[:3] == ([100, 103, 200], b"", True)


def test_an_answer_may_last_until_the_end() -> None:
    """Then it is complete when the server closes."""
    text = b"HTTP/1.1 200 OK\r\n\r\nhello"

    assert answers_in(b"GET", text)[:3] == ([200], b"hello", False)
    assert answers_in(b"GET", *cut(text, 1), end=True)[:3] == ([200], b"hello", False)


@pytest.mark.parametrize(
    "text",
    [b"", b"HTTP/1.1 200", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell"],
)
def test_an_incomplete_answer_is_refused(text: bytes) -> None:
    """RFC 9112 section 8."""
    with pytest.raises(BrokenAnswer):
        answers_in(b"GET", text, end=True)


@pytest.mark.parametrize("size", [1, 100, 100_000])
@pytest.mark.parametrize(
    "text",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
        b"HTTP/1.1 200 OK\r\nA: " + b"b" * LARGEST_HEAD,
        b"HTTP/1.1 200 OK\r\nA: " + b"b" * LARGEST_HEAD + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nhello\r\n",
    ],
)
def test_an_answer_is_refused_however_it_is_received(text: bytes, size: int) -> None:
    """At the latest when all of its head is there, or could be."""
    with pytest.raises(BrokenAnswer):
        answers_in(b"GET", *cut(text, size))


def test_what_is_left_of_an_answer_is_known() -> None:
    """A connection over which something else has come must not be used again."""
    text = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab"
    reader = AnswerReader(b"GET")
    begun: list[Callable[[], bool]] = [lambda: reader.has_begun, lambda: reader.is_clean]

    assert [each() for each in begun] == [False, False]
    reader.receive(text[:10])
    reader.read()
    assert [each() for each in begun] == [True, False]
    assert answers_in(b"GET", text, end=True)[3].is_clean
    assert not answers_in(b"GET", text[:-1])[3].is_clean
    assert not answers_in(b"GET", text + b"c")[3].is_clean
    assert not answers_in(b"GET", text, b"c")[3].is_clean


def test_what_comes_after_101_is_no_http() -> None:
    """It is taken as it is."""
    reader = AnswerReader(b"GET")
    reader.receive(b"HTTP/1.1 101 Switching Protocols\r\n\r\n\x81\x00")

    assert isinstance(reader.read(), Answer)
    assert (reader.take_rest(), reader.take_rest()) == (b"\x81\x00", b"")
