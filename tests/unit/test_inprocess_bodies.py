"""Bodies, whole, in pieces and byte by byte; and those that are refused. Each case names its section of RFC 9112."""

from __future__ import annotations

import pytest

from traefik_toml_proxy.inprocess.bodies import (
    LARGEST_TRAILERS,
    LAST_CHUNK,
    LONGEST_SIZE_LINE,
    BrokenBody,
    body_of,
    chunk,
)
from traefik_toml_proxy.inprocess.heads import CHUNKED, UNTIL_CLOSE


def read(length: int, *pieces: bytes) -> tuple[bytes, bytes, bool]:
    """Return the body, what came after it, and whether it was complete."""
    body = body_of(length)
    seen, rest = b"", b""
    for piece in pieces:
        if body.done:
            rest += piece
            continue
        rest = piece
        while rest and not body.done:
            found, rest = body.feed(rest)
            seen += found
    return seen, rest, body.done


def cut(text: bytes, size: int) -> list[bytes]:
    return [text[at : at + size] for at in range(0, len(text), size)]


CHUNKS = [
    # Section 7.1
    (b"0\r\n\r\n", b""),
    (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
    (b"1\r\na\r\n00A\r\n0123456789\r\n000\r\n\r\n", b"a0123456789"),
    (b"f\r\n" + b"\r\n" * 7 + b"x\r\nF\r\n" + b"0" * 15 + b"\r\n0\r\n\r\n", b"\r\n" * 7 + b"x" + b"0" * 15),
    # Section 7.1.1: extensions are dropped.
    (b'5;a;b=c;d="e\t\xff"\r\nhello\r\n0;x\r\n\r\n', b"hello"),
    # Section 7.1.2: so are trailers.
    (b"5\r\nhello\r\n0\r\nX-A: b\r\nContent-Length: 7\r\n\r\n", b"hello"),
]


@pytest.mark.parametrize(("text", "content"), CHUNKS)
def test_a_chunked_body_is_read(text: bytes, content: bytes) -> None:
    """However it is received, its content is the same, and what comes after it is left."""
    for after in (b"", b"\r\n", b"GET / HTTP/1.1\r\n"):
        assert read(CHUNKED, text + after) == (content, after, True)
        for size in (1, 2, 3, 7):
            assert read(CHUNKED, *cut(text, size), after) == (content, after, True)


@pytest.mark.parametrize(
    "text",
    [
        # Sizes are hexadecimal digits, and nothing around them (section 7.1).
        b"\r\n",
        b"g\r\n",
        b" 5\r\nhello\r\n",
        b"5 \r\nhello\r\n",
        b"5 ;a\r\nhello\r\n",
        b"0x5\r\nhello\r\n",
        b"+5\r\nhello\r\n",
        b"-5\r\nhello\r\n",
        b"5_0\r\n",
        b";a\r\n",
        b"1" + b"0" * 15 + b"\r\n",
        # Line ends (section 2.2): the size or the extension must not end where another reader sees no end.
        b"5\nhello\r\n0\r\n\r\n",
        b"5\rhello\r\n0\r\n\r\n",
        b"5;a\nb\r\nhello\r\n",
        b"5;a\rb\r\nhello\r\n",
        b"5;a\x00\r\nhello\r\n",
        # The data ends with CRLF, and nothing else.
        b"5\r\nhello0\r\n\r\n",
        b"5\r\nhello\n0\r\n\r\n",
        b"5\r\nhello\r0\r\n\r\n",
        b"5\r\nhelloXX0\r\n\r\n",
        # Trailers (section 7.1.2)
        b"0\r\nA : b\r\n\r\n",
        b"0\r\n A: b\r\n\r\n",
        b"0\r\nA: b\nC: d\r\n\r\n",
        b"0\r\nGET / HTTP/1.1\r\n\r\n",
        b"0\r\n\n",
        b"0\r\n\rx",
    ],
)
def test_a_chunked_body_is_refused(text: bytes) -> None:
    """However it is received."""
    for size in (1, 2, 5, 1000):
        with pytest.raises(BrokenBody):
            read(CHUNKED, *cut(text, size))


@pytest.mark.parametrize("size", [1, 100, 100_000])
def test_lines_of_chunks_have_a_limit(size: int) -> None:
    """What is dropped must not be worth sending; and the last that is allowed is allowed."""
    line = b"5;" + b"a" * (LONGEST_SIZE_LINE - 2)
    trailers = b"A: " + b"b" * (LARGEST_TRAILERS - 5)

    assert read(CHUNKED, *cut(line + b"\r\nhello\r\n0\r\n\r\n", size)) == (b"hello", b"", True)
    with pytest.raises(BrokenBody):
        read(CHUNKED, *cut(line + b"a\r\n", size))
    assert read(CHUNKED, *cut(b"0\r\n" + trailers + b"\r\n\r\n", size)) == (b"", b"", True)
    with pytest.raises(BrokenBody):
        read(CHUNKED, *cut(b"0\r\n" + trailers + b"b\r\n\r\n", size))
    with pytest.raises(BrokenBody):
        read(CHUNKED, *cut(b"0\r\n" + b"A: b\r\n" * LARGEST_TRAILERS, size))
    with pytest.raises(BrokenBody):
        read(CHUNKED, *cut(b"5" * 100_000, size))


@pytest.mark.parametrize("size", [1, 3, 4, 5])
def test_a_body_with_a_length_is_read(size: int) -> None:
    """Section 6.2: not one byte more or less."""
    assert read(5, *cut(b"hello", size), b"after") == (b"hello", b"after", True)
    assert read(5, b"helloafter") == (b"hello", b"after", True)
    assert read(5, b"hell") == (b"hell", b"", False)
    assert body_of(0).done


def test_a_body_without_a_length_lasts_until_the_end() -> None:
    """Section 6.3, rule 8."""
    body = body_of(UNTIL_CLOSE)

    assert body.feed(b"abc") == (b"abc", b"")
    assert not body.done
    body.end_of_input()
    assert body.done


@pytest.mark.parametrize(
    ("length", "text"), [(5, b"hell"), (CHUNKED, b""), (CHUNKED, b"5\r\nhello"), (CHUNKED, b"5\r\nhello\r\n0\r\n")]
)
def test_a_body_that_ends_too_early_is_incomplete(length: int, text: bytes) -> None:
    """Section 8."""
    body = body_of(length)
    body.feed(text)

    with pytest.raises(BrokenBody):
        body.end_of_input()


@pytest.mark.parametrize(("length", "text"), [(5, b"hello"), (CHUNKED, b"0\r\n\r\n")])
def test_a_complete_body_may_end(length: int, text: bytes) -> None:
    """Then the end of the connection is no error."""
    body = body_of(length)
    body.feed(text)
    body.end_of_input()

    assert body.done


def test_a_chunk_may_be_all_that_is_received() -> None:
    """Usual for events that are sent one by one."""
    assert read(CHUNKED, b"5\r\nhello\r\n") == (b"hello", b"", False)
    assert read(CHUNKED, b"5\r\nhello\r\n", b"1\r\na\r\n", b"0\r\n\r\n") == (b"helloa", b"", True)


def test_what_is_written_can_be_read() -> None:
    """A body that goes on in chunks is the same there."""
    assert read(CHUNKED, chunk(b"a" * 17) + chunk(b"\r\n0\r\n\r\n") + LAST_CHUNK) == (
        b"a" * 17 + b"\r\n0\r\n\r\n",
        b"",
        True,
    )


@pytest.mark.timeout(10)
def test_many_small_chunks_take_no_long_time() -> None:
    """Neither all of them, nor a part of them: others wait until it is read."""
    text = b"1\r\na\r\n" * 100_000 + b"0\r\n\r\n"

    assert read(CHUNKED, text) == (b"a" * 100_000, b"", True)
    for some in (text, text.replace(b"1", b"1;")):
        found, rest = body_of(CHUNKED).feed(some)
        assert found == b"a" * 16
        assert some.endswith(rest)
