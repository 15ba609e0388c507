"""Takes bytes as they are received, and gives the messages in them, piece by piece. Pure.

A reader holds at most a head and what was received after it; a body goes through it as it comes.
"""

from __future__ import annotations

import abc
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


# Looked up for each message.
_MORE, _END = Mark.MORE, Mark.END


class _Reader(abc.ABC):
    """What reading requests and answers has in common."""

    __slots__ = ("_body", "_held", "_searched")

    def __init__(self) -> None:
        # What was received and not given yet.
        self._held = b""
        # Where in it the end of the head cannot begin before.
        self._searched = 0
        # None until the head has been read.
        self._body: Body | None = None

    def receive(self, data: bytes) -> None:
        """Take what has been received."""
        self._held = self._held + data if self._held else data

    def take_rest(self) -> bytes:
        """Return all that was received and not given, when what follows is no HTTP any more."""
        rest, self._held = self._held, b""
        return rest

    def _take_head(self) -> bytes | None:
        """Return the head without its empty line, and keep what comes after it; None if its end is not there."""
        held = self._held
        end = held.find(b"\r\n\r\n", self._searched)
        if end > LARGEST_HEAD - 2 or (end < 0 and len(held) > LARGEST_HEAD):
            raise self._refusal(431, "head is too large")
        if end < 0:
            self._searched = max(len(held) - 3, 0)
            # If the first line ends in a bare LF, the end of the head might never be found.
            at = held.find(b"\n")
            if at == 0 or (at > 0 and held[at - 1 : at] != b"\r"):
                raise self._refusal(400, "first line does not end as one of HTTP")
            return None
        self._held, self._searched = held[end + 4 :], 0
        return held[: end + 2]

    def _read_body(self, body: Body) -> bytes | Mark:
        """Return the next piece of a body, or a mark."""
        if body.done:
            return _END
        if not self._held:
            return _MORE
        try:
            piece, self._held = body.feed(self._held)
        except BrokenBody as error:
            raise self._refusal(400, f"body is malformed: {error}") from None
        if piece:
            return piece
        return _END if body.done else _MORE

    @abc.abstractmethod
    def _refusal(self, status: int, what: str) -> Exception:
        """Return the error to raise for a part of the message."""


class RequestReader(_Reader):
    """Reads requests, one after another. After :attr:`Mark.END`, call :meth:`next_request` to go on."""

    __slots__ = ("_empty_lines", "_last")

    def __init__(self) -> None:
        super().__init__()
        self._empty_lines = 0
        self._last: Request | None = None

    @property
    def buffered(self) -> int:
        """How many bytes were received and not given yet."""
        return len(self._held)

    @property
    def is_between(self) -> bool:
        """Whether nothing of a request has been received since the end of the last one."""
        return self._body is None and not self._held

    def read(self) -> Request | bytes | Mark:
        """Return the next head, piece of a body, or mark.

        Raises:
            BrokenRequest: If the request is to be refused. Do not call it again.
        """
        body = self._body
        return self._read_head() if body is None else self._read_body(body)

    def _read_head(self) -> Request | Mark:
        while self._held.startswith(b"\r\n") and self._empty_lines < _MOST_EMPTY_LINES:
            self._held, self._searched = self._held[2:], 0
            self._empty_lines += 1
        head = self._take_head()
        if head is None:
            if not _may_begin(self._held):
                raise BrokenRequest(400, "it is not HTTP")
            return _MORE
        request = read_request(head, self._last)
        self._last = request if request.block and not request.upgrade else None
        self._body = body_of(request.length)
        return request

    def next_request(self) -> None:
        """Go on with the next request, which may have been received already."""
        self._body, self._empty_lines = None, 0

    def _refusal(self, status: int, what: str) -> Exception:
        return BrokenRequest(status, f"the {what}")


def _may_begin(head: bytes) -> bool:
    """Whether a request line can begin like this: a TLS handshake does not."""
    return not head or head[:1].isalpha() or head == b"\r" or head[:1] in b"!#$%&'*+.^_`|~-0123456789"


class AnswerReader(_Reader):
    """Reads the answers to one request: any number of interim ones, and the final one."""

    __slots__ = ("_method",)

    def __init__(self, method: bytes) -> None:
        """Set the method of the request: an answer to HEAD has no body."""
        super().__init__()
        self._method = method

    @property
    def has_begun(self) -> bool:
        """Whether anything has been received."""
        return self._body is not None or bool(self._held)

    @property
    def is_clean(self) -> bool:
        """Whether the answer is complete, and nothing was received after it."""
        return self._body is not None and self._body.done and not self._held

    def read(self) -> Answer | bytes | Mark:
        """Return the next head, piece of a body, or mark. After an interim answer (1xx) comes another head.

        Raises:
            BrokenAnswer: If it is to be refused. Do not call it again.
        """
        body = self._body
        return self._read_head() if body is None else self._read_body(body)

    def _read_head(self) -> Answer | Mark:
        head = self._take_head()
        if head is None:
            return _MORE
        answer = read_answer(head, self._method)
        if answer.status >= 200 or answer.status == 101:
            self._body = body_of(answer.length)
        return answer

    def end_of_input(self) -> None:
        """Note that the server has closed the connection.

        Raises:
            BrokenAnswer: If the answer is not complete.
        """
        if self._body is None:
            raise BrokenAnswer("it ends within its head" if self._held else "there is none")
        try:
            self._body.end_of_input()
        except BrokenBody as error:
            raise BrokenAnswer(f"its body is incomplete: {error}") from None

    def _refusal(self, status: int, what: str) -> Exception:  # noqa: ARG002 - whatever it is, the client gets 503
        return BrokenAnswer(f"its {what}")
