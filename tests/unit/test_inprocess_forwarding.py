"""What goes on to servers and clients: everything but what is for the next one on the way, and our own framing."""

from __future__ import annotations

import ipaddress

import pytest

from traefik_toml_proxy.inprocess.forwarding import (
    Peer,
    answer_head,
    interim_head,
    is_in,
    request_head,
    switching_head,
)
from traefik_toml_proxy.inprocess.heads import CHUNKED, UNTIL_CLOSE, read_answer, read_request

STRANGER = Peer(b"192.0.2.9", is_trusted=False, is_tls=False)
FRONT = Peer(b"10.0.0.5", is_trusted=True, is_tls=False)
NOTHING_ELSE = (
    b"X-Forwarded-For: 192.0.2.9\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: h:8000\r\nX-Forwarded-Port: 8000\r\n"
)


def to_server(head: bytes, peer: Peer = STRANGER, prefix: bytes = b"") -> bytes:
    return request_head(read_request(head), peer, prefix=prefix, authority=b"127.0.0.1:9")


def forwarded(head: bytes, peer: Peer) -> list[bytes]:
    """Return the lines about the client, sorted."""
    lines = to_server(head, peer).split(b"\r\n")
    names = (b"x-forwarded", b"forwarded", b"x-real", b"x-scheme", b"x-client", b"true-client")
    return sorted(line for line in lines if line.lower().replace(b"_", b"-").startswith(names))


def test_a_request_goes_on_as_it_was_sent() -> None:
    """Method, target, names, values, and their order; the Host comes first."""
    head = (
        b"PROPFIND /a//%2f?b;c HTTP/1.1\r\nX-B: 1\r\nHost: h:8000\r\nx-b: 2\r\nCookie: a; b\r\nExpect: 100-continue\r\n"
    )

    assert to_server(head) == (
        b"PROPFIND /a//%2f?b;c HTTP/1.1\r\nHost: h:8000\r\nX-B: 1\r\nx-b: 2\r\nCookie: a; b\r\nExpect: 100-continue\r\n"
        + NOTHING_ELSE
        + b"\r\n"
    )


# Pairs of these differ in one respect each.
SIMILAR = [
    b"GET /a HTTP/1.1\r\nHost: h\r\n",
    b"GET /b?c HTTP/1.1\r\nHost: h\r\n",
    b"GET http://other/a HTTP/1.1\r\nHost: h\r\n",
    b"GET /a HTTP/1.0\r\nHost: h\r\n",
    b"GET /a HTTP/1.0\r\n",
    b"GET /a HTTP/1.0\r\nX: y\r\n",
    b"GET http://other/a HTTP/1.0\r\n",
    b"GET /a HTTP/1.1\r\nHost: i\r\n",
    b"GET /a HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 1.2.3.4\r\n",
    b"GET /a HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n",
    b"POST /a HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n",
    b"GET /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n",
    b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n",
    b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n",
    b"GET /a HTTP/1.1\r\nHost: h\r\n" + b"X: y\r\n" * 40,
    b"GET /a HTTP/1.1\r\nHost: h\r\nX: " + b"y" * 3000 + b"\r\n",
]


@pytest.mark.parametrize("before", SIMILAR)
def test_what_came_before_over_a_connection_changes_nothing(before: bytes) -> None:
    """Although fields that are the same again are not read again, nor written again for the same client."""
    for head in SIMILAR:
        last = read_request(before)
        request_head(last, FRONT, prefix=b"/p", authority=b"first:1")
        request = read_request(head, last)
        assert request == read_request(head)
        for peer, prefix in ((FRONT, b"/p"), (STRANGER, b""), (FRONT, b"")):
            assert request_head(request, peer, prefix=prefix, authority=b"127.0.0.1:9") == to_server(head, peer, prefix)


def test_only_fields_of_a_usual_size_are_kept_for_the_next_request() -> None:
    """Each open connection keeps them."""
    kept = [bool(read_request(head).block) for head in SIMILAR]

    assert kept == [b"http:" not in head and len(head) > 20 and len(head) < 200 for head in SIMILAR]


def test_the_path_of_a_target_comes_first() -> None:
    """And a request without a Host gets that of the target (HTTP/1.0)."""
    assert to_server(b"GET /a HTTP/1.0\r\n", prefix=b"/p/q").startswith(b"GET /p/q/a HTTP/1.1\r\nHost: 127.0.0.1:9\r\n")


