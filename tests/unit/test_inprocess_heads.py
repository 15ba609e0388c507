"""Heads of requests and answers: what is understood, and what is refused. Each case names its section of the RFC."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from traefik_toml_proxy.inprocess.heads import (
    CHUNKED,
    MOST_FIELDS,
    UNTIL_CLOSE,
    BrokenAnswer,
    BrokenRequest,
    is_field_line,
    read_answer,
    read_request,
)

GET = b"GET /a HTTP/1.1\r\nHost: h\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: h\r\n"


def test_a_request_is_read() -> None:
    """Names and values as they were sent; white space around values is not part of them (RFC 9110 section 5.5)."""
    line, fields = b"PUT /a%20b//c?d=1;e HTTP/1.1\r\n", b"hOST: hub.example.org:8000\r\nX-A: \t b  c\t \r\nX-A:\r\n"
    head = line + fields + b"content-length: 007\r\n"
    request = read_request(head)

    assert (request.method, request.target, request.path) == (b"PUT", b"/a%20b//c?d=1;e", "/a%20b//c")
    assert (request.host, request.length, request.has_length) == (b"hub.example.org:8000", 7, True)
    assert [(name, value) for _, name, value in request.fields] == [
        (b"hOST", b"hub.example.org:8000"),
        (b"X-A", b"b  c"),
        (b"X-A", b""),
        (b"content-length", b"007"),
    ]
    assert (request.keep, request.is_old, request.upgrade, request.expects) == (True, False, False, False)
    assert (request.get(b"x-a"), request.get(b"x-b")) == (b"b  c, ", b"")


@pytest.mark.parametrize(
    ("line", "target", "host"),
    [
        (b"GET / HTTP/1.1", b"/", b"h"),
        (b'GET //x/..;/%zz?a?b|[]{}"<>\\^` HTTP/1.1', b'//x/..;/%zz?a?b|[]{}"<>\\^`', b"h"),
        ("GET /ü HTTP/1.1".encode(), "/ü".encode(), b"h"),
        (b"GET /\xff HTTP/1.1", b"/\xff", b"h"),
        (b"OPTIONS * HTTP/1.1", b"*", b"h"),
        # Section 3.2.2: the Host field is ignored.
        (b"GET http://other:1/a?b HTTP/1.1", b"/a?b", b"other:1"),
        (b"GET HTTPS://[::1]:1 HTTP/1.1", b"/", b"[::1]:1"),
        (b"GET http://other?b HTTP/1.1", b"/?b", b"other"),
    ],
)
def test_a_target_is_understood(line: bytes, target: bytes, host: bytes) -> None:
    """RFC 9112 section 3.2: origin form, absolute form and asterisk form; a path is not changed in any way."""
    request = read_request(line + b"\r\nHost: h\r\n")

    assert (request.target, request.host) == (target, host)


def test_the_path_is_ascii_for_routing() -> None:
    """Raw bytes beyond ASCII count as their escapes; the query is no part of it."""
    assert read_request("GET /ü/%2F?ü HTTP/1.1\r\nHost: h\r\n".encode()).path == "/%C3%BC/%2F"


@pytest.mark.parametrize(
    ("head", "status"),
    [
        # RFC 9112 section 3: exactly one space, a method that is a token, a version.
        (b"GET  / HTTP/1.1\r\nHost: h\r\n", 400),
        (b"GET / HTTP/1.1 \r\nHost: h\r\n", 400),
        (b"GET\t/ HTTP/1.1\r\nHost: h\r\n", 400),
        (b" GET / HTTP/1.1\r\nHost: h\r\n", 400),
        (b"GET /\r\nHost: h\r\n", 400),
        (b"G\x00T / HTTP/1.1\r\nHost: h\r\n", 400),
        (b"GE(T / HTTP/1.1\r\nHost: h\r\n", 400),
        (b"A" * 33 + b" / HTTP/1.1\r\nHost: h\r\n", 400),
        (b"GET / HTTP/1.1\rHost: h\r\n", 400),
        (b"GET / http/1.1\r\nHost: h\r\n", 400),
        (b"GET / HTTP/11\r\nHost: h\r\n", 400),
        (b"\r\n", 400),
        # RFC 9110 section 7.6.1 has no limit, but to read thousands of options takes long.
        (GET + b"Connection: " + b"a," * 101 + b"\r\n", 400),
        # Section 2.3
        (b"GET / HTTP/1.2\r\nHost: h\r\n", 505),
        (b"GET / HTTP/2.0\r\nHost: h\r\n", 505),
        (b"PRI * HTTP/2.0\r\n", 505),
        (b"GET / HTTP/0.9\r\nHost: h\r\n", 505),
        # Section 3.2: targets.
        (b"GET /#a HTTP/1.1\r\nHost: h\r\n", 400),
        (b"GET /a\x7f HTTP/1.1\r\nHost: h\r\n", 400),
        (b"GET /a\x0bb HTTP/1.1\r\nHost: h\r\n", 400),
        (b"GET a HTTP/1.1\r\nHost: h\r\n", 400),
        (b"GET * HTTP/1.1\r\nHost: h\r\n", 400),
        (b"GET ?a HTTP/1.1\r\nHost: h\r\n", 400),
        (b"GET ftp://h/ HTTP/1.1\r\nHost: h\r\n", 400),
        (b"GET http:///a HTTP/1.1\r\nHost: h\r\n", 400),
        (b"GET http://user@h/a HTTP/1.1\r\nHost: h\r\n", 400),
        (b"GET http://h\\@other/ HTTP/1.1\r\nHost: h\r\n", 400),
        (b"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n", 501),
        (b"CONNECT /user/ada/ HTTP/1.1\r\nHost: h\r\n", 501),
        # Section 3.2: one Host, with a host.
        (b"GET / HTTP/1.1\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nhost: h\r\n", 400),
        (b"GET / HTTP/1.0\r\nHost: h\r\nHost: g\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost:\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h/user/bob\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a b\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: u@h\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h:123456\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: [::1\r\n", 400),
        # RFC 9112 sections 2.2, 5.1 and 5.2, RFC 9110 section 5.5.
        (GET + b"A : b\r\n", 400),
        (GET + b" A: b\r\n", 400),
        (GET + b"A: b\r\n c\r\n", 400),
        (GET + b"A: b\r\n\tc\r\n", 400),
        (GET + b": b\r\n", 400),
        (GET + b"A\r\n", 400),
        (GET + b"A: b\rc\r\n", 400),
        (GET + b"A: b\nC: d\r\n", 400),
        (GET + b"A: b\x00\r\n", 400),
        (GET + b"A: b\x0b\r\n", 400),
        (GET + b"A\xc3: b\r\n", 400),
        (GET + b"A: b", 400),
        # RFC 6585 section 5
        (GET + b"A: b\r\n" * MOST_FIELDS, 431),
        # RFC 9112 sections 6.1 to 6.3
        (POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", 400),
        (POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", 400),
        (POST + b"Content-Length: 5\r\nContent-Length: 6\r\n", 400),
        (POST + b"Content-Length: 5\r\nContent-Length: 5\r\n", 400),
        (POST + b"Content-Length: 5, 5\r\n", 400),
        (POST + b"Content-Length: +5\r\n", 400),
        (POST + b"Content-Length: -5\r\n", 400),
        (POST + b"Content-Length: 5 5\r\n", 400),
        (POST + b"Content-Length: 0x5\r\n", 400),
        (POST + b"Content-Length: 1_0\r\n", 400),
        (POST + "Content-Length: \u0665\r\n".encode(), 400),
        (POST + b"Content-Length:\r\n", 400),
        (POST + b"Content-Length: " + b"9" * 19 + b"\r\n", 400),
        (POST + b"Transfer-Encoding: gzip, chunked\r\n", 501),
        (POST + b"Transfer-Encoding: chunked, gzip\r\n", 501),
        (POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 501),
        (POST + b"Transfer-Encoding: identity\r\n", 501),
        (POST + b"Transfer-Encoding: xchunked\r\n", 501),
        (POST + b"Transfer-Encoding: chunked;q=1\r\n", 501),
        (POST + b"Transfer-Encoding:\r\n", 501),
        (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n", 400),
        # RFC 9110 section 10.1.1
        (POST + b"Content-Length: 5\r\nExpect: 200-ok\r\n", 417),
        (POST + b"Content-Length: 5\r\nExpect: 100-continue\r\nExpect: 100-continue\r\n", 417),
    ],
)
def test_a_request_is_refused(head: bytes, status: int) -> None:
    """Whatever two readers could understand differently, and what is not offered."""
    with pytest.raises(BrokenRequest) as refused:
        read_request(head)

    assert refused.value.status == status
    assert refused.value.reason


@pytest.mark.parametrize(
    ("head", "length"),
    [
        (GET, 0),
        (POST + b"Content-Length: 0\r\n", 0),
        (POST + b"Content-Length: 123456789012345678\r\n", 123456789012345678),
        (POST + b"transfer-encoding:\tChunked \r\n", CHUNKED),
        (b"POST / HTTP/1.0\r\nContent-Length: 5\r\n", 5),
        # Another field is another field.
        (POST + b"Content_Length: 5\r\nTransfer\xc2\xb7: x\r\n".replace(b"\xc2\xb7", b"_Encoding"), 0),
    ],
)
def test_a_body_has_the_length(head: bytes, length: int) -> None:
    """RFC 9112 section 6.3: without a length and chunks, a request has no body."""
    assert read_request(head).length == length


@pytest.mark.parametrize(
    ("head", "keep"),
    [
        (GET, True),
        (GET + b"Connection: keep-alive, X-A\r\n", True),
        (GET + b"Connection: x, CLOSE\r\n", False),
        (GET + b"Connection: x\r\nConnection:\tclose\t\r\n", False),
        (b"GET / HTTP/1.0\r\n", False),
        (b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n", True),
    ],
)
def test_a_client_goes_on_using_its_connection(head: bytes, *, keep: bool) -> None:
    """RFC 9112 section 9.3."""
    assert read_request(head).keep == keep


# RFC 9112 section 5, and RFC 9110 sections 5.1, 5.5 and 5.6.2, as a grammar.
FIELD_LINES = re.compile(rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*\r\n)*")
PIECES = st.sampled_from(
    [b"\r\n", b"\r", b"\n", b":", b": ", b" ", b"\t", b"a", b"B-c", b"\0", b"\x7f", b"\x0b", b"\xff", b"(", b"a: b\r\n"]
)


@pytest.mark.parametrize(
    "where",
    [
        *(b"A%c: b\r\n", b"%c: b\r\n", b"%cA: b\r\n", b"A%c"),
        *(b"A:%cb\r\n", b"A: b%c\r\n", b"A: b\r\n%c", b"A: b\rc%cd\r\n", b"A: b\nc%cd\r\n", b"A: b%c"),
    ],
)
def test_each_byte_is_taken_where_the_grammar_has_it(where: bytes) -> None:
    """And nowhere else."""
    blocks = [where % byte for byte in range(256)]

    assert [is_field_line(block) for block in blocks] == [FIELD_LINES.fullmatch(block) is not None for block in blocks]


@given(st.lists(PIECES, min_size=1, max_size=10).map(b"".join))
def test_lines_are_taken_if_the_grammar_has_them(block: bytes) -> None:
    """However they are put together."""
    assert is_field_line(block) == (FIELD_LINES.fullmatch(block) is not None)


UPGRADE = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"


@pytest.mark.parametrize(
    ("head", "upgrade"),
    [
        (GET + UPGRADE, True),
        (GET + b"connection: keep-alive, upgrade\r\nUpgrade: WebSocket\r\n", True),
        (GET + b"Upgrade: websocket\r\n", False),
        (GET + b"Connection: Upgrade\r\n", False),
        # h2c would be a way around the routes.
        (GET + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n", False),
        (GET + b"Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n", False),
        (GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n", False),
        (GET + UPGRADE + b"Content-Length: 5\r\n", False),
        (GET + UPGRADE + b"Transfer-Encoding: chunked\r\n", False),
        (POST + UPGRADE, False),
        (b"GET / HTTP/1.0\r\nHost: h\r\n" + UPGRADE, False),
    ],
)
def test_only_a_websocket_is_an_upgrade(head: bytes, *, upgrade: bool) -> None:
    """Everything else is an ordinary request, as RFC 9110 section 7.8 allows."""
    assert read_request(head).upgrade == upgrade


def test_a_client_may_wait_for_100() -> None:
    """RFC 9110 section 10.1.1: not with HTTP/1.0."""
    expecting = b"Content-Length: 5\r\nExpect: 100-Continue\r\n"

    assert read_request(POST + expecting).expects
    assert not read_request(b"POST / HTTP/1.0\r\n" + expecting).expects


@pytest.mark.parametrize(
    ("head", "method", "length", "keep"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", b"GET", 5, True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n", b"GET", 5, False),
        (b"HTTP/1.1 200\r\nContent-Length: 5\r\n", b"GET", 5, True),
        (b"HTTP/1.1 200 \r\nContent-Length: 5\r\n", b"GET", 5, True),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n", b"GET", 5, False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n", b"GET", 5, True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", b"GET", CHUNKED, True),
        (b"HTTP/1.1 200 OK\r\n", b"GET", UNTIL_CLOSE, False),
        # Section 6.3, rules 1 and 2.
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", b"HEAD", 0, True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", b"HEAD", 0, True),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n", b"GET", 0, True),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n", b"GET", 0, True),
        (b"HTTP/1.1 100 Continue\r\n", b"PUT", 0, True),
        # Section 6.1: the framing may be faulty, so the connection is closed after it.
        (b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n", b"GET", CHUNKED, False),
        # Node takes these.
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", b"GET", CHUNKED, False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n", b"GET", CHUNKED, False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n", b"GET", UNTIL_CLOSE, False),
    ],
)
def test_an_answer_is_read(head: bytes, method: bytes, length: int, *, keep: bool) -> None:
    """RFC 9112 section 6.3: how long its body is, and whether the connection can be used again."""
    answer = read_answer(head, method)

    assert (answer.length, answer.keep) == (length, keep)


def test_the_words_of_a_status_are_kept() -> None:
    """RFC 9112 section 4; and the fields of an answer as they were sent."""
    answer = read_answer(
        "HTTP/1.1 409 Zu früh\r\nSet-Cookie: a=1\r\nset-cookie: b\r\nConnection: X-A\r\n".encode(), b"GET"
    )

    assert (answer.status, answer.reason) == (409, "Zu früh".encode())
    assert answer.fields[:2] == [(b"set-cookie", b"Set-Cookie", b"a=1"), (b"set-cookie", b"set-cookie", b"b")]
    assert answer.connection == {b"x-a"}


@pytest.mark.parametrize(
    "head",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/2.0 200 OK\r\n",
        b"HTTP/1.1  200 OK\r\n",
        b"HTTP/1.1 20 OK\r\n",
        b"HTTP/1.1 099 OK\r\n",
        b"HTTP/1.1 200OK\r\n",
        b"HTTP/1.1 200 O\x00K\r\n",
        b"HTTP/1.1 200 OK\r\nA : b\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\nSet-Cookie: c\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: five\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, identity\r\n",
        # Reading it would keep others waiting.
        b"HTTP/1.1 103 Early Hints\r\n" + b"A:\r\n" * (MOST_FIELDS + 1),
    ],
)
def test_an_answer_is_refused(head: bytes) -> None:
    """What is not HTTP/1, and what two readers could understand differently."""
    with pytest.raises(BrokenAnswer, match="it"):
        read_answer(head, b"GET")


def test_lines_of_trailers() -> None:
    """RFC 9112 section 7.1.2."""
    lines = [b"A: b\r\n", b"A: b", b"", b"A : b\r\n", b" A: b\r\n", b"A\r\n"]

    assert [is_field_line(line) for line in lines] == [True, False, False, False, False, False]


@pytest.mark.timeout(5)
def test_a_hostile_head_takes_no_long_time() -> None:
    """Each part of a head is looked at once, also of one that matches only nearly."""
    size = 60_000
    for block in (b"a" * size, b"A:" + b" " * size + b"\x00", b"a:" * size, b"A: b\r\n" * (size // 6) + b"c"):
        with pytest.raises(BrokenRequest):
            read_request(GET + block)
    with pytest.raises(BrokenRequest):
        read_request(b"A" * size)
