"""Strategies that make HTTP requests: usual ones, with up to three things in them that do not belong there."""

from __future__ import annotations

from hypothesis import strategies as st

# What is usual, ...
LINES = st.sampled_from(
    [
        *(b"GET / HTTP/1.1\r\n", b"POST /a?b HTTP/1.1\r\n", b"PUT //a HTTP/1.1\r\n", b"HEAD / HTTP/1.1\r\n"),
        *(b"GET / HTTP/1.0\r\n", b"GET http://h/a HTTP/1.1\r\n", b"OPTIONS * HTTP/1.1\r\n"),
    ]
)
FRAMED = st.sampled_from(
    [
        *((b"", b""), (b"Content-Length: 5\r\n", b"hello"), (b"content-length:0\r\n", b"")),
        (b"Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n0\r\n\r\n"),
        (b"TRANSFER-ENCODING:\tChunked \r\n", b"1;a=b\r\na\r\n00\r\nX: y\r\n\r\n"),
        (b"Content-Length: 38\r\n", b"0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: h\r\n\r\n"),
    ]
)
FIELDS = st.sampled_from(
    [
        *(
            b"X-A: b\r\n",
            b"X-A:\r\n",
            b"Connection: keep-alive\r\n",
            b"Connection: close\r\n",
            b"Connection: content-length\r\n",
        ),
        *(
            b"TE: trailers\r\n",
            b"Expect: 100-continue\r\n",
            b"Upgrade: h2c\r\n",
            b"Trailer: X\r\n",
            b"Content_Length: 9\r\n",
        ),
    ]
)
# ... and what has made two programs disagree before.
ODD = st.sampled_from(
    [
        *(
            b"\r",
            b"\n",
            b"\r\n",
            b"\r\n\r\n",
            b"\n\n",
            b"\0",
            b" ",
            b"\t",
            b"\x0b",
            b"\xff",
            b"\xa0",
            b"\x85",
            b":",
            b",",
            b";",
            b"0",
        ),
        *(b"Content-Length: 5\r\n", b"Content-Length: 6\r\n", b"Content-Length:\x0b5\r\n", b"Content-Length : 5\r\n"),
        *(
            b"Content-Length: +5\r\n",
            b"Content-Length: 5, 5\r\n",
            b"Content-Length: 0x5\r\n",
            b"Content-Length: 1_0\r\n",
        ),
        *(b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: xchunked\r\n", b"Transfer-Encoding: identity\r\n"),
        *(
            b"Transfer-Encoding: chunked, identity\r\n",
            b"Transfer-Encoding\t: chunked\r\n",
            b"Transfer-Encoding: \x0bchunked\r\n",
        ),
        *(b" Transfer-Encoding: chunked\r\n", b"X: y\n Transfer-Encoding: chunked\r\n", b"X: y\rContent-Length: 5\r\n"),
        *(b"X: y\r\n Content-Length: 5\r\n", b"Host: other\r\n", b"GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n"),
        *(
            b"5\r\nhello\r\n",
            b"0\r\n\r\n",
            b"5 \r\n",
            b"0x5\r\n",
            b"+5\r\n",
            b"-1\r\n",
            b"FFFFFFFFFFFFFFFFF\r\n",
            b"5;a\nb\r\n",
        ),
    ]
)


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """Return a request with up to three things in it that do not belong there."""
    framing, body = draw(FRAMED)
    fields = draw(st.lists(FIELDS, max_size=2))
    fields.insert(draw(st.integers(0, len(fields))), framing)
    text = draw(LINES) + b"Host: h\r\n" + b"".join(fields) + b"\r\n" + body
    for _ in range(draw(st.sampled_from([0, 0, 1, 1, 1, 2, 3]))):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(ODD) + text[at + draw(st.sampled_from([0, 0, 1, 2])) :]
    return text