def test_what_is_for_the_next_one_stays_here() -> None:
    """RFC 9110 section 7.6.1: with the fields that the Connection field names, in any spelling."""
    head = (
        b"GET /a HTTP/1.1\r\nHost: h:8000\r\nConnection: keep-alive, X-A,x_b\r\nx-a: 1\r\nX-B: 1\r\nKeep-Alive: 5\r\n"
        b"TE: trailers\r\nTrailer: X\r\nUpgrade: h2c\r\n"
        b"Proxy-Connection: close\r\nProxy-Authorization: x\r\nProxy-Authenticate: x\r\n"
    )

    assert to_server(head) == b"GET /a HTTP/1.1\r\nHost: h:8000\r\nX-B: 1\r\n" + NOTHING_ELSE + b"\r\n"


def test_nobody_can_have_a_field_removed_that_servers_rely_on() -> None:
    """By naming it in the Connection field."""
    head = b"POST /a HTTP/1.1\r\nHost: h:8000\r\nConnection: cookie, host, content-length\r\n"
    head += b"Connection: x-forwarded-for, authorization\r\n"
    more = b"Cookie: a\r\nAuthorization: b\r\n"

    assert to_server(head + more + b"Content-Length: 5\r\n") == (
        b"POST /a HTTP/1.1\r\nHost: h:8000\r\n" + more + NOTHING_ELSE + b"Content-Length: 5\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("framing", "written"),
    [
        (b"", b""),
        (b"Content-Length: 0\r\n", b"Content-Length: 0\r\n"),
        (b"Content-Length: 0012\r\n", b"Content-Length: 12\r\n"),
        (b"transfer-encoding: Chunked\r\n", b"Transfer-Encoding: chunked\r\n"),
    ],
)
def test_the_framing_is_ours(framing: bytes, written: bytes) -> None:
    """One line, in one spelling."""
    head = b"POST /a HTTP/1.1\r\nHost: h:8000\r\n"

    assert to_server(head + framing) == head + NOTHING_ELSE + written + b"\r\n"


def test_a_websocket_is_asked_for() -> None:
    """RFC 6455 section 4.1."""
    head = b"GET /a HTTP/1.1\r\nHost: h:8000\r\n"
    key = b"Sec-WebSocket-Key: x\r\n"
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"

    assert to_server(head + b"connection: upgrade, x\r\nupgrade: WebSocket\r\n" + key) == (
        head + key + NOTHING_ELSE + upgrade + b"\r\n"
    )


CLAIMS = (
    b"GET /a HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: e.org\r\n"
    b"X-Forwarded-Port: 443\r\nX-Forwarded-Prefix: /p\r\nX-Real-Ip: 1.2.3.4\r\nX-Scheme: https\r\nForwarded: for=1.2.3.4\r\n"
    b"X_Forwarded_For: 5.6.7.8\r\nX-Forwarded_Proto: gopher\r\nTrue-Client-IP: 1.2.3.4\r\nX-Client-Ip: 1.2.3.4\r\n"
)


def test_a_stranger_is_not_believed() -> None:
    """Not even in a spelling that WSGI servers take for the same."""
    assert forwarded(CLAIMS, STRANGER) == [
        b"X-Forwarded-For: 192.0.2.9",
        b"X-Forwarded-Host: h",
        b"X-Forwarded-Port: 80",
        b"X-Forwarded-Proto: http",
    ]


def test_a_trusted_proxy_is_believed() -> None:
    """But for X-Real-Ip and the like, which it may have passed on from a browser: tornado prefers it."""
    assert forwarded(CLAIMS, FRONT) == [
        b"Forwarded: for=1.2.3.4",
        b"X-Forwarded-For: 1.2.3.4, 10.0.0.5",
        b"X-Forwarded-Host: e.org",
        b"X-Forwarded-Port: 443",
        b"X-Forwarded-Prefix: /p",
        b"X-Forwarded-Proto: https",
        b"X-Scheme: https",
    ]


def test_a_trusted_proxy_may_say_nothing() -> None:
    """Then it is our client."""
    head = b"GET /a HTTP/1.1\r\nHost: h\r\n"
    https = Peer(b"10.0.0.5", is_trusted=True, is_tls=True)

    assert forwarded(head, FRONT) == forwarded(head, Peer(b"10.0.0.5", is_trusted=False, is_tls=False))
    assert forwarded(head, https)[2:] == [b"X-Forwarded-Port: 443", b"X-Forwarded-Proto: https"]


