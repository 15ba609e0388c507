"""conformance.wire: HTTP/1.1 as the suite reads and writes it."""

from __future__ import annotations

import asyncio

import pytest

from traefik_toml_proxy.conformance.wire import BrokenMessage, Head, chunk, head_bytes, read_body, read_head


def reader_of(*pieces: bytes) -> asyncio.StreamReader:
    """Return a reader that gets these pieces, and then the end."""
    reader = asyncio.StreamReader()
    for piece in pieces:
        reader.feed_data(piece)
    reader.feed_eof()
    return reader


async def body_of(head: Head, *pieces: bytes, until_close: bool = True) -> bytes:
    """Return the body that is read after this head."""
    return b"".join([part async for part in read_body(reader_of(*pieces), head, until_close=until_close)])


async def test_a_head_is_read_as_it_was_written() -> None:
    """The order, spelling and repetition of headers are preserved."""
    headers = (("Host", "a:1"), ("X-a", "1"), ("x-A", "2"), ("Empty", ""), ("With", "a: b"))

    head = await read_head(reader_of(head_bytes("GET /\xe9%2F HTTP/1.1", headers), b"rest"))

    assert (head.first, head.headers) == ("GET /\xe9%2F HTTP/1.1", headers)
    assert (head.get("x-a"), head.get_all("X-A"), head.get("none")) == ("1", ["1", "2"], None)


async def test_an_incomplete_head_is_an_error() -> None:
    with pytest.raises(BrokenMessage, match="after 9 bytes"):
        await read_head(reader_of(b"GET / HTT"))


@pytest.mark.parametrize(
    ("headers", "pieces", "body"),
    [
        ([("Content-Length", "5")], [b"he", b"llo", b"next"], b"hello"),
        ([("Content-Length", "0")], [b"next"], b""),
        ([("Transfer-Encoding", "chunked")], [chunk(b"hel"), chunk(b"lo"), chunk(b""), b"next"], b"hello"),
        ([("transfer-encoding", "Chunked")], [b"5;x=y\r\nhello\r\n0\r\nTrailer: 1\r\n\r\nnext"], b"hello"),
        ([], [b"until", b" the end"], b"until the end"),
    ],
)
async def test_a_body_ends_where_it_says(headers: list[tuple[str, str]], pieces: list[bytes], body: bytes) -> None:
    """By its length, by its last chunk, or with the connection (RFC 9112 section 6.3)."""
    assert await body_of(Head("", tuple(headers)), *pieces) == body


async def test_a_request_without_a_length_has_no_body() -> None:
    """The data that follows is the next request."""
    assert await body_of(Head("", ()), b"GET / HTTP/1.1", until_close=False) == b""


@pytest.mark.parametrize(
    ("header", "pieces"),
    [
        (("Content-Length", "5"), [b"hel"]),
        (("Transfer-Encoding", "chunked"), [b"5\r\nhel"]),
        (("Transfer-Encoding", "chunked"), [chunk(b"hello")]),
        (("Transfer-Encoding", "chunked"), [chunk(b"hello"), b"0\r\n"]),
    ],
)
async def test_a_body_that_ends_too_soon_is_an_error(header: tuple[str, str], pieces: list[bytes]) -> None:
    """An incomplete response never passes for a complete one."""
    with pytest.raises(BrokenMessage):
        await body_of(Head("", (header,)), *pieces)
