"""Writes the heads that go on: of a request to a server, of an answer to a client. Pure.

Every head is written from what was understood. Fields that are for the next one on the way only are left out (RFC 9110
section 7.6.1), the framing of a body is always ours, and only a trusted client says for whom it speaks.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from .heads import CHUNKED, UNTIL_CLOSE, Answer, Request

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# For the next one on the way, or written by us.
_HOP_BY_HOP = frozenset(
    (
        *(b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te"),
        *(b"trailer", b"transfer-encoding", b"upgrade", b"content-length", b"host"),
    )
)
# Whoever names these in the Connection field could take them from a server that relies on them.
_END_TO_END = frozenset(
    (
        *(b"authorization", b"cache-control", b"content-encoding", b"content-range", b"content-type", b"cookie"),
        *(b"expect", b"location", b"origin", b"range", b"referer", b"set-cookie", b"x-xsrftoken"),
    )
)
# What servers believe of their client (tornado/httpserver.py, _apply_xheaders; jupyterhub/utils.py, get_browser_protocol).
_ABOUT_CLIENTS = frozenset((b"forwarded", b"x-real-ip", b"x-scheme", b"x-client-ip", b"true-client-ip"))
_FORWARDED = (
    b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\nX-Forwarded-Host: %b\r\nX-Forwarded-Port: %b\r\n"  # of a stranger
)


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end of a connection from a client.

    Attributes:
        address: The IP address.
        is_trusted: Whether what it says about its own client is believed.
        is_tls: Whether the connection is https.
    """

    address: bytes
    is_trusted: bool
    is_tls: bool


def is_in(address: str, networks: Sequence[Network]) -> bool:
    """Whether an address is in one of the networks. An IPv4 address in IPv6 form counts as what it is."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return any((mapped or parsed) in network for network in networks)


def request_head(request: Request, peer: Peer, *, prefix: bytes, authority: bytes) -> bytes:
    """Return the head of a request as the server gets it.

    Args:
        request: What the client has sent.
        peer: Who that is.
        prefix: The path of the route's target, which comes before that of the request; without a slash at its end.
        authority: The host and port of the target, for a request without a Host.
    """
    written = request.written
    if written is None or written[0] is not peer or not request.host:
        written = request.written = peer, _request_fields(request, peer, authority)
    return b"%b %b%b HTTP/1.1\r\n%b" % (request.method, prefix, request.target, written[1])


def _request_fields(request: Request, peer: Peer, authority: bytes) -> bytes:
    lines = [b"Host: %b\r\n" % (request.host or authority)]
    said: dict[bytes, list[bytes]] = {}
    named = request.connection - _END_TO_END
    for key, name, value in request.fields:
        if b"_" in key:  # WSGI servers take it for the same as "-"
            key = key.replace(b"_", b"-")
        if key.startswith(b"x-forwarded-") or key in _ABOUT_CLIENTS:
            if peer.is_trusted and b"_" not in name:
                said.setdefault(key, []).append(value)
        elif key not in _HOP_BY_HOP and key not in named:
            lines.append(b"%b: %b\r\n" % (name, value))
    lines.append(_forwarded(said, request, peer))
    if request.length == CHUNKED:
        lines.append(b"Transfer-Encoding: chunked\r\n")
    elif request.has_length:
        lines.append(b"Content-Length: %d\r\n" % request.length)
    if request.upgrade:
        lines.append(b"Connection: Upgrade\r\nUpgrade: websocket\r\n")
    lines.append(b"\r\n")
    return b"".join(lines)


def _forwarded(said: dict[bytes, list[bytes]], request: Request, peer: Peer) -> bytes:
    """Return the fields that say who the client is. A trusted client's own come first, and fill in nothing but theirs."""
    scheme = b"https" if peer.is_tls else b"http"
    _, colon, port = request.host.rpartition(b":")
    if not colon or not port.isdigit():
        port = b"443" if peer.is_tls else b"80"
    if not said:
        return _FORWARDED % (peer.address, scheme, request.host, port)
    values = {
        b"x-forwarded-for": [*said.pop(b"x-forwarded-for", ()), peer.address],
        b"x-forwarded-proto": said.pop(b"x-forwarded-proto", [scheme]),
        b"x-forwarded-host": said.pop(b"x-forwarded-host", [request.host]),
        b"x-forwarded-port": said.pop(b"x-forwarded-port", [port]),
    }
    # Of these, servers would believe one that the proxy in front has passed on from a browser.
    for name in (b"x-real-ip", b"x-client-ip", b"true-client-ip"):
        said.pop(name, None)
    return b"".join(b"%b: %b\r\n" % (name.title(), b", ".join(value)) for name, value in (values | said).items())


def answer_head(answer: Answer, request: Request, *, close: bool) -> tuple[bytes, int]:
    """Return the head of an answer as the client gets it, and the length of its body there.

    The length may be :data:`~.heads.CHUNKED` or :data:`~.heads.UNTIL_CLOSE`; then the connection must be closed after it.

    Args:
        answer: What the server has sent.
        request: What it answers.
        close: Whether the connection is closed after the answer.
    """
    length = answer.length
    if length < 0:
        length = UNTIL_CLOSE if request.is_old else CHUNKED
    lines = [b"HTTP/1.1 %d %b\r\n" % (answer.status, answer.reason)]
    lines.append(_passed_on(answer))
    if length == CHUNKED:
        lines.append(b"Transfer-Encoding: chunked\r\n")
    elif length >= 0 and answer.status >= 200 and answer.status != 204:
        lines.append(_length_line(answer, length))
    if close or length == UNTIL_CLOSE:
        lines.append(b"Connection: close\r\n")
    elif request.is_old:
        lines.append(b"Connection: keep-alive\r\n")
    lines.append(b"\r\n")
    return b"".join(lines), length


def _passed_on(answer: Answer) -> bytes:
    named = answer.connection - _END_TO_END
    return b"".join(
        [
            b"%b: %b\r\n" % (name, value)
            for key, name, value in answer.fields
            if key not in _HOP_BY_HOP and key not in named
        ]
    )


def _length_line(answer: Answer, length: int) -> bytes:
    """Return the Content-Length; without a body (HEAD, 304), that is the one of the answer that would have one."""
    if length:
        return b"Content-Length: %d\r\n" % length
    given = [value for key, _, value in answer.fields if key == b"content-length"]
    return b"Content-Length: %b\r\n" % given[0] if given else b""


def interim_head(answer: Answer) -> bytes:
    """Return an interim answer, such as 100 or 103, as the client gets it (RFC 9110 section 15.2)."""
    return b"HTTP/1.1 %d %b\r\n%b\r\n" % (answer.status, answer.reason, _passed_on(answer))


def switching_head(answer: Answer) -> bytes:
    """Return the answer that opens a websocket, as the client gets it (RFC 6455 section 4.2.2)."""
    fields = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    return b"HTTP/1.1 101 %b\r\n%b%b\r\n" % (answer.reason, fields, _passed_on(answer))
