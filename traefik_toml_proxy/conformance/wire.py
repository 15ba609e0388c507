"""HTTP/1.1 as it is on the wire, read and written without normalising anything. Does I/O on asyncio's streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

# The most bytes in one line, or in one read.
LIMIT = 2**20

Headers = Iterable[tuple[str, str]]


class BrokenMessage(Exception):
    """What was received is not a complete HTTP message."""


@dataclass(frozen=True, slots=True)
class Head:
    """The first line and the headers of a message.

    Attributes:
        first: The first line, as Latin-1 text.
        headers: Names and values, in the order and spelling in which they were received.
    """

    first: str
    headers: tuple[tuple[str, str], ...]

    def get_all(self, name: str) -> list[str]:
        """Return the values of all headers of this name, whatever its case."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def get(self, name: str) -> str | None:
        """Return the value of the first header of this name, or None."""
        return next(iter(self.get_all(name)), None)


def head_bytes(first: str, headers: Headers) -> bytes:
    """Return the head of a message as it goes on the wire (Latin-1)."""
    return "".join([f"{first}\r\n", *(f"{name}: {value}\r\n" for name, value in headers), "\r\n"]).encode("latin-1")


def chunk(data: bytes) -> bytes:
    """Return ``data`` as one chunk; no data makes the last chunk (RFC 9112 section 7.1)."""
    return b"%x\r\n%s\r\n" % (len(data), data)


async def read_head(reader: asyncio.StreamReader) -> Head:
    """Read the head of a message.

    Raises:
        BrokenMessage: If the other side closed the connection before it was complete.
        ConnectionError: If the connection was reset.
    """
    try:
        text = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError as error:
        raise BrokenMessage(f"closed after {len(error.partial)} bytes of a head") from error
    first, *lines = text.split("\r\n")
    pairs = (line.partition(":") for line in lines if line)
    return Head(first, tuple((name, value.strip()) for name, _, value in pairs))


async def read_body(reader: asyncio.StreamReader, head: Head, *, until_close: bool) -> AsyncIterator[bytes]:
    """Yield the body that belongs to ``head`` as it is received (RFC 9112 section 6.3).

    Args:
        reader: The stream that the head was read from.
        head: Says how long the body is.
        until_close: Whether a body without a length lasts until the connection is closed (a response), or is empty.

    Raises:
        BrokenMessage: If the other side closed the connection before it was complete.
    """
    length = head.get("Content-Length")
    try:
        if (head.get("Transfer-Encoding") or "").lower() == "chunked":
            while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
                yield await reader.readexactly(size)
                await reader.readexactly(2)
            while (await reader.readuntil(b"\r\n")) != b"\r\n":
                pass
        elif length is not None:
            left = int(length)
            while left:
                data = await reader.read(min(left, LIMIT))
                if not data:
                    raise BrokenMessage(f"closed with {left} of {length} bytes of the body missing")
                left -= len(data)
                yield data
        elif until_close:
            while data := await reader.read(LIMIT):
                yield data
    except asyncio.IncompleteReadError as error:
        raise BrokenMessage("closed in the middle of a chunked body") from error