@pytest.mark.parametrize(
    ("address", "inside"),
    [
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),
        ("11.1.2.3", False),
        ("fd00::1", True),
        ("fe80::1%eth0", False),
        ("", False),
        ("a socket", False),
    ],
)
def test_who_is_trusted(address: str, *, inside: bool) -> None:
    """An IPv4 address in IPv6 form is what it is."""
    networks = [ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8")]

    assert is_in(address, networks) == inside


OLD, NEW = b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n", b"GET / HTTP/1.1\r\nHost: h\r\n"


@pytest.mark.parametrize(
    ("request_lines", "answer_lines", "close", "written", "length"),
    [
        (NEW, b"200 OK\r\nContent-Length: 05\r\n", False, b"200 OK\r\nContent-Length: 5\r\n", 5),
        (NEW, b"200\r\nContent-Length: 0\r\n", False, b"200 \r\nContent-Length: 0\r\n", 0),
        (
            NEW,
            b"200 OK\r\nContent-Length: 5\r\nConnection: close\r\n",
            True,
            b"200 OK\r\nContent-Length: 5\r\nConnection: close\r\n",
            5,
        ),
        # The server closes its connection, and ours stays.
        (
            NEW,
            b"200 OK\r\nConnection: close, X-A\r\nX-A: 1\r\nX-B: 2\r\n",
            False,
            b"200 OK\r\nX-B: 2\r\nTransfer-Encoding: chunked\r\n",
            CHUNKED,
        ),
        (NEW, b"200 OK\r\nTransfer-Encoding: chunked\r\n", False, b"200 OK\r\nTransfer-Encoding: chunked\r\n", CHUNKED),
        (OLD, b"200 OK\r\nTransfer-Encoding: chunked\r\n", False, b"200 OK\r\nConnection: close\r\n", UNTIL_CLOSE),
        (
            OLD,
            b"200 OK\r\nContent-Length: 5\r\n",
            False,
            b"200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n",
            5,
        ),
        # RFC 9110 section 8.6
        (NEW, b"204 No Content\r\nContent-Length: 0\r\n", False, b"204 No Content\r\n", 0),
        (NEW, b"304 Not Modified\r\nContent-Length: 7\r\nETag: x\r\n", False,
         b"304 Not Modified\r\nETag: x\r\nContent-Length: 7\r\n", 0),
        (NEW, b"304 Not Modified\r\n", False, b"304 Not Modified\r\n", 0),
        (NEW, b"200 OK\r\nSet-Cookie: a\r\nset-cookie: b\r\nContent-Length: 0\r\nKeep-Alive: 5\r\nTrailer: X\r\n", False,
         b"200 OK\r\nSet-Cookie: a\r\nset-cookie: b\r\nContent-Length: 0\r\n", 0),
    ],
)  # fmt: skip
def test_an_answer_goes_on(
    request_lines: bytes,
    answer_lines: bytes,
    close: bool,
    written: bytes,
    length: int,
) -> None:
    """With what the server has said, and the framing that the client understands."""
    request = read_request(request_lines)
    answer = read_answer(b"HTTP/1.1 " + answer_lines, request.method)

    assert answer_head(answer, request, close=close) == (b"HTTP/1.1 " + written + b"\r\n", length)


def test_an_answer_to_head_has_the_length_of_the_body() -> None:
    """RFC 9110 section 9.3.2."""
    request = read_request(b"HEAD / HTTP/1.1\r\nHost: h\r\n")
    answer = read_answer(b"HTTP/1.1 200 OK\r\nContent-Length: 123456\r\n", b"HEAD")

    assert answer_head(answer, request, close=False) == (b"HTTP/1.1 200 OK\r\nContent-Length: 123456\r\n\r\n", 0)


def test_interim_answers_go_on() -> None:
    """Without a length, and without what is for us."""
    answer = read_answer(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: x\r\nX: y\r\n", b"GET")

    assert interim_head(answer) == b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"


def test_a_websocket_is_opened() -> None:
    """RFC 6455 section 4.2.2."""
    answer = read_answer(b"HTTP/1.1 101 Yes\r\nupgrade: websocket\r\nConnection: upgrade\r\nSec-A: b\r\n", b"GET")

    assert switching_head(answer) == (
        b"HTTP/1.1 101 Yes\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-A: b\r\n\r\n"
    )
