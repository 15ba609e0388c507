"""Reads bodies as they come: with a length, in chunks, or until the end (RFC 9112 sections 6 and 7). Pure."""

from __future__ import annotations

import re
from typing import Protocol

from .heads import CHUNKED, UNTIL_CLOSE, is_field_line

# RFC 9112 section 7.1, without the white space that some take and others do not. Extensions are dropped.
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;[\t\x20-\x7e\x80-\xff]*)?")
_PLAIN_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})\r\n")
# The longest line with the size of a chunk, and the longest trailer section, in bytes.
LONGEST_SIZE_LINE = 256
LARGEST_TRAILERS = 8_192
# How many chunks are read at once: they may have a byte each, and others wait.
_MOST_CHUNKS = 16

_IN_SIZE, _IN_DATA, _AFTER_DATA, _IN_TRAILERS = range(4)


class BrokenBody(Exception):
    """A body whose end nobody can know; the message says what is wrong with it, without its text."""


class Body(Protocol):
    """A body that is being read.

    Attributes:
        done: Whether all of it has been read.
    """

    done: bool

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Take what has been received; do not call it after the end.

        Returns:
            What of it is in the body, and what has not been read: what comes after the body, or what is to be given again.

        Raises:
            BrokenBody: If it cannot be understood.
        """

    def end_of_input(self) -> None:
        """Note that nothing more will be received.

        Raises:
            BrokenBody: If the body is not complete.
        """


def body_of(length: int) -> Body:
    """Return what reads a body, given the ``length`` of its head."""
    if length == CHUNKED:
        return ChunkedBody()
    return EndlessBody() if length == UNTIL_CLOSE else SizedBody(length)


class SizedBody:
    """A body with a Content-Length."""

    __slots__ = ("_left", "done")

    def __init__(self, length: int) -> None:
        self._left = length
        self.done = length == 0

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """See :class:`Body`."""
        left = self._left
        if len(data) < left:
            self._left = left - len(data)
            return data, b""
        self._left, self.done = 0, True
        return (data, b"") if len(data) == left else (data[:left], data[left:])

    def end_of_input(self) -> None:
        """See :class:`Body`."""
        if not self.done:
            raise BrokenBody(f"it ends {self._left} bytes too early")


class EndlessBody:
    """A body that ends with the connection."""

    __slots__ = ("done",)

    def __init__(self) -> None:
        self.done = False

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """See :class:`Body`."""
        return data, b""

    def end_of_input(self) -> None:
        """See :class:`Body`."""
        self.done = True


class ChunkedBody:
    """A body in chunks. Extensions and trailers are checked and dropped (RFC 9112 sections 7.1.1 and 7.1.2)."""

    __slots__ = ("_held", "_left", "_state", "_trailers", "done")

    def __init__(self) -> None:
        self.done = False
        self._state = _IN_SIZE
        # The beginning of a line whose end has not been received.
        self._held = b""
        # How many bytes of the chunk are to come, and how many the trailers had.
        self._left = 0
        self._trailers = 0

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """See :class:`Body`."""
        data, self._held, at = self._held + data, b"", 0
        parts: list[bytes] = []
        while not self.done and at < len(data) and len(parts) < _MOST_CHUNKS:
            if self._state == _IN_SIZE:
                at = self._take_whole(data, at, parts)
                if at == len(data) or len(parts) >= _MOST_CHUNKS:
                    break
            if self._state == _IN_DATA:
                part = data[at : at + self._left]
                parts.append(part)
                at += len(part)
                self._left -= len(part)
                if not self._left:
                    self._state = _AFTER_DATA
                continue
            line = self._line(data, at)
            if line is None:
                self._held = data[at:]
                return b"".join(parts), b""
            at += len(line) + 2
            self._take(line)
        return b"".join(parts), data[at:]

    def _take_whole(self, data: bytes, at: int, parts: list[bytes]) -> int:
        """Take the chunks that are there as a whole, and have no extension: there may be many of a few bytes.

        Returns:
            Where what is left begins.
        """
        match = _PLAIN_SIZE.match(data, at)
        while match is not None and len(parts) < _MOST_CHUNKS:
            start = match.end()
            end = start + int(match[1], 16)
            if end == start or data[end : end + 2] != b"\r\n":
                break
            parts.append(data[start:end])
            at = end + 2
            match = _PLAIN_SIZE.match(data, at)
        return at

    def _line(self, data: bytes, at: int) -> bytes | None:
        """Return the line that begins here, without its end; None if that has not been received."""
        longest = {_IN_SIZE: LONGEST_SIZE_LINE, _AFTER_DATA: 0, _IN_TRAILERS: LARGEST_TRAILERS}[self._state]
        end = data.find(b"\r\n", at, at + longest + 2)
        if end >= 0:
            return data[at:end]
        rest = data[at : at + longest + 2]
        # Nothing but the CR of the end of the line may be in it (section 2.2).
        if len(rest) > longest + 1 or b"\n" in rest or b"\r" in rest[:-1] or (not longest and rest != b"\r"):
            raise BrokenBody("a line of its chunks does not end as it must")
        return None

    def _take(self, line: bytes) -> None:
        if self._state == _AFTER_DATA:
            self._state = _IN_SIZE
        elif self._state == _IN_SIZE:
            match = _SIZE.fullmatch(line)
            if match is None:
                raise BrokenBody("the size of a chunk is malformed")
            self._left = int(match[1], 16)
            self._state = _IN_DATA if self._left else _IN_TRAILERS
        elif not line:
            self.done = True
        else:
            self._trailers += len(line) + 2
            if self._trailers > LARGEST_TRAILERS or not is_field_line(line + b"\r\n"):
                raise BrokenBody("its trailers are malformed, or too large")

    def end_of_input(self) -> None:
        """See :class:`Body`."""
        if not self.done:
            raise BrokenBody("it ends before its last chunk")


def chunk(data: bytes) -> bytes:
    """Return data as one chunk; it must not be empty, since that is the last chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


LAST_CHUNK = b"0\r\n\r\n"
