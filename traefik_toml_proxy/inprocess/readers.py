"""Takes bytes as they are received, and gives the messages in them, piece by piece. Pure.

A reader holds at most a head and what was received after it; a body goes through it as it comes.
"""

from __future__ import annotations

import enum

from .bodies import Body, BrokenBody, body_of
from .heads import LARGEST_HEAD, Answer, BrokenAnswer, BrokenRequest, Request, read_answer, read_request

# How many empty lines may come before a request (RFC 9112 section 2.2).
_MOST_EMPTY_LINES = 2


class Mark(enum.Enum):
    """What a reader gives besides heads and pieces of bodies.

    Attributes:
        MORE: More must be received first.
        END: The message is complete.
    """

    MORE = enum.auto()
    END = enum.auto()


class _Head:
    """Collects the bytes of a head, and finds its end without looking at any of them many times."""

    __slots__ = ("held", "searched")

    def __init__(self) -> None:
        self.held = b""
        self.searched = 0

    def take(self) -> bytes | None:
        """Return the head without its empty line, and keep what comes after it; None if its end is not there."""
        end = self.held.find(b"\r\n\r\n", self.searched)
        if end < 0:
            self.searched = max(len(self.held) - 3, 0)
            return None
        head, self.held, self.searched = self.held[: end + 2], self.held[end + 4 :], 0
        return head

    def has_bare_line_end(self) -> bool:
        """Whether the first line ends in a bare LF; then the end of the head might never be found."""
        at = self.held.find(b"\n")
        return at == 0 or (at > 0 and self.held[at - 1 : at] != b"\r")


class RequestReader:
    """Reads requests, one after another. After :attr:`Mark.END`, call :meth:`next_request` to go on."""

    __slots__ = ("_body", "_empty_lines", "_head", "_rest")

    def __init__(self) -> None:
        self._head = _Head()
        self._body: Body | None = None
        # What was received of the body, and after it.
        self._rest = b""
        self._empty_lines = 0

    @property
    def buffered(self) -> int:
        """How many bytes were received and not given yet."""
        return len(self._head.held) + len(self._rest)

    @property
    def is_between(self) -> bool:
        """Whether nothing of a request has been received since the end of the last one."""
        return self._body is None and not self._head.held

    def receive(self, data: bytes) -> None:
        """Take what has been received."""
        if self._body is None:
            self._head.held = self._head.held + data if self._head.held else data
        else:
            self._rest = self._rest + data if self._rest else data

    def read(self) -> Request | bytes | Mark:
        """Return the next head, piece of a body, or mark.

        Raises:
            BrokenRequest: If the request is to be refused. Do not call it again.
        """
        body = self._body
        if body is None:
            return self._read_head()
        if body.done:
            return Mark.END
        if not self._rest:
            return Mark.MORE
        try:
            piece, self._rest = body.feed(self._rest)
        except BrokenBody as error:
            raise BrokenRequest(400, f"the body is malformed: {error}") from None
        if piece:
            return piece
        return Mark.END if body.done else Mark.MORE

    def _read_head(self) -> Request | Mark:
        held = self._head
        while held.held.startswith(b"\r\n") and self._empty_lines < _MOST_EMPTY_LINES:
            held.held, held.searched = held.held[2:], 0
            self._empty_lines += 1
        head = held.take()
        if head is None:
            if len(held.held) > LARGEST_HEAD:
                raise BrokenRequest(431, "the head is too large")
            if held.has_bare_line_end() or not _may_begin(held.held):
                raise BrokenRequest(400, "it is not HTTP")
            return Mark.MORE
        if len(head) > LARGEST_HEAD:
            raise BrokenRequest(431, "the head is too large")
        request = read_request(head)
        self._body, self._rest, held.held = body_of(request.length), held.held, b""
        return request

    def next_request(self) -> None:
        """Go on with the next request, which may have been received already."""
        self._head.held, self._rest, self._body, self._empty_lines = self._rest, b"", None, 0

    def take_rest(self) -> bytes:
        """Return all that was received and not given, when what follows is no HTTP any more."""
        rest, self._rest = self._rest, b""
        return rest


def _may_begin(head: bytes) -> bool:
    """Whether a request line can begin like this: a TLS handshake does not."""
    return not head or head[:1].isalpha() or head == b"\r" or head[:1] in b"!#$%&'*+.^_`|~-0123456789"


class AnswerReader:
    """Reads the answers to one request: any number of interim ones, and the final one."""

    __slots__ = ("_body", "_head", "_method", "_rest")

    def __init__(self, method: bytes) -> None:
        """Set the method of the request: an answer to HEAD has no body."""
        self._method = method
        self._head = _Head()
        self._body: Body | None = None
        self._rest = b""

    @property
    def has_begun(self) -> bool:
        """Whether anything has been received."""
        return self._body is not None or bool(self._head.held)

    @property
    def is_clean(self) -> bool:
        """Whether the answer is complete, and nothing was received after it."""
        return self._body is not None and self._body.done and not self._rest

    def receive(self, data: bytes) -> None:
        """Take what has been received."""
        if self._body is None:
            self._head.held = self._head.held + data if self._head.held else data
        else:
            self._rest = self._rest + data if self._rest else data

    def read(self) -> Answer | bytes | Mark:
        """Return the next head, piece of a body, or mark. After an interim answer (1xx) comes another head.

        Raises:
            BrokenAnswer: If it is to be refused. Do not call it again.
        """
        body = self._body
        if body is None:
            return self._read_head()
        if body.done:
            return Mark.END
        if not self._rest:
            return Mark.MORE
        try:
            piece, self._rest = body.feed(self._rest)
        except BrokenBody as error:
            raise BrokenAnswer(f"its body is malformed: {error}") from None
        if piece:
            return piece
        return Mark.END if body.done else Mark.MORE

    def _read_head(self) -> Answer | Mark:
        head = self._head.take()
        if head is None:
            if len(self._head.held) > LARGEST_HEAD:
                raise BrokenAnswer("its head is too large")
            if self._head.has_bare_line_end():
                raise BrokenAnswer("it is not HTTP/1")
            return Mark.MORE
        if len(head) > LARGEST_HEAD:
            raise BrokenAnswer("its head is too large")
        answer = read_answer(head, self._method)
        if answer.status >= 200 or answer.status == 101:
            self._body, self._rest, self._head.held = body_of(answer.length), self._head.held, b""
        return answer

    def end_of_input(self) -> None:
        """Note that the server has closed the connection.

        Raises:
            BrokenAnswer: If the answer is not complete.
        """
        if self._body is None:
            raise BrokenAnswer("it ends within its head" if self._head.held else "there is none")
        try:
            self._body.end_of_input()
        except BrokenBody as error:
            raise BrokenAnswer(f"its body is incomplete: {error}") from None

    def take_rest(self) -> bytes:
        """Return all that was received and not given, when what follows is no HTTP any more."""
        rest, self._rest = self._rest, b""
        return rest
