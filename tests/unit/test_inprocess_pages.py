"""What the proxy answers itself."""

from __future__ import annotations

import pytest

from traefik_toml_proxy.inprocess.heads import Request, read_answer, read_request
from traefik_toml_proxy.inprocess.pages import error_target, healthy, page, plain, redirect, wants_page, whole


def asked(line: bytes, *more: bytes) -> Request:
    return read_request(b"\r\n".join([line + b" HTTP/1.1", b"Host: hub.example.org:8000", *more, b""]))


def parted(answer: bytes) -> tuple[bytes, bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    read_answer(head + b"\r\n", b"GET")
    return head, body


def test_a_program_gets_a_few_words() -> None:
    """With a length, and not for a cache."""
    head, body = parted(plain(503, "No.", close=True))

    assert body == b"No.\n"
    assert head.startswith(
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 4\r\n"
    )
    assert head.endswith(b"Cache-Control: no-store\r\nConnection: close")
    assert parted(plain(503, "No.", close=False, head_only=True)) == (head[: -len(b"\r\nConnection: close")], b"")


@pytest.mark.parametrize("status", [404, 503])
def test_a_browser_gets_a_page(status: int) -> None:
    """It says what is wrong, and asks again if that helps."""
    head, body = parted(page(status, close=False))
    again, _ = parted(page(status, close=False, again=7))

    assert b"<title>%d " % status in body
    assert b"Refresh" not in head
    assert b"\r\nRefresh: 7\r\nRetry-After: 7" in again


def test_an_unknown_status_has_no_words() -> None:
    """RFC 9112 section 4 allows that."""
    assert whole(599, "a/b", b"", close=False).startswith(
        b"HTTP/1.1 599 \r\nContent-Type: a/b\r\nContent-Length: 0\r\n"
    )


def test_the_health_of_the_proxy_is_the_one_of_chp() -> None:
    """configurable-http-proxy lib/configproxy.js."""
    head, body = parted(healthy(close=False, head_only=False))

    assert (head[:15], body) == (b"HTTP/1.1 200 OK", b'{"status": "OK"}')
    assert parted(healthy(close=False, head_only=True)) == (head, b"")


HTML = b"Accept: application/xml, TEXT/html;q=0.9"


@pytest.mark.parametrize(
    ("request_", "wants"),
    [
        (asked(b"GET /", HTML), True),
        (asked(b"GET /", b"Accept: */*"), False),
        (asked(b"GET /"), False),
        (asked(b"POST /", HTML), False),
        (asked(b"HEAD /", HTML), False),
        (asked(b"GET /", HTML, b"Connection: upgrade", b"Upgrade: websocket"), False),
    ],
)
def test_only_a_browser_wants_a_page(request_: Request, *, wants: bool) -> None:
    """Others get a few words."""
    assert wants_page(request_) == wants


def test_the_hub_is_told_which_path_failed() -> None:
    """Escaped whole: it is a value in a query."""
    assert (
        error_target(b"/hub/", 503, asked(b"GET /user/a&b/%20?c=d"))
        == b"/hub/error/503?url=%2Fuser%2Fa%26b%2F%2520%3Fc%3Dd"
    )


@pytest.mark.parametrize(
    ("line", "host", "port", "status", "location"),
    [
        (b"GET /a//%2f?b;c", b"hub.example.org", 443, 302, b"https://hub.example.org/a//%2f?b;c"),
        (b"HEAD /", b"hub.example.org:80", 8443, 302, b"https://hub.example.org:8443/"),
        (b"POST /", b"[::1]:80", 443, 307, b"https://[::1]/"),
        (b"GET /", b"[::1]", 8443, 302, b"https://[::1]:8443/"),
        (b"GET //evil.example/", b"h", 443, 302, b"https://h//evil.example/"),
        ("GET /ü".encode(), b"h", 443, 302, b"https://h/%C3%BC"),
    ],
)
def test_plain_http_is_sent_to_https(line: bytes, host: bytes, port: int, status: int, location: bytes) -> None:
    """To the same path and query, byte for byte."""
    head, body = parted(redirect(read_request(line + b" HTTP/1.1\r\nHost: " + host + b"\r\n"), port, close=True))

    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"\r\nLocation: " + location + b"\r\n" in head
    assert b"\r\nConnection: close" in head
    assert body == b""


@pytest.mark.parametrize("head", [b"GET / HTTP/1.0\r\n", b"OPTIONS * HTTP/1.1\r\nHost: h\r\n"])
def test_who_has_said_no_host_or_path_is_sent_nowhere(head: bytes) -> None:
    """There is no URL for it."""
    assert redirect(read_request(head), 443, close=True).startswith(b"HTTP/1.1 400 ")


def test_after_head_there_is_never_a_body() -> None:
    """The connection may stay, and the client would take it for the next answer."""
    head, body = parted(redirect(read_request(b"HEAD / HTTP/1.0\r\nConnection: keep-alive\r\n"), 443, close=False))

    assert head.startswith(b"HTTP/1.1 400 ")
    assert body == b""
